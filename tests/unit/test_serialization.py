"""relay.serialization: what is written is read back equal, and what was not written by us is refused."""

import json
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import serialization
from relay.inspection import Finding, Kind, Options, Party, Report, Severity, Verdict
from relay.model import Disposition, Document, Plan, Recipient, Span

st.register_type_strategy(float, st.floats(allow_nan=False))  # NaN is not equal to itself, and no figure of a report
reports = st.from_type(Report)
plans = st.builds(
    Plan,
    disposition=st.sampled_from(Disposition),
    cuts=st.lists(st.builds(Span, st.integers(0), st.integers(0))).map(tuple),
    prepend=st.binary(),
    documents=st.lists(st.builds(Document, report=reports), max_size=2).map(tuple),
)


@given(reports)
def test_a_report_comes_back_equal(report: Report) -> None:
    assert serialization.load(Report, serialization.dump(report)) == report
    assert serialization.build(Report, json.loads(json.dumps(serialization.plain(report)))) == report


@given(plans)
def test_a_plan_comes_back_equal(plan: Plan) -> None:
    assert serialization.load(Plan, serialization.dump(plan)) == plan


def test_sets_mappings_and_a_class_of_one_field() -> None:
    recipient = Recipient("a@b.example", frozenset({"NEVER", "DELAY"}))
    assert serialization.plain(recipient)["notify"] == ["DELAY", "NEVER"]
    assert serialization.load(Recipient, serialization.dump(recipient)) == recipient
    options = Options(severities={"BR-01": Severity.INFO})
    assert serialization.load(Options, serialization.dump(options)) == options


def test_a_mapping_that_is_no_dict_is_written_too() -> None:
    options = Options(severities=MappingProxyType({"BR-01": Severity.INFO}))
    assert serialization.load(Options, serialization.dump(options)) == options


def test_what_is_no_value_of_ours_is_not_written() -> None:
    with pytest.raises(TypeError):
        serialization.dump(Party(name=object()))  # type: ignore[arg-type]


def test_enums_are_written_as_their_words() -> None:
    assert type(serialization.plain(Finding("X", Severity.ERROR, "pdf", "text"))["severity"]) is str


def test_unknown_keys_are_ignored_and_absent_ones_take_their_default() -> None:
    assert serialization.load(Party, b'{"siren":"732829320","shoe_size":44}') == Party(siren="732829320")


def test_undecodable_octets_of_a_header_survive() -> None:
    party = Party(name=b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert serialization.load(Party, serialization.dump(party)) == party


GOOD = Report("ab", 1, Verdict.VALID, Kind.PDF)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": "1"},
        {"size": True},
        {"size": 1.5},
        {"sha256": None},
        {"verdict": "splendid"},
        {"verdict": []},
        {"claimed": 1},
        {"number": 7},
        {"ms": "fast"},
        {"seller": ["name"]},
        {"findings": 3},
        {"findings": [{"rule": "X"}]},
    ],
)
def test_what_is_no_such_value_is_refused(wrong: dict[str, object]) -> None:
    said = {**serialization.plain(GOOD), **wrong}
    with pytest.raises(ValueError):
        serialization.build(Report, said)
    with pytest.raises(ValueError):
        serialization.load(Report, json.dumps(said))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b"\xff", b"{}", b"null"])
def test_other_octets_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        serialization.load(Report, data)


def test_an_integer_does_for_a_float() -> None:
    assert serialization.build(Report, serialization.plain(replace(GOOD, ms=3))) == replace(GOOD, ms=3.0)
