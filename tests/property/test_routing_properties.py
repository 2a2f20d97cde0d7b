"""Properties of decide() over random messages and settings: what must never happen, whatever comes."""

import email
from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay import serialization
from relay.checker.verification import verify
from relay.inspection import Verdict
from relay.mime.rewriting import render
from relay.model import Action, Disposition, DocumentPart, Plan
from relay.routing.documents import can_stand_alone
from tests.support.decisions import CLIENTS, Setting, setting

NUMBERS = st.sampled_from(["F-1", "F-2", "F-3", "12"])
UNSURE = ["nameless", "abroad", "stranger-of-martins-group", "martin-of-a-group", "martin-by-address"]
PARTY = st.sampled_from(["martin", "petit", "nord", "sud", "nord-or-sud", "solo", "stranger", "foreign", *UNSURE])
NAMES = st.sampled_from(["a.pdf", "a_original.pdf", "b.pdf", "b_facturx.pdf", "releve.pdf", "factur-x.pdf"])
VERDICTS = st.sampled_from(["valid", "invalid", "undetermined"])
FACTURX = st.fixed_dictionaries(
    {"name": NAMES, "number": NUMBERS, "seller": PARTY, "buyer": PARTY, "verdict": VERDICTS},
    optional={"xml": st.sampled_from(["one", "two"]), "type": st.sampled_from(["380", "381", "389", "261"])},
)
PLAIN = st.fixed_dictionaries({"name": NAMES, "mentions": st.lists(NUMBERS, max_size=2)})
PART = st.one_of(
    st.fixed_dictionaries({"facturx": FACTURX}),
    st.fixed_dictionaries({"pdf": PLAIN}),
    st.fixed_dictionaries({"xml": st.fixed_dictionaries({"name": st.just("x.xml"), "number": NUMBERS})}),
    st.fixed_dictionaries(
        {st_kind: st.fixed_dictionaries({"name": NAMES}) for st_kind in ("encrypted",)},
    ),
    st.fixed_dictionaries({"broken": PLAIN}),
    st.fixed_dictionaries({"orderx": st.fixed_dictionaries({"name": NAMES, "number": NUMBERS})}),
    st.fixed_dictionaries({"file": st.just({"name": "z.zip", "media_type": "application/zip"})}),
)
TO = st.lists(
    st.sampled_from(
        [
            "martin@export.test",
            "export+200@export.test",
            "nord@export.test",
            "sud@export.test",
            "x+302@export.test",
            "box@export.test",
            "leblanc+100@export.test",
        ]
    ),
    min_size=1,
    max_size=3,
    unique=True,
)
POLICY = st.sampled_from(["relay", "hold", "refuse"])
CLIENT = st.fixed_dictionaries(
    {},
    optional={
        "share_with_firm": st.booleans(),
        "transmit_documents": st.booleans(),
        "original_pdf": st.booleans(),
        "siren": st.none(),
    },
)
ROW = st.fixed_dictionaries(
    {
        "mail": st.fixed_dictionaries(
            {
                "to": TO,
                "parts": st.lists(PART, max_size=6),
                "structure": st.sampled_from(["mixed", "mixed", "mixed", "forwarded", "signed"]),
                "headers": st.fixed_dictionaries({}, optional={"X-Dossier": st.sampled_from(["100", "200", "302"])}),
            }
        ),
        "settings": st.fixed_dictionaries(
            {
                "kinds": st.sampled_from([{}, {"statement_names": ["releve*"]}]),
                "clients": st.fixed_dictionaries({}, optional=dict.fromkeys(CLIENTS, CLIENT)),
                "check": st.fixed_dictionaries(
                    {},
                    optional={
                        **{
                            f"on_{what}": POLICY
                            for what in ("invalid", "missing", "undetermined", "wrong_client", "signed")
                        },
                        "always_paired": st.booleans(),
                    },
                ),
                "destination": st.fixed_dictionaries(
                    {},
                    optional={
                        "one_invoice_per_mail": st.booleans(),
                        "max_attachments": st.integers(1, 4),
                        "max_mail_size": st.integers(1000, 4000),
                        "attachment_types": st.sampled_from([[], ["application/pdf"], ["application/*"]]),
                    },
                ),
            }
        ),
    }
)


def plans_of(row: Mapping[str, Any]) -> tuple[Setting, tuple[Plan, ...]]:
    case = setting(row)
    return case, case.decide().plans


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROW)
def test_what_must_never_happen(row: Mapping[str, Any]) -> None:
    case, plans = plans_of(row)
    asked, evaluation = case.evaluation()
    verify(evaluation, asked, case.message.raw, case.directory)
    clients = case.directory.terms.clients
    for plan in plans:
        _goes_to_the_client_only(plan, clients)
        _sends_no_strangers_invoice(plan, case)
        _keeps_a_document(plan)
        _removes_only_what_its_facturx_replaces(plan, case)
        _cuts_are_of_this_mail(plan, case)
        _leaves_what_it_says(plan, case)
        assert (plan.reason is None) == (plan.disposition is Disposition.RELAY)
        assert serialization.load(Plan, serialization.dump(plan)) == plan
    _answers_every_recipient(plans, case)
    _loses_no_document(plans, case)


def _goes_to_the_client_only(plan: Plan, clients: Mapping[str, Any]) -> None:
    if not plan.to:
        assert plan.disposition is not Disposition.RELAY
        return
    client = clients[f"{plan.firm}/{plan.dossier}"]
    own = client.addresses
    assert set(plan.to) <= {own.purchases, own.sales, own.credit_notes, own.statements}
    if not (client.transmit_documents and client.share_with_firm):
        assert plan.disposition is not Disposition.RELAY


def _sends_no_strangers_invoice(plan: Plan, case: Setting) -> None:
    terms = case.directory.terms
    client = terms.clients.get(f"{plan.firm}/{plan.dossier}")
    if plan.disposition is not Disposition.RELAY or client is None or not client.siren:
        return
    siren = client.siren.replace(" ", "")
    for document in plan.documents:
        if document.part is not DocumentPart.FACTURX or document.report.xml_sha256 is None:
            continue
        report = document.report
        parties = {*report.seller.sirens, *report.buyer.sirens}
        if plan.role_by == "elimination":
            assert plan.by != "siren" and (not report.seller.sirens or not report.buyer.sirens)
        others = {each.siren.replace(" ", "") for each in terms.clients.values() if each.siren} - {siren}
        lenient = terms.check.on_wrong_client == "relay" or "elimination" in plan.role_by
        assert siren in parties or (lenient and not parties & others)


def _keeps_a_document(plan: Plan) -> None:
    if plan.documents:
        assert any(each.action is Action.KEEP for each in plan.documents)


def _removes_only_what_its_facturx_replaces(plan: Plan, case: Setting) -> None:
    kept = [each.report for each in plan.documents if each.action is Action.KEEP and each.part is DocumentPart.FACTURX]
    for document in plan.documents:
        if document.action is Action.REMOVE:
            assert document.part in (DocumentPart.ORIGINAL, DocumentPart.XML)
        if document.action is Action.REMOVE and document.part is DocumentPart.ORIGINAL:
            assert any(can_stand_alone(report, True) for report in kept)
            assert (not document.report.encrypted and document.report.verdict is not Verdict.UNDETERMINED) or (
                document.report.xml_sha256 in {report.xml_sha256 for report in kept}
            )


def _cuts_are_of_this_mail(plan: Plan, case: Setting) -> None:
    ends = [-1, *(end for _, end in plan.cuts)]
    for (start, end), before in zip(plan.cuts, ends, strict=False):
        assert before < start < end <= len(case.message.raw)


def _leaves_what_it_says(plan: Plan, case: Setting) -> None:
    """An independent parser finds the kept documents in the outgoing mail, and no other."""
    out = b"".join(render(case.message.raw, plan.prepend, plan.cuts))
    found = [part.get_filename() for part in email.message_from_bytes(out).walk() if part.get_filename()]
    kept = [each.filename for each in plan.documents if each.action is Action.KEEP]
    assert [name for name in found if name != "signature.asc"] == kept


def _answers_every_recipient(plans: tuple[Plan, ...], case: Setting) -> None:
    assert {address for plan in plans for address in plan.answers} == set(case.envelope.addresses)


def _loses_no_document(plans: tuple[Plan, ...], case: Setting) -> None:
    """For each client each document is kept in exactly one message, or removed beside its Factur-X in one."""
    everything = sorted(entity.span for entity in case.message.attachments if entity.filename != "signature.asc")
    by_client: dict[object, list[Any]] = {}
    for plan in plans:
        key = (plan.firm, plan.dossier, plan.by) if plan.by else plan.answers
        by_client.setdefault(key, []).extend(document.span for document in plan.documents)
    for spans in by_client.values():
        assert sorted(spans) == everything


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROW)
def test_a_decision_is_the_same_twice(row: Mapping[str, Any]) -> None:
    case = setting(row)
    assert case.decide() == case.decide()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROW)
def test_a_refusal_is_unanimous(row: Mapping[str, Any]) -> None:
    decision = setting(row).decide()
    refused = [plan.disposition is Disposition.REFUSE for plan in decision.plans]
    assert all(refused) if decision.refusal else not any(refused)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROW)
def test_an_mbox_line_changes_nothing_of_what_leaves(row: Mapping[str, Any]) -> None:
    marked = {**row, "mail": {**row["mail"], "mbox": True}}
    left = []
    for each in (row, marked):
        case, plans = plans_of(each)
        left.append([b"".join(render(case.message.raw, plan.prepend, plan.cuts)) for plan in plans])
    assert left[0] == left[1]
