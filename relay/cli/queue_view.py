"""The queue as values for JSON and as lines for a person. Pure; times are RFC 3339, UTC."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from textwrap import wrap
from typing import Any

from relay import serialization
from relay.cli.messages import say, word
from relay.model import Delivery, Document, Plan, State
from relay.reasons import Reason, failure_fix, fix, french, french_spacing, retold, sentence
from relay.single_line import replace_unprintable
from relay.spool.port import Record


def moment(at: float | None) -> str | None:
    """`at` (epoch seconds) as RFC 3339."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def clean(text: str) -> str:
    """Text of a peer as a terminal may show it: one line, no control characters, nothing undecodable."""
    return replace_unprintable(text, "?")


def row(each: Delivery) -> dict[str, Any]:
    """One line of `queue list --json` (shared/CLI.md)."""
    return {
        "id": each.id,
        "queue_id": each.queue_id,
        "number": each.number,
        "firm": each.firm,
        "client": each.dossier,
        "recipient": each.recipient,
        "state": each.state.value,
        "attempts": each.attempts,
        "arrived": moment(each.arrived),
        "next_attempt": moment(each.next_attempt),
        "last_reply": each.last_reply or None,
        "reason": each.reason.value if each.reason else None,
        "detail": each.detail,
        "size": each.size,
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
    counts = {"finished": hidden.finished, "notices": hidden.notices, "older": hidden.older, "newer": hidden.newer}
    parts = [say(f"{key} ({'one' if n == 1 else 'many'})", language, n) for key, n in counts.items() if n]
    return say("not shown", language, ", ".join(parts)) if parts else ""


def table(found: Iterable[Delivery], language: str, width: int | None = None) -> list[str]:
    """Deliveries for a person: a line each, or, where one would be longer than `width` columns, a short block each."""
    parts = [_parts(each, language) for each in found]
    lines = ["  ".join(each).rstrip() for each in parts]
    if width is None or all(len(each) <= width for each in lines):
        return lines
    return [text for each in parts for text in _block(each, width)]


def _parts(each: Delivery, language: str) -> tuple[str, str, str, str]:
    """What is always as wide, the client, the recipient, and why."""
    client = f"{each.firm}/{each.dossier}" if each.dossier else "-"
    why = sentence(each.reason, each.detail, language) if each.reason else each.last_reply
    fixed = (each.id.ljust(18), each.state.value.ljust(9), f"{each.attempts:>3}", moment(each.arrived) or "")
    return "  ".join(fixed), client, each.recipient or word("(no recipient)", language), clean(why)


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
    mail = record.message
    return {
        "queue_id": mail.queue_id,
        "message_id": mail.message_id,
        "arrived": moment(mail.arrived),
        "size": len(mail.raw),
        "generated": mail.generated,
        "envelope": serialization.plain(mail.envelope),
        "plans": [_plan_json(index, plan) for index, plan in enumerate(mail.plans)],
        "deliveries": [row(each) | {"plan": each.plan} for each in record.deliveries],
        "history": [serialization.plain(each) | {"at": moment(each.at)} for each in record.history],
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
        "detail": plan.detail,
        "destination": plan.destination,
        "smarthost": plan.smarthost,
        "documents": [_document_json(each) for each in plan.documents],
    }


def _document_json(each: Document) -> dict[str, Any]:
    report = each.report
    return {
        "filename": each.filename,
        "part": each.part.value,
        "action": each.action.value,
        "verdict": report.verdict.value,
        "kind": report.kind.value,
        "number": report.number,
        "sha256": report.sha256,
        "findings": [
            {"rule": found.rule, "severity": found.severity.value, "where": found.where, "text": found.text}
            for found in report.findings
        ],
    }


def record_lines(record: Record, language: str) -> Iterator[str]:
    """`queue show`: one message whole, for a person. A plan that a replan has put out of use is left out."""
    mail, envelope = record.message, record.message.envelope

    def labelled(label: str, value: str) -> str:
        return f"{word(label, language):<10} {value}"

    came = f"{envelope.protocol} {word('from', language)} {clean(envelope.peer)} ({clean(envelope.helo)})"
    yield labelled("mail", mail.queue_id)
    yield labelled("arrived", f"{moment(mail.arrived)}, {len(mail.raw)} octets")
    yield labelled("from", f"<{clean(envelope.sender)}>")
    yield labelled("by way of", came)
    yield labelled("for", clean(", ".join(envelope.addresses)))
    yield labelled("message id", clean(mail.message_id) or "-")
    in_use = sorted({each.plan for each in record.deliveries})
    for index in (each for each in in_use if each < len(mail.plans)):
        yield ""
        yield from _plan_lines(index, mail.plans[index], language)
        for delivery in (each for each in record.deliveries if each.plan == index):
            yield from _delivery_lines(delivery, language)
    for delivery in (each for each in record.deliveries if each.plan >= len(mail.plans)):
        yield ""
        yield from _delivery_lines(delivery, language)
    yield ""
    yield word("history", language)
    for event in record.history:
        who = f"  {word('by', language)} {event.by}" if event.by else ""
        number = f".{event.number}" if event.number else ""
        what, text = word(event.what, language), clean(retold(event.text, language))
        yield f"  {moment(event.at)}  {number:<4}{what:<12}{text}{who}".rstrip()


def _plan_lines(index: int, plan: Plan, language: str) -> Iterator[str]:
    def spoken(term: str) -> str:
        return word(term, language)

    client = f"{plan.firm}/{plan.dossier}" if plan.dossier else spoken("unknown client")
    by = f" ({spoken('by')} {spoken(plan.by)})" if plan.by else ""
    role = f"{spoken(plan.role.value)} {spoken('of')} {client}{by}"
    colon = french_spacing(" :") if language == "fr" else ":"
    yield f"plan {index + 1}     {spoken(plan.disposition.value)}{colon} {role} {spoken('to')} {plan.destination}"
    if plan.role_by:
        yield f"  {spoken('role by')} {spoken(plan.role_by)}"
    for each in plan.documents:
        report = each.report
        rules = ", ".join(dict.fromkeys(found.rule for found in report.findings))
        number = f"{spoken('number')} {clean(report.number or '-')}"
        yield (
            f"  {spoken('document')} {clean(each.filename) or spoken('(no name)')}  {spoken(each.part.value)}"
            f"  {spoken(each.action.value)}  {spoken(report.verdict.value)}  {number}"
            + (f"  [{clean(rules)}]" if rules else "")
        )


def _delivery_lines(each: Delivery, language: str) -> Iterator[str]:
    def spoken(term: str) -> str:
        return word(term, language)

    recipient, width = each.recipient or spoken("(no recipient)"), max(len(spoken("why")), len(spoken("mend")))
    attempts = f"{spoken('attempts')} {each.attempts}"
    state = each.state.value if language == "en" else f"{each.state.value} ({spoken(each.state.value)})"
    yield f"  {spoken('delivery')} {each.id}  {state}  {spoken('to')} {recipient}  {attempts}"
    if each.next_attempt is not None:
        yield f"    {spoken('next attempt')} {moment(each.next_attempt)}"
    if each.reason is not None:
        yield f"    {spoken('why'):<{width}} {clean(sentence(each.reason, each.detail, language))}"
        yield f"    {spoken('mend'):<{width}} {fix(each.reason, language)}"
    elif each.detail:
        yield f"    {spoken('why'):<{width}} {clean(french(each.detail) if language == 'fr' else each.detail)}"
        if each.state is State.FAILED and not each.generated:
            yield f"    {spoken('mend'):<{width}} {failure_fix(each.last_reply, language)}"
    if each.last_reply:
        yield f"    {spoken('last answer')} {clean(each.last_reply)}"


def unmoved(each: Delivery, verb: str, language: str) -> str:
    """Why the order `verb` leaves a delivery as it is."""
    if verb == "release" and each.recipient is None:
        reason = each.reason or Reason.NO_ADDRESS
        why = clean(sentence(reason, each.detail, language))
        return say("no recipient", language, each.id, why, fix(reason, language), each.queue_id)
    if each.state.value == "active":
        return say("under way", language, each.id)
    return say("does not apply", language, each.id, each.state.value, verb)
