"""The digest to a firm's operator: a period in figures, and what waits for a person. Text and HTML, one message."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape

from relay.locale.catalogue import plural, translate
from relay.model import Message, State, new_queue_id
from relay.notifications.status import generated
from relay.reasons import Reason, fix, sentence
from relay.single_line import replace_unprintable

MAX_RULES = 15
"""Rules named; the rest is in `agiris-relay trace`."""

_REASONS = frozenset(reason.value for reason in Reason)
_WAITING = (State.QUEUED, State.ACTIVE, State.DEFERRED)


@dataclass(frozen=True, slots=True)
class Figures:
    """One firm's period. messages: accepted. states: what became of their deliveries. late: of them, once late.

    held: by reason, all that waits for a person now. invalid: documents by rule broken.
    """

    messages: int = 0
    states: Mapping[State, int] | None = None
    late: int = 0
    held: Mapping[str, int] | None = None
    invalid: Mapping[str, int] | None = None

    def count(self, *states: State) -> int:
        return sum((self.states or {}).get(state, 0) for state in states)


def digest(
    figures: Figures, *, firm: str, to: str, language: str, hostname: str, smarthost: str, period: str,
    since: float, until: float, now: float,
) -> Message:  # fmt: skip
    """The digest of `since` to `until` (epoch seconds) to the operator `to` of `firm` (its display name).

    language: "fr" | "en". period: names firm and period; the spool takes a digest of the same period once only, so
    neither a restart nor a second node sends it again. Holds figures, reasons and rules; nothing of any invoice.
    """
    title = translate(
        "{firm}: Agiris relay from {since} to {until}",
        language,
        firm=_one_line(firm),
        since=_day(since),
        until=_day(until),
    )
    queue_id = new_queue_id()
    message = EmailMessage(policy=SMTP.clone(max_line_length=200))
    message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    message["From"] = f"Agiris relay <MAILER-DAEMON@{hostname}>"
    message["To"] = to
    message["Subject"] = title
    message["Message-ID"] = f"<{queue_id}@{hostname}>"
    message["Auto-Submitted"] = "auto-generated"  # rfc3834#5
    message.set_content(_text(title, figures, language), cte="quoted-printable")
    message.add_alternative(_html(title, figures, language), subtype="html", cte="quoted-printable")
    made = generated(queue_id=queue_id, to=to, raw=message.as_bytes(), now=now, hostname=hostname, smarthost=smarthost)
    return replace(made, fingerprint=f"digest {period}")


def _lines(figures: Figures, language: str) -> list[tuple[int, str]]:
    """Number and words; beside the first two only what is not zero."""
    messages, delivered = figures.messages, figures.count(State.DELIVERED)
    waiting, late = figures.count(*_WAITING), figures.late
    failed, withheld, dropped = (figures.count(state) for state in (State.FAILED, State.WITHHELD, State.DROPPED))
    lines = [
        (messages, plural("message accepted", "messages accepted", messages, language)),
        (
            delivered,
            plural("delivery accepted by the next hop", "deliveries accepted by the next hop", delivered, language),
        ),
        (waiting, plural("delivery waiting", "deliveries waiting", waiting, language)),
        (late, plural("delivery late", "deliveries late", late, language)),
        (failed, plural("delivery failed", "deliveries failed", failed, language)),
        (
            withheld,
            plural(
                "delivery not transmitted, by your settings",
                "deliveries not transmitted, by your settings",
                withheld,
                language,
            ),
        ),
        (dropped, plural("delivery dropped by an operator", "deliveries dropped by an operator", dropped, language)),
    ]
    return lines[:2] + [(count, text) for count, text in lines[2:] if count]


def _held(figures: Figures, language: str) -> list[tuple[int, str, str]]:
    """Number, what happened, what to do; most first."""
    rows = []
    for code, count in _most_first(figures.held or {}):
        known = code in _REASONS
        what = sentence(Reason(code), "…", language) if known else code or "-"
        what_to_do = fix(Reason(code), language) if known else ""
        rows.append((count, what, translate("What to do: {fix}", language, fix=what_to_do)))
    return rows


def _rules(figures: Figures, language: str) -> list[str]:
    rules = _most_first(figures.invalid or {})
    lines = [
        plural("{rule}: {count} document", "{rule}: {count} documents", count, language, rule=_one_line(rule))
        for rule, count in rules[:MAX_RULES]
    ]
    left = len(rules) - MAX_RULES
    return lines + ([plural("and {count} more rule", "and {count} more rules", left, language)] if left > 0 else [])


def _heading_of_held(figures: Figures, language: str) -> str:
    if figures.held:
        return translate("To be done now: deliveries held", language)
    return translate("Nothing is held: nothing to do.", language)


def _heading_of_rules(language: str) -> str:
    return translate("Invalid Factur-X, by rule", language)


def _closing(language: str) -> str:
    return translate(
        "The list: `agiris-relay queue list --state held`. Delivered means accepted by the next hop; the relay does not"
        " know what Agiris has booked.",
        language,
    )


def _text(title: str, figures: Figures, language: str) -> str:
    lines = [title, ""]
    lines += [f"{count:>7}  {what}" for count, what in _lines(figures, language)]
    lines += ["", _heading_of_held(figures, language)]
    for count, what, what_to_do in _held(figures, language):
        lines += [f"{count:>7}  {what}", f"         {what_to_do}"]
    if figures.invalid:
        lines += ["", _heading_of_rules(language), *(f"  {rule}" for rule in _rules(figures, language))]
    return "\n".join([*lines, "", _closing(language), ""])


def _html(title: str, figures: Figures, language: str) -> str:
    """No style sheet, no picture, no link: nothing that a mail program would have to fetch or block."""
    code = "fr" if language == "fr" else "en"
    parts = [
        f'<!DOCTYPE html><html lang="{code}"><head><meta charset="utf-8"><title>{escape(title)}</title></head><body>'
    ]
    parts += [f"<h2>{escape(title)}</h2>", _table([(str(count), what) for count, what in _lines(figures, language)])]
    parts.append(f"<h3>{escape(_heading_of_held(figures, language))}</h3>")
    held = _held(figures, language)
    if held:
        parts.append(_table([(str(count), what, what_to_do) for count, what, what_to_do in held]))
    if figures.invalid:
        rules = "".join(f"<li>{escape(rule)}</li>" for rule in _rules(figures, language))
        parts.append(f"<h3>{escape(_heading_of_rules(language))}</h3><ul>{rules}</ul>")
    parts.append(f"<p>{escape(_closing(language))}</p></body></html>")
    return "\n".join(parts) + "\n"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    return '<table cellpadding="4">' + "\n".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda counted: (-counted[1], counted[0]))


def _day(at: float) -> str:
    """In the machine's time zone, as the firm counts its days."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d")


def _one_line(text: str) -> str:
    return replace_unprintable(text)[:200]
