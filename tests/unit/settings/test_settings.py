"""Sound files: what the settings mean, what is inherited, where each value comes from."""

import os
import shutil
from pathlib import Path

import pytest

from relay import serialization
from relay.inspection import Severity
from relay.model import Retry, Role
from relay.routing.directory import Directory
from relay.routing.policy import Addresses, Identify, Level, Policy
from relay.settings.load import load
from relay.settings.settings import Endpoint, Listener, PasswordError, Settings, Smarthost
from relay.settings.users_file import make_user_line
from tests.support.config_faults import FIRM, RELAY, lines, write
from tests.support.corpus import CONFIG_EXAMPLE
from tests.support.dkim_keys import pem
from tests.support.many_clients import write as write_many
from tests.support.smtp_server import self_signed

ROOT = Path(__file__).parents[3]


def settings(folder: Path, **files: str) -> Settings:
    loaded = load(write(folder, **files))
    assert loaded.settings is not None, lines(folder, loaded)
    return loaded.settings


def test_the_shipped_configuration_is_sound_without_a_warning() -> None:
    loaded = load(ROOT / "config")
    assert lines(ROOT, loaded) == []
    assert loaded.settings is not None
    assert loaded.settings.smarthosts["default"] == Smarthost("default", "127.0.0.1", 2526, "none")


@pytest.mark.skipif(not CONFIG_EXAMPLE.is_dir(), reason=f"no example at {CONFIG_EXAMPLE}")
def test_the_example_beside_the_corpus_is_sound_once_its_files_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    for each in CONFIG_EXAMPLE.rglob("*.yaml"):
        copy = folder / each.relative_to(CONFIG_EXAMPLE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(each, copy)
    (folder / "tls").mkdir()
    for name in ("users", "dkim.pem", "smarthost-password"):
        content = {"dkim.pem": pem("ed25519"), "users": make_user_line("jefacture", "secret").encode()}
        (folder / name).write_bytes(content.get(name, b"secret\n"))
        (folder / name).chmod(0o600)
    for made, name in zip(self_signed(tmp_path), ("tls/fullchain.pem", "tls/privkey.pem"), strict=True):
        shutil.move(made, folder / name)
    loaded = load(folder)
    assert loaded.settings is not None, lines(folder, loaded)
    assert loaded.settings.listen[1].certificate == str(folder / "tls/fullchain.pem")
    assert loaded.settings.terms.clients["cabinet-durand/00012346"].original_pdf is True


def test_only_smarthosts_and_one_firm_are_required(tmp_path: Path) -> None:
    found = settings(tmp_path, relay="smarthosts: {default: {host: smtp.example}}\n")
    assert found.listen == (Listener("::1", 2525), Listener("127.0.0.1", 2525))
    assert found.smarthosts == {"default": Smarthost("default", "smtp.example", 587, "required")}
    assert (found.http, found.retry, found.language) == (Endpoint("127.0.0.1", 9525), Retry(), "fr")
    assert (found.spool, found.keep_delivered) == ("sqlite:///var/lib/agiris-relay/spool.db", 30 * 86400.0)
    terms = found.terms
    assert terms.recipients == ("*@export.relay.example",)
    assert terms.identify == (Identify("recipient"), Identify("header", "x-dossier"), Identify("siren"))
    assert terms.check.severities == {"PEPPOL-EN16931-R008": Severity.INFO}
    assert terms.check.workers == len(os.sched_getaffinity(0))
    assert set(terms.destinations) == {"agiris"}


def test_each_section_of_relay_yaml_arrives(tmp_path: Path) -> None:
    relay = (
        RELAY
        + """\
listen: [{address: "[::]:2600", allow_networks: [10.0.0.0/8, "::1"]}]
accept: {recipients: ["*@EXPORT.example", "x@export.relay.example"], max_mail_size: 20 MB, idle_timeout: 90 s}
identify: [siren, {header: X-Client}]
kinds: {header: X-Kind, statement_names: ["releve*.pdf"]}
check: {level: off, on_invalid: hold, on_active_content: relay, severities: {BR-1: error}, timeout: 1.5 s, workers: 3,
  always_paired: true}
destinations: {agiris: {max_attachments: 3}, other: {from_header: us@x.example, attachment_types: []}}
return_path: b@export.example
retry: {first: 10 s, give_up: 1 d}
spool: sqlite:var/spool.db
http: off
log: {level: debug, format: console}
language: en
"""
    )
    found = settings(tmp_path, relay=relay)
    assert found.listen == (Listener("::", 2600, allow_networks=("10.0.0.0/8", "::1/128")),)
    assert (found.accept.max_mail_size, found.accept.idle_timeout) == (20_000_000, 90.0)
    assert found.terms.recipients == ("*@export.example", "x@export.relay.example")
    assert found.terms.identify == (Identify("siren"), Identify("header", "x-client"))
    assert (found.terms.kinds.header, found.terms.kinds.statement_names) == ("x-kind", ("releve*.pdf",))
    check = found.terms.check
    assert (check.level, check.on_invalid, check.timeout, check.workers) == (Level.OFF, Policy.HOLD, 1.5, 3)
    assert check.always_paired
    assert check.on_active_content is Policy.RELAY
    assert check.severities == {"BR-1": Severity.ERROR}
    assert found.terms.destinations["agiris"].max_attachments == 3
    assert found.terms.destinations["other"].attachment_types == ()
    assert (found.retry.first, found.retry.give_up, found.retry.factor) == (10.0, 86400.0, 2.0)
    assert found.spool == f"sqlite://{tmp_path}/var/spool.db"
    assert (found.http, found.language, found.log.format) == (None, "en", "console")


def test_a_client_inherits_its_connection_and_may_override_it(tmp_path: Path) -> None:
    firm = """\
firm: Durand
connections:
  agiris: {original_pdf: true, smarthost: other}
clients:
  - {dossier: a, connection: agiris, agiris_address: a@agiris.example}
  - {dossier: b, connection: agiris, agiris_address: b@agiris.example, original_pdf: false,
     transmit_documents: false, destination: slow, smarthost: default, recipients: [b@export.relay.example]}
"""
    relay = RELAY.replace("none}}", "none}, other: {host: smtp.example}}") + "destinations: {slow: {}}\n"
    clients = settings(tmp_path, relay=relay, a=firm).terms.clients
    inherits, overrides = clients["a/a"], clients["a/b"]
    assert (inherits.original_pdf, inherits.smarthost, inherits.destination) == (True, "other", "agiris")
    assert inherits.transmit_documents
    assert (overrides.original_pdf, overrides.smarthost, overrides.destination) == (False, "default", "slow")
    assert not overrides.transmit_documents
    assert inherits.origins["original_pdf"] == "firms/a.yaml:3"
    assert "destination" not in inherits.origins
    assert overrides.origins["original_pdf"] == "firms/a.yaml:6"
    assert overrides.origins["smarthost"] == "firms/a.yaml:7"


def test_addresses_one_for_all_or_one_a_kind(tmp_path: Path) -> None:
    several = "{purchases: p@Agiris.EXAMPLE, statements: s@agiris.example}"
    client = f'  - {{dossier: "2", connection: agiris, agiris_address: {several}}}\n'
    clients = settings(tmp_path, a=FIRM + client).terms.clients
    one = "a1@agiris.example"
    assert clients["a/1"].addresses == Addresses(one, one, one, one)
    assert clients["a/2"].addresses == Addresses("p@agiris.example", None, None, "s@agiris.example")


def test_identifiers_stay_what_was_typed(tmp_path: Path) -> None:
    client = "  - {dossier: 00012, connection: agiris, agiris_address: a@x.example, siren: 732 829 320, name: no}\n"
    found = settings(tmp_path, a=FIRM + client).terms.clients["a/00012"]
    assert (found.dossier, found.siren, found.name) == ("00012", "732829320", "no")


def test_kinds_of_a_client(tmp_path: Path) -> None:
    firm = FIRM + "    kinds: {one@EXPORT.relay.example: statement}\n"
    assert settings(tmp_path, a=firm).terms.clients["a/1"].kinds == {"one@export.relay.example": Role.STATEMENT}


def test_same_dossier_in_two_firms_is_two_clients(tmp_path: Path) -> None:
    found = settings(tmp_path, a=FIRM, b=FIRM.replace("one@", "two@"))
    assert set(found.terms.clients) == {"a/1", "b/1"}
    assert set(found.terms.firms) == {"a", "b"}


def test_an_address_claimed_in_two_firms_is_refused(tmp_path: Path) -> None:
    found = lines(tmp_path, load(write(tmp_path, a=FIRM, b=FIRM.replace("one@", "ONE@").replace("a1@", "a2@"))))
    assert found == [
        'firms/b.yaml:9:18: error: address ONE@export.relay.example is claimed by clients "1" (firms/a.yaml:9) and'
        ' "1" (line 9) (as one@export.relay.example: the two differ in case only): mail could go to the wrong one.'
        " Fix: give each client its own address"
    ]


def test_an_agiris_address_that_is_a_recipient_of_another_firm_is_a_loop(tmp_path: Path) -> None:
    relay = RELAY + 'accept: {recipients: ["x@export.relay.example"]}\nreturn_path: x@export.relay.example\n'
    other = FIRM.replace("one@", "two@").replace("a1@agiris.example", "one+tag@export.relay.example")
    found = lines(tmp_path, load(write(tmp_path, relay=relay, a=FIRM, b=other)))
    assert [line for line in found if "loop" in line] == [
        "firms/b.yaml:8:21: error: agiris_address one+tag@export.relay.example is an address of this relay:"
        " mail would loop. Fix: write the address given by Agiris"
    ]


@pytest.mark.parametrize(
    "address",
    [
        "postmaster@export.relay.example",
        "Postmaster@relay.test.example",
        "postmaster@home.example",
        "b@home.example",
        "b+tag@HOME.example",
        "one@export.relay.example",
    ],
)
def test_an_agiris_address_that_the_server_accepts_is_a_loop(tmp_path: Path, address: str) -> None:
    relay = RELAY + "accept: {recipients: [one@export.relay.example]}\nreturn_path: b@home.example\n"
    loaded = load(write(tmp_path, relay=relay, a=FIRM.replace("a1@agiris.example", address)))
    reported = [line for line in lines(tmp_path, loaded) if "loop" in line]
    assert len(reported) == 1 and reported[0].startswith("firms/a.yaml:8:21: error: ")
    sound = settings(tmp_path, relay=relay, a=FIRM)
    assert Directory(sound.terms).accepts(address)
    assert not Directory(sound.terms).accepts("a1@agiris.example")


def test_settings_cross_to_another_process_unchanged(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert serialization.load(Settings, serialization.dump(found)) == found


def test_ten_thousand_clients(tmp_path: Path) -> None:
    loaded = load(write_many(tmp_path / "config", 10_000, 20))
    assert loaded.faults == ()
    assert loaded.settings is not None
    clients = loaded.settings.terms.clients
    assert len(clients) == 10_000
    assert clients["cabinet-0019/00009999"].origins["recipients"] == "firms/cabinet-0019.yaml:3504"


def test_a_password_is_read_at_each_attempt(tmp_path: Path) -> None:
    file = tmp_path / "password"
    smarthost = Smarthost("default", "smtp.example", username="relay", password_file=str(file))
    with pytest.raises(PasswordError, match="No such file"):
        smarthost.password()
    file.write_text("first\r\n")
    assert smarthost.password() == "first"
    file.write_text("second")
    assert smarthost.password() == "second"
    file.write_text("\n")
    with pytest.raises(PasswordError, match="is empty"):
        smarthost.password()
    assert Smarthost("default", "smtp.example").password() is None
