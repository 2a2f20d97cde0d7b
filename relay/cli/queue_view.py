"""The queue as values for JSON and as lines for a person. Pure; times are RFC 3339, UTC."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from textwrap import wrap
from typing import Any

from relay import serialization
from relay.locale.catalogue import marked_in, plural, translate, translate_in
from relay.model import Delivery, Document, HistoryEntry, Plan, State
from relay.reasons import Reason, describe, failure_fix, fix, sentence
from relay.single_line import replace_unprintable
from relay.spool.port import Record

_CODES = frozenset(
    {
        marked_in("queue", "relay"),
        marked_in("queue", "hold"),
        marked_in("queue", "withhold"),
        marked_in("queue", "refuse"),
        marked_in("queue", "sale"),
        marked_in("queue", "purchase"),
        marked_in("queue", "statement"),
        marked_in("queue", "unknown"),
        marked_in("queue", "elimination"),
        marked_in("queue", "recipient"),
        marked_in("queue", "header"),
        marked_in("queue", "siren"),
        marked_in("queue", "facturx"),
        marked_in("queue", "original"),
        marked_in("queue", "other"),
        marked_in("queue", "xml"),
        marked_in("queue", "keep"),
        marked_in("queue", "remove"),
        marked_in("queue", "valid"),
        marked_in("queue", "invalid"),
        marked_in("queue", "undetermined"),
        marked_in("queue", "not-factur-x"),
        marked_in("queue", "accepted"),
        marked_in("queue", "delivered"),
        marked_in("queue", "deferred"),
        marked_in("queue", "failed"),
        marked_in("queue", "outcome_unknown"),
        marked_in("queue", "attempt_unconfirmed"),
        marked_in("queue", "held"),
        marked_in("queue", "withheld"),
        marked_in("queue", "released"),
        marked_in("queue", "retried"),
        marked_in("queue", "dropped"),
        marked_in("queue", "replanned"),
        marked_in("queue", "queued"),
        marked_in("queue", "active"),
        marked_in("queue", "late"),
        marked_in("queue", "bounce_received"),
        marked_in("queue", "notification_queued"),
        marked_in("queue", "message_corrupt"),
    }
)
"""What a plan, a document, a delivery and an event are called in the spool and in JSON."""


def code_word(code: str, language: str) -> str:
    """A code in `language`; in English it is its own word."""
    return translate_in("queue", code, language) if code in _CODES else code


def moment(at: float | None) -> str | None:
    """`at` (epoch seconds) as RFC 3339."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def clean(text: str) -> str:
    """Text of a peer as a terminal may show it: one line, no control characters, nothing undecodable."""
    return replace_unprintable(text, "?")


def row(delivery: Delivery, language: str = "en") -> dict[str, Any]:
    """One line of `queue list --json`; its detail is in `language`."""
    return {
        "id": delivery.id,
        "queue_id": delivery.queue_id,
        "number": delivery.number,
        "firm": delivery.firm,
        "client": delivery.dossier,
        "recipient": delivery.recipient,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "arrived": moment(delivery.arrived),
        "next_attempt": moment(delivery.next_attempt),
        "last_reply": delivery.last_reply or None,
        "reason": delivery.reason.value if delivery.reason else None,
        "detail": describe(delivery.detail, language),
        "size": delivery.size,
    }


@dataclass(frozen=True, slots=True)
class Hidden:
    """How many deliveries `queue list` does not show: finished ones, the relay's own notices, those beyond --limit."""

    finished: int = 0
    notices: int = 0
    older: int = 0
    newer: int = 0


def not_shown(hidden: Hidden, language: str) -> str:
    """The last line of `queue list`; "" when all is shown."""
    finished, notices, older, newer = hidden.finished, hidden.notices, hidden.older, hidden.newer
    counted = (
        (finished, plural("{count} finished (--all)", "{count} finished (--all)", finished, language)),
        (
            notices,
            plural("{count} notice of the relay (--all)", "{count} notices of the relay (--all)", notices, language),
        ),
        (older, plural("{count} older (--limit)", "{count} older (--limit)", older, language)),
        (newer, plural("{count} newer (--limit)", "{count} newer (--limit)", newer, language)),
    )
    left_out = ", ".join(text for count, text in counted if count)
    return translate("not shown: {counts}", language, counts=left_out) if left_out else ""


def table(deliveries: Iterable[Delivery], language: str, width: int | None = None) -> list[str]:
    """Deliveries for a person: a line each, or, where one would be longer than `width` columns, a short block each."""
    parts = [_parts(delivery, language) for delivery in deliveries]
    lines = ["  ".join(columns).rstrip() for columns in parts]
    if width is None or all(len(line) <= width for line in lines):
        return lines
    return [line for columns in parts for line in _block(columns, width)]


def _parts(delivery: Delivery, language: str) -> tuple[str, str, str, str]:
    """What is always as wide, the client, the recipient, and why."""
    client = f"{delivery.firm}/{delivery.dossier}" if delivery.dossier else "-"
    why = sentence(delivery.reason, delivery.detail, language) if delivery.reason else delivery.last_reply
    fixed = (
        delivery.id.ljust(18),
        delivery.state.value.ljust(9),
        f"{delivery.attempts:>3}",
        moment(delivery.arrived) or "",
    )
    return "  ".join(fixed), client, delivery.recipient or translate("(no recipient)", language), clean(why)


def _block(parts: tuple[str, str, str, str], width: int) -> list[str]:
    head, client, recipient, why = parts
    texts = [f"{client} → {recipient}", why]
    wrapped = [_wrapped(text, width) for text in texts if text]
    return [head, *chain.from_iterable(wrapped)]


def _wrapped(text: str, width: int) -> list[str]:
    indent = "    "
    return wrap(text, max(width, 40), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def record_json(record: Record) -> dict[str, Any]:
    """`queue show --json`: one message whole."""
    message = record.message
    return {
        "queue_id": message.queue_id,
        "message_id": message.message_id,
        "arrived": moment(message.arrived),
        "size": len(message.raw),
        "generated": message.generated,
        "envelope": serialization.plain(message.envelope),
        "plans": [_plan_json(index, plan) for index, plan in enumerate(message.plans)],
        "deliveries": [row(delivery) | {"plan": delivery.plan} for delivery in record.deliveries],
        "history": [
            serialization.plain(event) | {"at": moment(event.at), "text": describe(event.text)}
            for event in record.history
        ],
    }


def _plan_json(index: int, plan: Plan) -> dict[str, Any]:
    return {
        "plan": index,
        "disposition": plan.disposition.value,
        "firm": plan.firm,
        "client": plan.dossier,
        "by": plan.by,
        "role": plan.role.value,
        "role_by": plan.role_by or None,
        "to": list(plan.to),
        "reason": plan.reason.value if plan.reason else None,
        "detail": describe(plan.detail),
        "destination": plan.destination,
        "smarthost": plan.smarthost,
        "documents": [_document_json(document) for document in plan.documents],
    }


def _document_json(document: Document) -> dict[str, Any]:
    report = document.report
    return {
        "filename": document.filename,
        "part": document.part.value,
        "action": document.action.value,
        "verdict": report.verdict.value,
        "kind": report.kind.value,
        "number": report.number,
        "sha256": report.sha256,
        "findings": [
            {"rule": finding.rule, "severity": finding.severity.value, "where": finding.where, "text": finding.text}
            for finding in report.findings
        ],
    }


def record_lines(record: Record, language: str) -> Iterator[str]:
    """`queue show`: one message whole, for a person. A plan that a replan has put out of use is left out."""
    message, envelope = record.message, record.message.envelope

    def field(label: str, value: str) -> str:
        return f"{label:<10} {value}"

    by_way_of = translate(
        "{protocol} from {peer} ({helo})",
        language,
        protocol=envelope.protocol,
        peer=clean(envelope.peer),
        helo=clean(envelope.helo),
    )
    yield field(translate_in("queue", "message", language), message.queue_id)
    yield field(translate_in("queue", "arrived", language), f"{moment(message.arrived)}, {len(message.raw)} octets")
    yield field(translate_in("queue", "from", language), f"<{clean(envelope.sender)}>")
    yield field(translate_in("queue", "by way of", language), by_way_of)
    yield field(translate_in("queue", "for", language), clean(", ".join(envelope.addresses)))
    yield field(translate_in("queue", "message id", language), clean(message.message_id) or "-")
    in_use = sorted({delivery.plan for delivery in record.deliveries})
    for index in (index for index in in_use if index < len(message.plans)):
        yield ""
        yield from _plan_lines(index, message.plans[index], language)
        for delivery in (delivery for delivery in record.deliveries if delivery.plan == index):
            yield from _delivery_lines(delivery, language)
    for delivery in (delivery for delivery in record.deliveries if delivery.plan >= len(message.plans)):
        yield ""
        yield from _delivery_lines(delivery, language)
    yield ""
    yield translate_in("queue", "history", language)
    for event in record.history:
        yield _event_line(event, language)


def _event_line(event: HistoryEntry, language: str) -> str:
    number = f".{event.number}" if event.number else ""
    text = describe(event.text, language)
    if event.what == "notification_queued":
        text = code_word(text, language)
    line = f"  {moment(event.at)}  {number:<4}{code_word(event.what, language):<12}{clean(text)}"
    if event.by:
        line += "  " + translate("by {operator}", language, operator=event.by)
    return line.rstrip()


def _plan_lines(index: int, plan: Plan, language: str) -> Iterator[str]:
    client = f"{plan.firm}/{plan.dossier}" if plan.dossier else translate("unknown client", language)
    if plan.by:
        client += " (" + translate("by {way}", language, way=code_word(plan.by, language)) + ")"
    yield translate(
        "plan {number}     {disposition}: {role} of {client} to {destination}",
        language,
        number=index + 1,
        disposition=code_word(plan.disposition.value, language),
        role=code_word(plan.role.value, language),
        client=client,
        destination=plan.destination,
    )
    if plan.role_by:
        yield translate("  role by {identifier}", language, identifier=code_word(plan.role_by, language))
    for document in plan.documents:
        yield _document_line(document, language)


def _document_line(document: Document, language: str) -> str:
    report = document.report
    rules = ", ".join(dict.fromkeys(finding.rule for finding in report.findings))
    parts = (
        translate("document {name}", language, name=clean(document.filename) or translate("(no name)", language)),
        code_word(document.part.value, language),
        code_word(document.action.value, language),
        code_word(report.verdict.value, language),
        translate("number {number}", language, number=clean(report.number or "-")),
        f"[{clean(rules)}]" if rules else "",
    )
    return "  " + "  ".join(part for part in parts if part)


def _delivery_lines(delivery: Delivery, language: str) -> Iterator[str]:
    state = delivery.state.value
    shown = state if language == "en" else f"{state} ({code_word(state, language)})"
    recipient = delivery.recipient or translate("(no recipient)", language)
    yield "  " + "  ".join(
        (
            translate("delivery {id}", language, id=delivery.id),
            shown,
            translate("to {recipient}", language, recipient=recipient),
            translate("attempts {count}", language, count=delivery.attempts),
        )
    )
    if delivery.next_attempt is not None:
        yield "    " + translate("next attempt {time}", language, time=moment(delivery.next_attempt))
    why, what_to_do = _why(delivery, language)
    labels = translate_in("queue", "why", language), translate_in("queue", "fix", language)
    width = max(map(len, labels))
    for label, text in zip(labels, (why, what_to_do), strict=True):
        if text:
            yield f"    {label:<{width}} {text}"
    if delivery.last_reply:
        yield "    " + translate("last answer {reply}", language, reply=clean(delivery.last_reply))


def _why(delivery: Delivery, language: str) -> tuple[str, str]:
    """Why a delivery is held, withheld or failed, and what to do about it; "" for what there is not to say."""
    if delivery.reason is not None:
        return clean(sentence(delivery.reason, delivery.detail, language)), fix(delivery.reason, language)
    failed = delivery.detail and delivery.state is State.FAILED and not delivery.generated
    return clean(describe(delivery.detail, language)), failure_fix(delivery.last_reply, language) if failed else ""


def not_moved(delivery: Delivery, verb: str, language: str) -> str:
    """Why the order `verb` leaves a delivery as it is."""
    if verb == "release" and delivery.recipient is None:
        reason = delivery.reason or Reason.NO_ADDRESS
        return translate(
            "{id} has no recipient to be released to: {why}; {fix} (agiris-relay queue replan {queue_id})",
            language,
            id=delivery.id,
            why=clean(sentence(reason, delivery.detail, language)),
            fix=fix(reason, language),
            queue_id=delivery.queue_id,
        )
    if delivery.state is State.ACTIVE:
        return translate(
            "{id} is being attempted at this moment: try again when the attempt has ended", language, id=delivery.id
        )
    return translate(
        "{id} is {state}: {verb} does not apply", language, id=delivery.id, state=delivery.state.value, verb=verb
    )
