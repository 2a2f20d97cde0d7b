"""A message that no worker could evaluate: held whole for whoever its recipient names, or refused if so configured."""

from typing import Any

import pytest

from relay.checker import CheckFailed, EvaluationRequest
from relay.intake import unevaluated
from relay.mime.rewriting import render
from relay.model import Disposition, Envelope, Recipient
from relay.observability.events import Restart
from relay.reasons import Reason
from relay.routing.directory import Directory
from tests.support.decisions import terms

RAW = b"From: platform@jefacture.example\r\nX-Dossier: 302\r\n\r\nwhat ends every worker\r\n"


def evaluate(*recipients: str, cause: Restart = Restart.CRASHED, **settings: Any) -> Any:
    envelope = Envelope("platform@jefacture.example", tuple(map(Recipient, recipients)), "192.0.2.1", "x.example")
    asked = EvaluationRequest(envelope, "Q1", 0.0)
    return unevaluated(asked, RAW, Directory(terms(settings)), CheckFailed(cause))


@pytest.mark.parametrize(
    ("recipient", "client", "to"),
    [
        ("martin@export.test", ("durand", "100", "recipient"), ("martin@agiris.example",)),
        ("export+200@export.test", ("durand", "200", "recipient"), ()),  # its addresses differ, and nothing says which
        ("x+302@export.test", ("leblanc", "302", "recipient"), ("sud@agiris.example",)),
        ("durand+302@export.test", ("durand", None, None), ()),  # a firm, and another firm's number
        ("x+100@export.test", (None, None, None), ()),  # of two firms
        ("nobody@export.test", (None, None, None), ()),
    ],
)
def test_it_is_held_for_the_client_of_its_recipient(recipient: str, client: tuple[Any, ...], to: tuple[str]) -> None:
    (plan,) = evaluate(recipient).decision.plans
    assert (plan.firm, plan.dossier, plan.by) == client
    assert (plan.disposition, plan.reason, plan.detail) == (Disposition.HOLD, Reason.UNDETERMINED, "CHECK-CRASHED")
    assert (plan.to, plan.answers, plan.documents, plan.cuts) == (to, (recipient,), (), ())


@pytest.mark.parametrize("policy", ["relay", "hold"])
def test_it_is_never_relayed_by_itself(policy: str) -> None:
    (plan,) = evaluate("martin@export.test", check={"on_undetermined": policy}).decision.plans
    assert plan.disposition is Disposition.HOLD


def test_it_is_refused_if_so_configured() -> None:
    decision = evaluate("martin@export.test", check={"on_undetermined": "refuse"}).decision
    assert decision.refusal is not None and decision.refusal.reason is Reason.UNDETERMINED
    assert decision.plans == ()


def test_it_leaves_whole_when_it_is_released() -> None:
    (plan,) = evaluate("martin@export.test").decision.plans
    leaving = b"".join(render(RAW, plan.prepend, plan.cuts))
    assert leaving.endswith(RAW) and leaving.startswith(b"Received: from x.example ([192.0.2.1])\r\n")
    assert b"for <martin@export.test>" in leaving


def test_each_recipient_has_its_plan_and_learns_of_no_other() -> None:
    plans = evaluate("martin@export.test", "sud@export.test").decision.plans
    assert [plan.answers for plan in plans] == [("martin@export.test",), ("sud@export.test",)]
    assert all(b"export.test" not in plan.prepend for plan in plans)


def test_its_fingerprint_is_that_of_its_octets_and_recipients() -> None:
    one = evaluate("martin@export.test")
    assert one.fingerprint == evaluate("martin@export.test", cause=Restart.TIMEOUT).fingerprint
    assert one.fingerprint != evaluate("sud@export.test").fingerprint
    assert len(one.content_digest) == 32
