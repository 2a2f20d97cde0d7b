"""The lines that every message makes, with the fields as JSON: accepted, checked, queued, attempt, delivered.

Each text of others goes through json_text.text, so that it is fit for a log; only names of closed sets do not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import quote

from relay.inspection import Report
from relay.model import Action, Delivery, Disposition, DocumentPart, Plan
from relay.observability import events
from relay.observability.event_names import EventName
from relay.observability.json_text import decoded, number, once, text, texts
from relay.observability.log import Line
from relay.replies import Deferred, Delivered

_PLANNED = {
    Disposition.RELAY: EventName.QUEUED,
    Disposition.HOLD: EventName.HELD,
    Disposition.WITHHOLD: EventName.WITHHELD,
    Disposition.REFUSE: EventName.REJECTED,
}
_NAMES = {name.value: name for name in EventName}  # EventName(...) is three calls


def message_accepted(event: events.MessageAccepted) -> Iterator[Line]:
    """One line for the message, for each document and for each plan, as the spool stored it."""
    message = event.message
    envelope = message.envelope
    yield (
        EventName.ACCEPTED,
        f'"queue_id": {text(message.queue_id)}, "peer": {text(envelope.peer)}, "sender": {text(envelope.sender)}, '
        f'"recipients": {texts(envelope.addresses)}, '
        f'"message_id": {once(quote(message.message_id, safe="<>@.-_+"))}, '
        f'"size": {len(message.raw)}, "seconds": {number(event.seconds, 4)}',
    )
    yield from checked(message.queue_id, event.reports)
    for index, plan in enumerate(message.plans):
        for part in _as_stored(plan, [delivery for delivery in event.held if delivery.plan == index]):
            yield _PLANNED[part.disposition], _planned(message.queue_id, part)


def checked(queue_id: str, reports: Sequence[Report]) -> Iterator[Line]:
    """One line for each report."""
    for report in reports:
        yield (
            EventName.CHECKED,
            f'"queue_id": {text(queue_id)}, "sha256": {text(report.sha256)}, "kind": "{report.kind._value_}", '
            f'"verdict": "{report.verdict._value_}", "profile": {text(report.profile)}, '
            f'"rules": {texts(sorted({finding.rule for finding in report.findings}))}, "ms": {number(report.ms, 1)}',
        )


def _as_stored(plan: Plan, held: Sequence[Delivery]) -> Iterator[Plan]:
    """`plan`, as far as the spool did not hold it, and what it held of it."""
    if not held:
        yield plan
        return
    recipients_held = {delivery.recipient for delivery in held}
    if relayed := tuple(address for address in plan.to if address not in recipients_held):
        yield replace(plan, to=relayed)
    kept = tuple(address for address in plan.to if address in recipients_held)
    yield replace(plan, disposition=Disposition.HOLD, reason=held[0].reason, to=kept)


def _planned(queue_id: str, plan: Plan) -> str:
    kept, cut, originals_cut = [], [], 0
    for document in plan.documents:
        if document.action is Action.KEEP:
            kept.append(document.report.sha256)
        else:
            cut.append(document.report.sha256)
            originals_cut += document.part is DocumentPart.ORIGINAL
    return (
        f'"queue_id": {text(queue_id)}, "client": {_client(plan)}, "by": {text(plan.by)}, '
        f'"role": "{plan.role._value_}", "recipients": {texts(plan.to)}, '
        f'"reason": {text(plan.reason._value_ if plan.reason else None)}, '
        f'"kept": {texts(kept)}, "cut": {texts(cut)}, "originals_cut": {originals_cut}'
    )


def _client(of: Plan | Delivery) -> str:
    return text(f"{of.firm}/{of.dossier}") if of.firm else "null"


def delivery_fields(delivery: Delivery) -> str:
    """What every line about a delivery starts with."""
    return (
        f'"queue_id": {text(delivery.queue_id)}, "delivery": {text(delivery.id)}, "client": {_client(delivery)}, '
        f'"recipient": {text(delivery.recipient)}, "smarthost": {text(delivery.smarthost)}, '
        f'"attempt": {delivery.attempts}'
    )


def attempt_ended(event: events.AttemptEnded) -> Iterator[Line]:
    """The outcome as it was recorded; an alert where an operator must act."""
    outcome, transition = event.outcome, event.transition
    name = _NAMES[transition.event] if event.recorded else EventName.ATTEMPT_UNCONFIRMED
    fields = delivery_fields(event.delivery)
    if not isinstance(outcome, Delivered):
        fields += f', "stage": "{outcome.stage._value_}"'
    fields += f', "reply": {text(transition.reply)}'
    if transition.next_attempt is not None:
        fields += f', "next_attempt": {number(transition.next_attempt, 6)}'
    fields += f', "seconds": {number(event.seconds, 4)}'
    if isinstance(outcome, Deferred) and outcome.alert:
        known = decoded(fields)
        yield name, {"queue_id": known["queue_id"], "alert": True, **known}
    else:
        yield name, fields
