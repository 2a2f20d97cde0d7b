"""What is asked of a worker about a whole message, and its answer: values, and their JSON on the channel.

The plans travel as the JSON text that the spool keeps: it is written once, by the worker, and read once here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from relay import serialization
from relay.inspection import Report
from relay.mime.header_writer import received
from relay.mime.line_ends import LineFlaw
from relay.model import Envelope, Plan, Rejection
from relay.routing.decision import Decision
from relay.routing.trace_steps import Step

MAX_KEPT = 64 * 1024
"""Octets of the worker's JSON that are kept as they came; what is longer is written anew, without what nobody reads."""


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """The message to evaluate, but for its octets.

    arrived: seconds since the epoch. any_line_ends: its line ends are not looked at. steps: the answer gives the steps
    of the decision, for `explain`.
    """

    envelope: Envelope
    queue_id: str
    arrived: float
    any_line_ends: bool = False
    steps: bool = False

    def received(self, hostname: str) -> bytes:
        """The Received field that the message leaves with, CRLF at its end.

        It names an address only when there is one: others must not learn of each other (rfc5321#7.2).
        """
        envelope = self.envelope
        single = envelope.addresses[0] if len(envelope.recipients) == 1 else None
        return received(envelope, hostname, self.queue_id, self.arrived, single)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was read in a message and decided about it, before anything is stored.

    reports: of its attachments. flaw: its line ends are not acceptable, and nothing else of it was looked at.
    fingerprint: hex; content_digest: 32 octets; message_id: of a message that is not refused (else empty).
    plans_json: `decision.plans` as `serialization.dump` writes them.
    """

    decision: Decision
    reports: tuple[Report, ...] = ()
    flaw: LineFlaw | None = None
    fingerprint: str = ""
    content_digest: bytes = field(default=b"", repr=False)
    message_id: str = ""
    plans_json: bytes = field(default=b"", repr=False)


def answer_of(evaluation: Evaluation, *, steps: bool) -> tuple[dict[str, Any], bytes]:
    """Header and content of the worker's answer."""
    decision = evaluation.decision
    places = {
        id(document.report): (number, place)
        for number, plan in enumerate(decision.plans)
        for place, document in enumerate(plan.documents)
    }
    header: dict[str, Any] = {
        "flaw": evaluation.flaw,
        "refusal": decision.refusal,
        # A report that stands in a plan is named by its place there: plan and document, from 0.
        "reports": [places.get(id(report), report) for report in evaluation.reports],
        "fingerprint": evaluation.fingerprint,
        "content_digest": evaluation.content_digest.hex(),
        "message_id": evaluation.message_id,
    }
    if steps:
        header["steps"] = decision.steps
    return header, serialization.dump(decision.plans)


def read_answer(header: dict[str, Any], contents: Sequence[bytes]) -> Evaluation:
    """The evaluation in a worker's answer. Raises ValueError when there is none in it."""
    try:
        (text,) = contents
        plans = serialization.build(tuple[Plan, ...], json.loads(text))
        refused = header["refusal"]
        refusal = None if refused is None else serialization.build(Rejection, refused)
        return Evaluation(
            decision=Decision(plans, refusal, serialization.build(tuple[Step, ...], header.get("steps", []))),
            reports=tuple([_report(each, plans) for each in header["reports"]]),
            flaw=None if header["flaw"] is None else LineFlaw(header["flaw"]),
            fingerprint=_text(header["fingerprint"]),
            content_digest=bytes.fromhex(header["content_digest"]),
            message_id=_text(header["message_id"]),
            plans_json=text if len(text) <= MAX_KEPT else b"",
        )
    except (KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"no evaluation: {type(error).__name__}") from error


def _report(said: Any, plans: Sequence[Plan]) -> Report:
    if isinstance(said, list):
        plan, document = said
        if plan < 0 or document < 0:
            raise ValueError("a place before the first")
        return plans[plan].documents[document].report
    return serialization.build(Report, said)


def _text(said: Any) -> str:
    if not isinstance(said, str):
        raise TypeError("no text")
    return said
