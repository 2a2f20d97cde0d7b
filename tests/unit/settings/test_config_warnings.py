"""What makes nobody aware, or a check blind, is a warning of `config check`; a file that is not read is an error."""

from pathlib import Path

import pytest

from relay.facturx.schematron import OWN, known_rules
from relay.routing.policy import Check
from relay.settings.load import load
from tests.support.config_faults import COMPLETE, FIRM, RELAY, write

OPERATOR = "defaults: {operator: host@relay.test.example}\n"
SECOND = COMPLETE.replace('"1"', '"2"').replace("one@", "two@").replace("a1@", "a2@").replace("732829320", "356000000")
NO_OPERATOR = SECOND.replace("operator: operator@durand.example\n", "")
UNKNOWN_CLIENT = (
    'relay.yaml:1:1: warning: no "operator" under "defaults": nobody is notified of a message whose client is unknown.'
    " Fix: add defaults: {operator: <your address>}"
)


def found(folder: Path, relay: str, **firms: str) -> list[str]:
    return [str(fault).replace(f"{folder}/", "") for fault in load(write(folder, relay, **firms)).faults]


def test_a_complete_configuration_has_no_warning(tmp_path: Path) -> None:
    assert found(tmp_path, RELAY, a=COMPLETE) == []


@pytest.mark.parametrize(
    ("relay", "firms", "faults"),
    [
        (RELAY, {"a": COMPLETE, "b": SECOND}, [UNKNOWN_CLIENT]),
        (RELAY + OPERATOR, {"a": COMPLETE, "b": SECOND}, []),
        (RELAY + OPERATOR, {"a": COMPLETE, "b": NO_OPERATOR}, []),
        (
            RELAY,
            {"a": NO_OPERATOR},
            [
                'firms/a.yaml:1:7: warning: firm "Durand" has no "operator": nobody is notified of what is held or'
                " failed. Fix: add operator: <address of a person>"
            ],
        ),
    ],
)
def test_nobody_to_notify_is_a_warning(tmp_path: Path, relay: str, firms: dict[str, str], faults: list[str]) -> None:
    assert found(tmp_path, relay, **firms) == faults


def test_a_client_without_siren_is_a_warning_and_a_siret_is_enough(tmp_path: Path) -> None:
    assert found(tmp_path, RELAY + OPERATOR, a=FIRM) == [
        'firms/a.yaml:6:5: warning: client "1" has no "siren": an invoice of another client is not recognised.'
        ' Fix: add siren: "<9 digits>"'
    ]
    assert found(tmp_path, RELAY + OPERATOR, a=FIRM + "    siret: 73282932000074\n") == []


@pytest.mark.parametrize("name", ["b.yml", "b.YML", "b.YAML", "b.Yaml"])
def test_a_file_that_looks_like_a_firm_and_is_not_read_is_an_error(tmp_path: Path, name: str) -> None:
    write(tmp_path, a=COMPLETE)
    (tmp_path / "firms" / name).write_text(SECOND)
    loaded = load(tmp_path)
    assert loaded.settings is None
    assert [str(each).replace(f"{tmp_path}/", "") for each in loaded.faults] == [
        f"firms/{name}:1:1: error: this file is not read: a reload would drop its clients."
        " Fix: rename it to .yaml, or move it out of this folder"
    ]


def test_the_rules_that_severities_have_by_default_exist() -> None:
    assert set(Check().severities) <= known_rules()


def test_every_rule_that_the_relay_names_itself_is_known() -> None:
    """Each literal that is the first argument of a finding, in the modules that make findings."""
    import ast

    named = set()
    for module in (Path(__file__).parents[3] / "relay" / "facturx").glob("*.py"):
        for call in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or not call.args:
                continue
            first = call.args[0]
            finding = call.func.id in ("Finding", "_error", "_warning", "_finding")
            if finding and isinstance(first, ast.Constant) and isinstance(first.value, str):
                named.add(first.value)
    assert len(named) > 20
    assert named <= OWN
