"""The queue as values for JSON and as lines for a person. Pure; times are RFC 3339, UTC."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from relay import wire
from relay.model import Delivery, Document, Plan
from relay.reason import Reason, mend, sentence
from relay.spool.port import Record


def moment(at: float | None) -> str | None:
    """`at` (epoch seconds) as RFC 3339."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def clean(text: str) -> str:
    """Text of a peer as a terminal may show it: one line, no control characters, nothing undecodable."""
    return "".join(each if each.isprintable() else "?" for each in text)


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


def line(each: Delivery, language: str) -> str:
    """One delivery for a person."""
    client = f"{each.firm}/{each.dossier}" if each.dossier else "-"
    why = sentence(each.reason, each.detail, language) if each.reason else each.last_reply
    parts = [
        *(each.id.ljust(18), each.state.value.ljust(9), f"{each.attempts:>3}", moment(each.arrived) or ""),
        *(client, each.recipient or "(no recipient)", clean(why)),
    ]
    return "  ".join(parts).rstrip()


def record_json(record: Record) -> dict[str, Any]:
    """`queue show --json`: one mail whole."""
    mail = record.mail
    return {
        "queue_id": mail.queue_id,
        "message_id": mail.message_id,
        "arrived": moment(mail.arrived),
        "size": len(mail.raw),
        "generated": mail.generated,
        "envelope": wire.plain(mail.envelope),
        "plans": [_plan_json(index, plan) for index, plan in enumerate(mail.plans)],
        "deliveries": [row(each) | {"plan": each.plan} for each in record.deliveries],
        "history": [wire.plain(each) | {"at": moment(each.at)} for each in record.history],
    }


def _plan_json(index: int, plan: Plan) -> dict[str, Any]:
    return {
        "plan": index,
        "disposition": plan.disposition.value,
        "firm": plan.firm,
        "client": plan.dossier,
        "by": plan.by,
        "role": plan.role.value,
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
    """`queue show`: one mail whole, for a person. A plan that a replan has put out of use is left out."""
    mail, envelope = record.mail, record.mail.envelope
    yield f"mail       {mail.queue_id}"
    yield f"arrived    {moment(mail.arrived)}, {len(mail.raw)} octets"
    yield f"from       <{clean(envelope.sender)}>"
    yield f"by way of  {envelope.protocol} from {clean(envelope.peer)} ({clean(envelope.helo)})"
    yield f"for        {clean(', '.join(envelope.addresses))}"
    yield f"message id {clean(mail.message_id) or '-'}"
    in_use = sorted({each.plan for each in record.deliveries})
    for index in (each for each in in_use if each < len(mail.plans)):
        yield ""
        yield from _plan_lines(index, mail.plans[index])
        for delivery in (each for each in record.deliveries if each.plan == index):
            yield from _delivery_lines(delivery, language)
    for delivery in (each for each in record.deliveries if each.plan >= len(mail.plans)):
        yield ""
        yield from _delivery_lines(delivery, language)
    yield ""
    yield "history"
    for event in record.history:
        who = f"  by {event.by}" if event.by else ""
        number = f".{event.number}" if event.number else ""
        yield f"  {moment(event.at)}  {number:<4}{event.what:<12}{clean(event.text)}{who}".rstrip()


def _plan_lines(index: int, plan: Plan) -> Iterator[str]:
    client = f"{plan.firm}/{plan.dossier}" if plan.dossier else "unknown client"
    by = f" (by {plan.by})" if plan.by else ""
    yield f"plan {index + 1}     {plan.disposition.value}: {plan.role.value} of {client}{by} to {plan.destination}"
    for each in plan.documents:
        report = each.report
        rules = ", ".join(dict.fromkeys(found.rule for found in report.findings))
        yield (
            f"  document {clean(each.filename) or '(no name)'}  {each.part.value}  {each.action.value}"
            f"  {report.verdict.value}  number {clean(report.number or '-')}" + (f"  [{clean(rules)}]" if rules else "")
        )


def _delivery_lines(each: Delivery, language: str) -> Iterator[str]:
    yield f"  delivery {each.id}  {each.state.value}  to {each.recipient or '(no recipient)'}  attempts {each.attempts}"
    if each.next_attempt is not None:
        yield f"    next attempt {moment(each.next_attempt)}"
    if each.reason is not None:
        yield f"    why  {clean(sentence(each.reason, each.detail, language))}"
        yield f"    mend {mend(each.reason, language)}"
    elif each.detail:
        yield f"    why  {clean(each.detail)}"
    if each.last_reply:
        yield f"    last answer {clean(each.last_reply)}"


def unmoved(each: Delivery, verb: str, language: str) -> str:
    """Why the order `verb` leaves a delivery as it is."""
    if verb == "release" and each.recipient is None:
        reason = each.reason or Reason.NO_ADDRESS
        return (
            f"{each.id} has no recipient to be released to: {clean(sentence(reason, each.detail, language))};"
            f" {mend(reason, language)} (agiris-relay queue replan {each.queue_id})"
        )
    if each.state.value == "active":
        return f"{each.id} is being attempted at this moment: try again when the attempt has ended"
    return f"{each.id} is {each.state.value}: {verb} does not apply"
