"""The lines of a message, octet for octet, are what structlog's processors make of the same fields as a dictionary."""

import enum
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from relay.inspection import Finding, Kind, Report, Severity, Verdict
from relay.lifecycle import Transition
from relay.model import (
    Action,
    Delivery,
    Disposition,
    Document,
    DocumentPart,
    Envelope,
    Message,
    Plan,
    Recipient,
    Role,
    Span,
    State,
)
from relay.observability import events
from relay.observability.event_names import EventName
from relay.observability.log import capture, configure
from relay.observability.metrics import Metrics
from relay.observability.observer import Observer
from relay.reasons import Reason
from relay.replies import Deferred, Delivered, Failed, Outcome, OutcomeUnknown, Reply, Stage
from tests.unit.observability.test_log import Out
from tests.unit.observability.test_rendering import TEXTS, expected, restored, untimed

__all__ = ["restored"]  # a fixture that every test of this module uses
Fields = dict[str, Any]

# The oracle: the fields of each line as a dictionary

PLANNED = {
    Disposition.RELAY: EventName.QUEUED,
    Disposition.HOLD: EventName.HELD,
    Disposition.WITHHOLD: EventName.WITHHELD,
    Disposition.REFUSE: EventName.REJECTED,
}


def fields_of(event: events.Event) -> Iterator[tuple[EventName, Fields]]:
    if isinstance(event, events.MessageAccepted):
        message = event.message
        yield (
            EventName.ACCEPTED,
            {
                "queue_id": message.queue_id,
                "peer": message.envelope.peer,
                "sender": message.envelope.sender,
                "recipients": message.envelope.addresses,
                "message_id": quote(message.message_id, safe="<>@.-_+"),
                "size": len(message.raw),
                "seconds": round(event.seconds, 4),
            },
        )
        yield from (checked(message.queue_id, report) for report in event.reports)
        yield from (planned(message.queue_id, plan) for plan in message.plans)
    elif isinstance(event, events.AttemptStarted | events.DeliveryDelayed):
        yield event.name, of_delivery(event.delivery)
    elif isinstance(event, events.OutcomeNotRecorded):
        yield event.name, {**of_delivery(event.delivery), "error": event.error}
    elif isinstance(event, events.AttemptEnded):
        yield ended(event)


def checked(queue_id: str, report: Report) -> tuple[EventName, Fields]:
    return EventName.CHECKED, {
        "queue_id": queue_id,
        "sha256": report.sha256,
        "kind": report.kind,
        "verdict": report.verdict,
        "profile": report.profile,
        "rules": sorted({finding.rule for finding in report.findings}),
        "ms": round(report.ms, 1),
    }


def planned(queue_id: str, plan: Plan) -> tuple[EventName, Fields]:
    removed = [document for document in plan.documents if document.action is Action.REMOVE]
    return PLANNED[plan.disposition], {
        "queue_id": queue_id,
        "client": f"{plan.firm}/{plan.dossier}" if plan.firm else None,
        "by": plan.by,
        "role": plan.role,
        "recipients": plan.to,
        "reason": plan.reason,
        "kept": [document.report.sha256 for document in plan.documents if document.action is Action.KEEP],
        "cut": [document.report.sha256 for document in removed],
        "originals_cut": sum(document.part is DocumentPart.ORIGINAL for document in removed),
    }


def of_delivery(delivery: Delivery) -> Fields:
    return {
        "queue_id": delivery.queue_id,
        "delivery": delivery.id,
        "client": f"{delivery.firm}/{delivery.dossier}" if delivery.firm else None,
        "recipient": delivery.recipient,
        "smarthost": delivery.smarthost,
        "attempt": delivery.attempts,
    }


def ended(event: events.AttemptEnded) -> tuple[EventName, Fields]:
    outcome, transition = event.outcome, event.transition
    fields: Fields = {"queue_id": event.delivery.queue_id}
    if isinstance(outcome, Deferred) and outcome.alert:
        fields["alert"] = True
    fields |= of_delivery(event.delivery)
    if not isinstance(outcome, Delivered):
        fields["stage"] = outcome.stage
    fields["reply"] = transition.reply
    if transition.next_attempt is not None:
        fields["next_attempt"] = transition.next_attempt
    fields["seconds"] = round(event.seconds, 4)
    return EventName(transition.event) if event.recorded else EventName.ATTEMPT_UNCONFIRMED, fields


# What happens

OPTIONAL = st.one_of(st.none(), TEXTS)
ENCODABLE = TEXTS.filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text))
NUMBERS = st.one_of(st.floats(), st.floats(0, 1e6), st.integers(0, 10))
COUNTS = st.integers(0, 10**20)
MANY = st.one_of(st.lists(TEXTS, max_size=3), st.lists(st.just("a@b.example"), min_size=99, max_size=102)).map(tuple)
REPORTS = st.builds(
    lambda sha256, verdict, kind, profile, ms, rules: Report(
        sha256, 1, verdict, kind, profile=profile, ms=ms,
        findings=tuple(Finding(rule, Severity.ERROR, "rules", "") for rule in rules),
    ),
    TEXTS, st.sampled_from(Verdict), st.sampled_from(Kind), OPTIONAL, NUMBERS, MANY,
)  # fmt: skip
DOCUMENTS = st.builds(
    Document, TEXTS, st.just(Span(1, 2)), st.sampled_from(DocumentPart), st.sampled_from(Action), REPORTS
)
PLANS = st.builds(
    lambda disposition, to, reason, firm, dossier, by, role, documents: Plan(
        disposition, to, reason, firm=firm, dossier=dossier, by=by, role=role, documents=tuple(documents)
    ),
    st.sampled_from(Disposition), MANY, st.one_of(st.none(), st.sampled_from(Reason)), OPTIONAL, OPTIONAL, OPTIONAL,
    st.sampled_from(Role), st.lists(DOCUMENTS, max_size=3),
)  # fmt: skip
ENVELOPES = st.builds(
    lambda sender, recipients, peer: Envelope(sender, tuple(map(Recipient, recipients)), peer), TEXTS, MANY, TEXTS
)
MESSAGES = st.builds(
    lambda queue_id, envelope, raw, plans, message_id: Message(
        queue_id, envelope, raw, tuple(plans), 0.0, "f", message_id
    ),
    TEXTS, ENVELOPES, st.binary(max_size=3), st.lists(PLANS, max_size=2), ENCODABLE,
)  # fmt: skip
DELIVERIES = st.builds(
    lambda queue_id, number, recipient, attempts, firm, dossier, smarthost: Delivery(
        queue_id, number, 0, recipient, State.ACTIVE, 0.0, None, attempts=attempts, firm=firm, dossier=dossier,
        smarthost=smarthost,
    ),
    TEXTS, COUNTS, OPTIONAL, COUNTS, OPTIONAL, OPTIONAL, TEXTS,
)  # fmt: skip
REPLY = Reply(451, "4.3.2", "busy")
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.just(Delivered(REPLY)),
    st.builds(Deferred, st.just(REPLY), st.sampled_from(Stage), st.booleans()),
    st.builds(Failed, st.just(REPLY), st.sampled_from(Stage)),
    st.just(OutcomeUnknown(REPLY)),
)
TRANSITIONS = st.builds(
    Transition, st.just(State.DEFERRED), st.one_of(st.none(), NUMBERS), TEXTS,
    st.sampled_from(["delivered", "deferred", "failed", "outcome_unknown"]),
)  # fmt: skip
EVENTS: st.SearchStrategy[events.Event] = st.one_of(
    st.builds(events.MessageAccepted, MESSAGES, st.lists(REPORTS, max_size=2), NUMBERS),
    st.builds(events.AttemptStarted, DELIVERIES),
    st.builds(events.DeliveryDelayed, DELIVERIES),
    st.builds(events.OutcomeNotRecorded, DELIVERIES, TEXTS),
    st.builds(events.AttemptEnded, DELIVERIES, OUTCOMES, TRANSITIONS, NUMBERS, st.booleans()),
)


def wanted(event: events.Event, whole: bool) -> list[bytes]:
    """The lines of the oracle, without their time."""
    lines = []
    for name, fields in fields_of(event):
        severity = logging.ERROR if "alert" in fields else name.level
        lines.append(untimed(expected(name, fields, logging.getLevelName(severity).lower(), whole), {}))
    return lines


@pytest.mark.parametrize("level", ["info", "debug"])
@given(event=EVENTS)
def test_lines_of_an_event_are_what_structlogs_processors_make_of_its_fields(level: str, event: events.Event) -> None:
    out = Out()
    configure(level, "json", out)
    Observer(Metrics()).observe(event)
    found = [untimed(line, {}) for line in out.buffer.getvalue().splitlines(keepends=True)]
    assert found == wanted(event, level == "debug")


@given(event=EVENTS)
def test_lines_of_an_event_are_the_same_where_something_is_bound_to_the_context(event: events.Event) -> None:
    out = Out()
    configure("info", "json", out)
    with structlog.contextvars.bound_contextvars(session="S"):
        Observer(Metrics()).observe(event)
    found = [untimed(line, {}) for line in out.buffer.getvalue().splitlines(keepends=True)]
    assert found == [line.rstrip(b"\n}") + b', "session": "S"}\n' for line in wanted(event, False)]


@given(event=EVENTS)
def test_records_captured_are_the_lines(event: events.Event) -> None:
    with capture("info") as records:
        Observer(Metrics()).observe(event)
    lines = [json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records]
    assert [untimed(line, {}) for line in lines] == wanted(event, False)


def test_addresses_are_whole_or_masked_as_the_log_is_configured_last() -> None:
    message = Message("Q", Envelope("jean@a.example", (Recipient("b@c.example"),)), b"", (), 0.0, "f")
    for level, sender in (("info", "*@a.example"), ("debug", "jean@a.example"), ("info", "*@a.example")):
        out = Out()
        configure(level, "json", out)
        Observer(Metrics()).observe(events.MessageAccepted(message, (), 0.5))
        with capture("debug" if level == "info" else "info"):
            Observer(Metrics()).observe(events.MessageAccepted(message, (), 0.5))
        Observer(Metrics()).observe(events.MessageAccepted(message, (), 0.5))
        assert [json.loads(line)["sender"] for line in out.getvalue().splitlines()] == [sender, sender]


@pytest.mark.parametrize("closed", [Kind, Verdict, Role, Stage])
def test_names_of_closed_sets_are_written_as_they_are(closed: type[enum.StrEnum]) -> None:
    for member in closed:
        assert member.value.replace("-", "").replace("_", "").isalnum() and json.dumps(member) == f'"{member.value}"'
