"""Our DKIM signature, verified by dkimpy."""

import re
from pathlib import Path

import pytest

from relay.dkim.signature import BadKey, signer, weak
from relay.settings.load import load
from tests.support.dkim_keys import DOMAIN, SELECTOR, key, pem, verified

HEADER = (
    b"Received: from a by b;\r\n\tTue, 24 Nov 2026 10:00:00 +0000\r\n"
    b"From: Plateforme <no-reply@jefacture.example>\r\nTo: x@agiris.example\r\nSubject: Vos\r\n  documents \r\n"
    b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@a>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
)
BODY = b"Bonjour  \t monde \r\n\r\n \t\r\n fin\t\r\n"
KINDS = ("rsa", "ed25519")


@pytest.fixture(params=KINDS)
def by(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    return key(request.param)


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        b"",
        b"\r\n",
        b"\r\n\r\n \r\n",
        b"no end of line",
        b" \tblanks first",
        b"a\r\n" * 20_000,
        b"x" * 70_000 + b" \r\n" + b"y\t" * 9_000,
    ],
    ids=["blanks", "none", "an empty line", "empty lines", "open end", "blanks first", "long", "blanks at block ends"],
)
def test_dkimpy_verifies_the_signature(body: bytes, by) -> None:  # type: ignore[no-untyped-def]
    mail = HEADER + body
    assert verified(by.sign([mail], 1_795_514_400.9) + mail, by)


def test_the_slices_make_no_difference(by) -> None:  # type: ignore[no-untyped-def]
    mail = HEADER + BODY
    whole = by.sign([mail], 1.0)
    for cut in range(1, len(mail)):
        assert by.sign([mail[:cut], memoryview(mail)[cut:]], 1.0) == whole
    assert by.sign([mail[at : at + 1] for at in range(len(mail))], 1.0) == whole


def test_any_octet_of_a_word_of_the_body_counts(by) -> None:  # type: ignore[no-untyped-def]
    mail = HEADER + BODY
    field = by.sign([mail], 1.0)
    for at in range(len(HEADER), len(mail)):
        if mail[at : at + 1].isalpha():
            assert not verified(field + mail[:at] + b"#" + mail[at + 1 :], by)


@pytest.mark.parametrize("name", ["From", "To", "Cc", "Subject", "Reply-To", "Date", "Message-ID", "Content-Type"])
def test_a_second_field_of_a_signed_name_breaks_the_signature(name: str, by) -> None:  # type: ignore[no-untyped-def]
    mail = HEADER + BODY
    field = by.sign([mail], 1.0)
    assert not verified(field + f"{name}: other\r\n".encode() + mail, by)
    assert not verified(field + mail.replace(b"\r\n\r\n", f"\r\n{name}: other\r\n\r\n".encode(), 1), by)


def test_a_trace_field_on_top_breaks_nothing(by) -> None:  # type: ignore[no-untyped-def]
    mail = HEADER + BODY
    assert verified(b"Received: from c by d; x\r\n" + by.sign([mail], 1.0) + mail, by)


def test_the_tags(by) -> None:  # type: ignore[no-untyped-def]
    field = by.sign([HEADER + BODY], 1_795_514_400.9)
    assert field == by.sign([HEADER + BODY], 1_795_514_400.2), "the same octets at every attempt"
    tags = dict(re.findall(r"(\w+)=([^;]*)", re.sub(r"\s", "", field.decode().partition(":")[2])))
    assert (tags["v"], tags["c"], tags["d"], tags["s"]) == ("1", "relaxed/relaxed", DOMAIN, SELECTOR)
    assert tags["t"] == "1795514400"
    assert max(map(len, field.split(b"\r\n"))) <= 78
    assert "received" not in tags["h"].split(":")


@pytest.mark.parametrize(
    "mail",
    [
        b"From: a@b\r\nno field\r\n\r\nx\r\n",
        b"Subject: nobody\r\n\r\nx\r\n",
        b"From: a@b",
        b"From: a@b\r\n" + b"X: y\r\n" * 100_000,
    ],
    ids=["a line is no field", "no From", "not closed", "endless header"],
)
def test_what_no_verifier_can_read_is_not_signed(mail: bytes, by) -> None:  # type: ignore[no-untyped-def]
    assert by.sign([mail], 1.0) == b""


def test_a_header_without_body_is_signed(by) -> None:  # type: ignore[no-untyped-def]
    mail = b"From: a@b\r\nSubject: x\r\n"
    assert verified(by.sign([mail], 1.0) + mail + b"\r\n", by)


def test_a_domain_with_accents_is_written_in_ascii() -> None:
    assert signer("cabinet-éric.example", "s", pem("ed25519")).domain == "xn--cabinet-ric-ibb.example"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"secret\n", "no private key in PEM form"),
        (pem("rsa", 2048, b"pw"), "passphrase"),
        (pem("ec"), "neither RSA nor Ed25519"),
        (pem("rsa", 1024).replace(b"M", b"N", 1), "no private key in PEM form"),
    ],
    ids=["text", "passphrase", "ec", "damaged"],
)
def test_a_useless_key_says_why(content: bytes, why: str) -> None:
    with pytest.raises(BadKey, match=why):
        signer(DOMAIN, SELECTOR, content)


def test_a_short_key_has_a_warning() -> None:
    assert weak(pem("rsa", 1024)) == 1024
    assert weak(pem("rsa")) == weak(pem("ed25519")) == 0


RELAY = "smarthosts: {default: {host: smtp.example}}\ndkim: {domain: x.example, selector: s, private_key: k.pem}\n"
FIRM = "firm: F\nconnections: {a: {link_name: A, original_pdf: false}}\nclients: []\n"


@pytest.mark.parametrize(
    ("content", "mode", "wanted"),
    [
        (None, 0o600, "relay.yaml:2:53: error: k.pem: cannot read"),
        (pem("rsa"), 0o644, "error: k.pem: mode 0644: others can read this secret. Fix: chmod 640 k.pem"),
        (b"secret", 0o600, "error: k.pem: no private key in PEM form is in it. Fix: openssl genrsa -out k.pem 2048"),
        (pem("ec"), 0o600, "error: k.pem: the key is neither RSA nor Ed25519. Fix: openssl genrsa -out k.pem 2048"),
        (pem("rsa", 1024), 0o600, "warning: k.pem: an RSA key of 1024 bits is weak"),
        (pem("rsa"), 0o600, ""),
        (pem("ed25519"), 0o640, ""),
    ],
    ids=["none", "mode", "text", "ec", "short", "rsa", "ed25519"],
)
def test_config_check_looks_into_the_key(content: bytes | None, mode: int, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "firms").mkdir()
    (tmp_path / "relay.yaml").write_text(RELAY)
    (tmp_path / "firms" / "f.yaml").write_text(FIRM)
    if content is not None:
        (tmp_path / "k.pem").write_bytes(content)
        (tmp_path / "k.pem").chmod(mode)
    loaded = load(tmp_path)
    reported = [str(fault).replace(f"{tmp_path}/", "") for fault in loaded.faults if "k.pem" in str(fault)]
    assert bool(reported) is bool(wanted)
    assert wanted in "".join(reported)
    assert (loaded.settings is None) is ("error" in wanted)
