"""`agiris-relay dkim`: the record that a verifier needs, and what is wrong with one that does not fit."""

import json
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.cli import main
from relay.dkim.dns_record import differences, joined, zone_line
from relay.dkim.signature import signer
from tests.support.config_faults import RELAY, write
from tests.support.dkim_keys import DOMAIN, SELECTOR, key, pem

KINDS = ("rsa", "ed25519")
DKIM = f"dkim: {{domain: {DOMAIN}, selector: {SELECTOR}, private_key: k.pem}}\n"


def folder(path: Path, content: bytes, mode: int = 0o600) -> Path:
    (path / "k.pem").write_bytes(content)
    (path / "k.pem").chmod(mode)
    return write(path, RELAY + DKIM)


def run(*words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(main, ["dkim", *words], input=given)


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_of_each_kind_of_key(tmp_path: Path, kind: str) -> None:
    place = str(folder(tmp_path, pem(kind)))
    printed = run("record", "--config", place)
    value = key(kind).record()
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert printed.stdout == f"name   s1._domainkey.relay.example\ntype   TXT\nvalue  {value}\n"
    reported = json.loads(run("record", "--config", place, "--json").stdout)
    assert reported == {
        "name": "s1._domainkey.relay.example",
        "type": "TXT",
        "value": value,
        "algorithm": f"{kind}-sha256",
        "bits": 2048 if kind == "rsa" else 256,
    }
    assert "PRIVATE" not in printed.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_of_a_zone_file_has_no_string_that_dns_would_refuse(tmp_path: Path, kind: str) -> None:
    line = run("record", "--zone", "--config", str(folder(tmp_path, pem(kind)))).stdout
    name, _, rest = line.partition(" IN TXT ")
    assert name == "s1._domainkey.relay.example."
    assert all(0 < len(each) <= 255 for each in rest.strip("()\n ").removeprefix('"').removesuffix('"').split('" "'))
    assert joined(rest) == key(kind).record()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_key_made_by_the_command_of_the_readme_is_accepted(tmp_path: Path) -> None:
    subprocess.run(["openssl", "genrsa", "-out", str(tmp_path / "k.pem"), "2048"], check=True, capture_output=True)
    place = str(folder(tmp_path, (tmp_path / "k.pem").read_bytes()))
    public = subprocess.run(
        ["openssl", "rsa", "-in", str(tmp_path / "k.pem"), "-pubout", "-outform", "DER"],
        check=True,
        capture_output=True,
    ).stdout
    assert json.loads(run("record", "--json", "--config", place).stdout)["value"].endswith(b64encode(public).decode())


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_as_dig_prints_it_fits(tmp_path: Path, kind: str) -> None:
    place = str(folder(tmp_path, pem(kind)))
    dug = " ".join(f'"{part}"' for part in (key(kind).record()[:200], key(kind).record()[200:]) if part) + "\n"
    for result in (
        run("check", "-", "--config", place, given=dug.replace(";", "\\;")),
        run("check", key(kind).record(), "--config", place),
    ):
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.endswith("for s1._domainkey.relay.example\nrecord: fits the key\n")


def test_the_key_alone_is_checked(tmp_path: Path) -> None:
    result = run("check", "--config", str(folder(tmp_path, pem("rsa"))))
    assert (result.exit_code, result.stdout) == (0, "key: rsa-sha256, 2048 bits, for s1._domainkey.relay.example\n")


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ("", "no record at s1._domainkey.relay.example"),
        ("hello", "this is no DKIM record: tag=value, separated by semicolons, with a p="),
        ("v=DKIM1; k=rsa; k=rsa; p=x", "this is no DKIM record: tag=value, separated by semicolons, with a p="),
        ("v=DKIM1; k=rsa", "this is no DKIM record: tag=value, separated by semicolons, with a p="),
        ("v=DKIM1; p=", "p= is empty: the key is revoked"),
        ("v=DKIM1; p=!!", "p= is another public key: receivers will take each signature for a forged one"),
        ("v=DKIM2; {p}", "v=DKIM2: receivers know DKIM1 only"),
        ("k=rsa; v=DKIM1; {p}", "v= stands, but not as the first tag"),
        ("v=DKIM1; k=ed25519; {p}", "k=ed25519, but the key is rsa"),
        ("v=DKIM1; h=sha1; {p}", "h=sha1 does not allow sha256"),
        ("v=DKIM1; s=tlsrpt; {p}", "s=tlsrpt does not allow email"),
        ("v=DKIM1; t=s:y; {p}", "t=y: the domain only tests DKIM, receivers may treat its mails as unsigned"),
    ],
)
def test_a_record_that_does_not_fit_is_reported_with_its_fault(tmp_path: Path, record: str, fault: str) -> None:
    record = record.replace("{p}", key("rsa").record().rpartition("; ")[2])
    place = str(folder(tmp_path, pem("rsa")))
    result = run("check", "-", "--config", place, given=record)
    assert (result.exit_code, result.stderr) == (1, f"record: {fault}\n")
    reported = json.loads(run("check", record or "", "--json", "--config", place).stdout)
    assert (reported["ok"], reported["faults"]) == (False, [fault])


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_of_another_key_does_not_fit(kind: str) -> None:
    other = signer(DOMAIN, SELECTOR, pem.__wrapped__(kind))
    (fault,) = differences(other.record(), key(kind))
    assert fault.startswith("p= is another public key")


def test_what_receivers_also_take_fits() -> None:
    by = key("rsa")
    bare = b64encode(by.key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)).decode()
    value = by.record().rpartition("p=")[2]
    spread = f"v=DKIM1 ; t=s; h=sha1:sha256; s=email; n=a note; p={value[:100]} {value[100:]};"
    assert list(differences(spread, by)) == []
    assert list(differences(f"p={bare}", by)) == []
    assert list(differences(joined(zone_line(by)), by)) == []


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"x\n", 0o600, "no private key in PEM form is in it"),
        (b"", 0o644, "others can read this secret"),
        (None, 0o600, "No such file"),
    ],
)
@pytest.mark.parametrize("command", ["record", "check"])
def test_an_unusable_key_is_reported_with_its_position(
    tmp_path: Path, command: str, content: bytes | None, mode: int, words: str
) -> None:
    place = folder(tmp_path, content if content else pem("rsa"), mode)
    if content is None:
        (tmp_path / "k.pem").unlink()
    result = run(command, "--config", str(place))
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.startswith(f"{place}/relay.yaml:3:") and words in result.stderr


@pytest.mark.parametrize("command", ["record", "check"])
def test_without_dkim_there_is_no_record(tmp_path: Path, command: str) -> None:
    result = run(command, "--config", str(write(tmp_path)))
    assert (result.exit_code, result.stdout) == (1, "")
    assert 'no "dkim": nothing is signed. Fix: add domain, selector, private_key' in result.stderr
