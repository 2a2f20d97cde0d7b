"""What is inherited: client over connection over `defaults` of relay.yaml; and the origin told of each value."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.cli.config import config
from relay.routing.policy import Client, Firm
from relay.settings.load import load
from relay.settings.settings import Defaults
from tests.support.config_faults import FIRM, RELAY, lines, reported, write

DEFAULTS = """\
defaults:
  operator: host@ops.example
  transmit_documents: false
  original_pdf: true
  destination: slow
  smarthost: other
  share_with_firm: false
destinations: {slow: {}}
"""
RELAY_WITH = RELAY.replace("none}}", "none}, other: {host: smtp.example}}") + DEFAULTS
SILENT = FIRM.replace("agiris:\n    original_pdf: false", "agiris: {}")


def found(folder: Path, relay: str = RELAY_WITH, firm: str = SILENT) -> tuple[Firm, Client]:
    loaded = load(write(folder, relay, a=firm))
    assert loaded.settings is not None, lines(folder, loaded)
    return loaded.settings.terms.firms["a"], loaded.settings.terms.clients["a/1"]


def test_a_firm_that_says_nothing_has_the_defaults_of_the_host(tmp_path: Path) -> None:
    firm, client = found(tmp_path)
    assert (firm.operator, firm.origins["operator"]) == ("host@ops.example", "relay.yaml:4")
    assert (client.transmit_documents, client.original_pdf, client.share_with_firm) == (False, True, False)
    assert (client.destination, client.smarthost) == ("slow", "other")
    keys = ("transmit_documents", "original_pdf", "destination", "smarthost", "share_with_firm")
    assert [client.origins[key] for key in keys] == [f"relay.yaml:{line}" for line in range(5, 10)]


def test_firm_connection_and_client_go_before_the_host(tmp_path: Path) -> None:
    spoken = SILENT.replace("agiris: {}", "agiris: {original_pdf: false, smarthost: default}").replace(
        "clients:", "operator: firm@ops.example\nclients:"
    )
    firm, client = found(tmp_path, firm=spoken + "    share_with_firm: true\n    smarthost: other\n")
    assert (firm.operator, firm.origins["operator"]) == ("firm@ops.example", "firms/a.yaml:4")
    assert (client.original_pdf, client.origins["original_pdf"]) == (False, "firms/a.yaml:3")
    assert (client.smarthost, client.origins["smarthost"]) == ("other", "firms/a.yaml:11")
    assert (client.share_with_firm, client.origins["share_with_firm"]) == (True, "firms/a.yaml:10")
    assert (client.transmit_documents, client.origins["transmit_documents"]) == (False, "relay.yaml:5")


def test_without_defaults_nothing_changes(tmp_path: Path) -> None:
    firm, client = found(tmp_path, RELAY)
    assert (firm.operator, set(firm.origins)) == (None, {"name"})
    kept = Defaults()
    for key in ("transmit_documents", "original_pdf", "destination", "smarthost", "share_with_firm"):
        assert getattr(client, key) == getattr(kept, key)
        assert key not in client.origins


SETTINGS = {
    "transmit_documents": (True, False),
    "original_pdf": (True, False),
    "destination": ("agiris", "slow", "third"),
    "smarthost": ("default", "other"),
}
LAYERS = ("defaults", "connection", "client")
SAYS = st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in SETTINGS.items()})


@settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
@given(st.fixed_dictionaries(dict.fromkeys(LAYERS, SAYS)))
def test_the_layer_nearest_to_the_client_wins(tmp_path: Path, said: dict[str, dict[str, object]]) -> None:
    base = RELAY.replace("none}}", "none}, other: {host: smtp.example}}") + "destinations: {slow: {}, third: {}}\n"
    relay = base + f"defaults: {json.dumps(said['defaults'])}\n"
    firm = SILENT.replace("agiris: {}", f"agiris: {json.dumps(said['connection'])}")
    firm += "".join(f"    {key}: {json.dumps(value)}\n" for key, value in said["client"].items())
    client = found(tmp_path, relay, firm)[1]
    file = {"defaults": "relay.yaml:", "connection": "firms/a.yaml:3", "client": "firms/a.yaml:"}
    for key, values in SETTINGS.items():
        winner = next((layer for layer in reversed(LAYERS) if key in said[layer]), None)
        expected = said[winner][key] if winner else getattr(Defaults(), key)
        assert getattr(client, key) == expected and expected in values
        assert client.origins.get(key, "").startswith(file[winner] if winner else "")
        assert (key in client.origins) is (winner is not None)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("destination: slwo", '3:25: error: destination "slwo" is not defined. Fix: Defined: agiris'),
        (
            "smarthost: defualt",
            '3:23: error: smarthost "defualt" is not defined. Fix: Did you mean "default"? Defined: default',
        ),
        ("original_pdf: oui", '3:26: error: "original_pdf" must be true or false, got "oui". Fix: write true'),
        (
            "operator: nobody",
            '3:22: error: "nobody" is not an e-mail address: no "@". Fix: write the whole address, name@domain',
        ),
        (
            "original_pfd: true",
            '3:12: error: unknown key "original_pfd" in "defaults". Fix: Did you mean "original_pdf"? The keys are:'
            " destination, operator, original_pdf, share_with_firm, smarthost, transmit_documents",
        ),
    ],
)
def test_a_fault_of_the_defaults_is_reported_once_and_in_its_position(tmp_path: Path, line: str, fault: str) -> None:
    assert reported(tmp_path, RELAY + f"defaults: {{{line}}}\n") == [f"relay.yaml:{fault}"]


def test_a_smarthost_named_by_the_host_stands_for_the_default_of_a_silent_connection(tmp_path: Path) -> None:
    relay = RELAY.replace("default:", "main:")
    silent = 'firms/a.yaml:3:3: error: smarthost "default" is not defined. Fix: Defined: main'
    assert reported(tmp_path, relay, a=SILENT) == [silent]
    assert reported(tmp_path, relay + "defaults: {smarthost: main}\n", a=SILENT) == []
    named = SILENT.replace("agiris: {}", "agiris: {smarthost: default}")
    assert len(reported(tmp_path, relay + "defaults: {smarthost: main}\n", a=named)) == 1


def test_show_tells_the_line_of_every_value(tmp_path: Path) -> None:
    by_kind = "{purchases: p@agiris.example,\n      sales: s@agiris.example}"
    firm = SILENT.replace("agiris: {}", "agiris: {link_name: Lien}").replace("a1@agiris.example", by_kind)
    folder = write(tmp_path, RELAY_WITH, a=firm)
    result = CliRunner().invoke(config, ["show", "--config", str(folder), "--client", "1"])
    assert result.exit_code == 0
    assert result.stdout.replace(f"{tmp_path}/", "").splitlines() == [
        "client a/1",
        "  firm: Durand  (firms/a.yaml:1)",
        "  operator: host@ops.example  (relay.yaml:4)",
        "  share_with_firm: false  (relay.yaml:9)",
        "  connection: agiris  (firms/a.yaml:6)",
        "  link_name: Lien  (firms/a.yaml:3)",
        "  transmit_documents: false  (relay.yaml:5)",
        "  original_pdf: true  (relay.yaml:6)",
        "  agiris_address.purchases: p@agiris.example  (firms/a.yaml:7)",
        "  agiris_address.sales: s@agiris.example  (firms/a.yaml:8)",
        "  destination: slow  (relay.yaml:7)",
        "  smarthost: other  (relay.yaml:8)",
        "  recipients: one@export.relay.example  (firms/a.yaml:9)",
    ]
