"""The digest to a firm's operator: a day or a week in figures, and what waits for a person. Text and HTML, one mail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape

from relay.model import Message, State, new_queue_id
from relay.notifications.status import generated
from relay.reasons import Reason, fix, french_spacing, sentence
from relay.single_line import replace_unprintable

MAX_RULES = 15
"""Rules named; the rest is in `agiris-relay trace`."""

_REASONS = frozenset(each.value for each in Reason)
_WAITING = (State.QUEUED, State.ACTIVE, State.DEFERRED)


@dataclass(frozen=True, slots=True)
class Figures:
    """One firm's period. messages: accepted. states: what became of their deliveries. late: of them, once late.

    held: by reason, all that waits for a person now. invalid: documents by rule broken.
    """

    mails: int = 0
    states: Mapping[State, int] | None = None
    late: int = 0
    held: Mapping[str, int] | None = None
    invalid: Mapping[str, int] | None = None

    def count(self, *states: State) -> int:
        return sum((self.states or {}).get(each, 0) for each in states)


_WORDS = {
    "fr": {
        "title": "{firm} : relais Agiris du {since} au {until}",
        "mails": ("message accepté", "messages acceptés"),
        "delivered": ("envoi remis au serveur suivant", "envois remis au serveur suivant"),
        "waiting": ("envoi en attente", "envois en attente"),
        "late": ("envoi en retard", "envois en retard"),
        "failed": ("envoi non remis", "envois non remis"),
        "withheld": ("envoi non transmis, par vos réglages", "envois non transmis, par vos réglages"),
        "dropped": ("envoi écarté par un opérateur", "envois écartés par un opérateur"),
        "held": "À traiter maintenant : envois retenus",
        "nothing": "Rien n'est retenu : rien à faire.",
        "mend": "Que faire : ",
        "invalid": "Factures Factur-X invalides, par règle",
        "documents": ("pièce", "pièces"),
        "rule": "{rule} : {count} {documents}",
        "more": ("et {count} règle de plus", "et {count} règles de plus"),
        "closing": "La liste : `agiris-relay queue list --state held`. « Remis » veut dire accepté par le serveur"
        " suivant ; le relais ne sait pas ce qu'Agiris a comptabilisé.",
    },
    "en": {
        "title": "{firm}: Agiris relay from {since} to {until}",
        "mails": ("mail accepted", "mails accepted"),
        "delivered": ("delivery taken by the next hop", "deliveries taken by the next hop"),
        "waiting": ("delivery waiting", "deliveries waiting"),
        "late": ("delivery late", "deliveries late"),
        "failed": ("delivery failed", "deliveries failed"),
        "withheld": ("delivery not transmitted, by your settings", "deliveries not transmitted, by your settings"),
        "dropped": ("delivery dropped by an operator", "deliveries dropped by an operator"),
        "held": "To be done now: deliveries held",
        "nothing": "Nothing is held: nothing to do.",
        "mend": "What to do: ",
        "invalid": "Invalid Factur-X, by rule",
        "documents": ("document", "documents"),
        "rule": "{rule}: {count} {documents}",
        "more": ("and {count} more rule", "and {count} more rules"),
        "closing": "The list: `agiris-relay queue list --state held`. Delivered means taken by the next hop; the relay"
        " does not know what Agiris has booked.",
    },
}


def digest(
    figures: Figures, *, firm: str, to: str, language: str, hostname: str, smarthost: str, period: str,
    since: float, until: float, now: float,
) -> Message:  # fmt: skip
    """The digest of `since` to `until` (epoch seconds) to the operator `to` of `firm` (its display name).

    language: "fr" | "en". period: names firm and period; the spool takes a digest of the same period once only, so
    neither a restart nor a second node sends it again. Holds figures, reasons and rules; nothing of any invoice.
    """
    title = _word("title", language).format(firm=_one_line(firm), since=_day(since), until=_day(until))
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
    mail = generated(queue_id=queue_id, to=to, raw=message.as_bytes(), now=now, hostname=hostname, smarthost=smarthost)
    return replace(mail, fingerprint=f"digest {period}")


def _lines(figures: Figures, language: str) -> list[tuple[int, str]]:
    """Number and words; beside the first two only what is not zero."""
    found = [
        (figures.mails, "mails"),
        (figures.count(State.DELIVERED), "delivered"),
        (figures.count(*_WAITING), "waiting"),
        (figures.late, "late"),
        (figures.count(State.FAILED), "failed"),
        (figures.count(State.WITHHELD), "withheld"),
        (figures.count(State.DROPPED), "dropped"),
    ]
    shown = found[:2] + [each for each in found[2:] if each[0]]
    return [(count, _word(key, language, count)) for count, key in shown]


def _held(figures: Figures, language: str) -> list[tuple[int, str, str]]:
    """Number, what happened, what to do; most first."""
    found = []
    for code, count in _most_first(figures.held or {}):
        if code in _REASONS:
            found.append((count, sentence(Reason(code), "…", language), fix(Reason(code), language)))
        else:
            found.append((count, code or "-", ""))
    return found


def _rules(figures: Figures, language: str) -> list[str]:
    rules = _most_first(figures.invalid or {})
    named = [
        _word("rule", language).format(rule=_one_line(rule), count=count, documents=_word("documents", language, count))
        for rule, count in rules[:MAX_RULES]
    ]
    left = len(rules) - MAX_RULES
    return named + ([_word("more", language, left).format(count=left)] if left > 0 else [])


def _word(key: str, language: str, count: int = 1) -> str:
    """The words of `key`; where they have a plural, that of `count`: from 2 on in French, all but 1 in English."""
    french = language == "fr"
    words = _WORDS["fr" if french else "en"][key]
    if not isinstance(words, str):
        words = words[count > 1 if french else count != 1]
    return french_spacing(words) if french else words


def _text(title: str, figures: Figures, language: str) -> str:
    lines = [title, ""]
    lines += [f"{count:>7}  {what}" for count, what in _lines(figures, language)]
    lines += ["", _word("held" if figures.held else "nothing", language)]
    for count, what, todo in _held(figures, language):
        lines += [f"{count:>7}  {what}", f"         {_word('mend', language)}{todo}"]
    if figures.invalid:
        lines += ["", _word("invalid", language), *(f"  {each}" for each in _rules(figures, language))]
    return "\n".join([*lines, "", _word("closing", language), ""])


def _html(title: str, figures: Figures, language: str) -> str:
    """No style sheet, no picture, no link: nothing that a mail client would have to fetch or refuse."""
    code = "fr" if language == "fr" else "en"
    parts = [
        f'<!DOCTYPE html><html lang="{code}"><head><meta charset="utf-8"><title>{escape(title)}</title></head><body>'
    ]
    parts += [f"<h2>{escape(title)}</h2>", _table([(str(count), what) for count, what in _lines(figures, language)])]
    parts.append(f"<h3>{escape(_word('held' if figures.held else 'nothing', language))}</h3>")
    held = _held(figures, language)
    if held:
        parts.append(_table([(str(count), what, f"{_word('mend', language)}{todo}") for count, what, todo in held]))
    if figures.invalid:
        rules = "".join(f"<li>{escape(each)}</li>" for each in _rules(figures, language))
        parts.append(f"<h3>{escape(_word('invalid', language))}</h3><ul>{rules}</ul>")
    parts.append(f"<p>{escape(_word('closing', language))}</p></body></html>")
    return "\n".join(parts) + "\n"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    lines = ("".join(f"<td>{escape(each)}</td>" for each in row) for row in rows)
    return '<table cellpadding="4">' + "\n".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _day(at: float) -> str:
    """In the machine's time zone, as the firm counts its days."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d")


def _one_line(text: str) -> str:
    return replace_unprintable(text)[:200]
