"""Notices to the firm's operator: what is held, failed or late, why, and the mend. One mail for many deliveries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from itertools import groupby

from relay.model import Delivery, Mail, new_queue_id
from relay.reason import Reason, mend, sentence
from relay.reports.envelope import generated

MAX_LISTED = 20
"""Deliveries named for one reason; beyond, the count is told: a thousand failures are one notice that can be read."""


@dataclass(frozen=True, slots=True)
class Item:
    """One delivery to be told of. about: "held" | "failed" | "late"."""

    about: str
    delivery: Delivery


_WORDS = {
    "fr": {
        "held": ("retenu", "retenus"),
        "failed": ("non remis", "non remis"),
        "late": ("en retard", "en retard"),
        "intro": "Le relais Agiris a besoin de vous pour ce qui suit.",
        "late_mend": "aucune action : le relais continue d'essayer",
        "failed_mend": "corrigez la cause, puis `agiris-relay queue retry ID`",
        "dossier": "dossier",
        "unknown": "dossier inconnu",
        "mend": "Que faire : ",
        "more": "… et {count} de plus : `agiris-relay queue list --state {state}`",
        "closing": "Chaque message : `agiris-relay queue show ID`. Rien n'est perdu ; rien n'est parti ailleurs.",
    },
    "en": {
        "held": ("held", "held"),
        "failed": ("not delivered", "not delivered"),
        "late": ("late", "late"),
        "intro": "The Agiris relay needs you for the following.",
        "late_mend": "nothing: the relay goes on trying",
        "failed_mend": "mend the cause, then `agiris-relay queue retry ID`",
        "dossier": "client",
        "unknown": "unknown client",
        "mend": "What to do: ",
        "more": "… and {count} more: `agiris-relay queue list --state {state}`",
        "closing": "Each mail: `agiris-relay queue show ID`. Nothing is lost; nothing went elsewhere.",
    },
}
_STATE = {"held": "held", "failed": "failed", "late": "deferred"}


def notice(
    items: Sequence[Item], *, firm: str, to: str, language: str, hostname: str, smarthost: str, now: float
) -> Mail:
    """One notice about all of `items` to the operator `to` of `firm` (its display name). language: "fr" | "en".

    Names queue ids, clients and reasons; nothing of the invoices themselves.
    """
    words = _WORDS["fr" if language == "fr" else "en"]
    queue_id = new_queue_id()
    message = EmailMessage(policy=SMTP.clone(max_line_length=200))
    message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    message["From"] = f"Agiris relay <MAILER-DAEMON@{hostname}>"
    message["To"] = to
    message["Subject"] = f"{_one_line(firm)} : {_summary(items, language)}"
    message["Message-ID"] = f"<{queue_id}@{hostname}>"
    message["Auto-Submitted"] = "auto-generated"  # rfc3834#5
    body = [words["intro"], "", *_sections(items, language), words["closing"]]
    message.set_content("\n".join(str(line) for line in body) + "\n", cte="quoted-printable")
    raw = message.as_bytes()
    return generated(queue_id=queue_id, to=to, raw=raw, now=now, hostname=hostname, smarthost=smarthost)


def _summary(items: Sequence[Item], language: str) -> str:
    words = _WORDS["fr" if language == "fr" else "en"]
    counts = [(about, sum(item.about == about for item in items)) for about in ("held", "failed", "late")]
    return ", ".join(f"{count} {words[about][count > 1]}" for about, count in counts if count)


def _sections(items: Sequence[Item], language: str) -> Iterable[str]:
    """One section for each cause: the sentence, the mend, the deliveries."""
    words = _WORDS["fr" if language == "fr" else "en"]
    ordered = sorted(items, key=lambda item: (item.about, item.delivery.reason or "", item.delivery.arrived))
    for (about, reason), group in groupby(ordered, key=lambda item: (item.about, item.delivery.reason)):
        members = list(group)
        yield f"— {len(members)} {words[about][len(members) > 1]}"
        yield f"{words['mend']}{_mend(about, reason, language)}"
        for item in members[:MAX_LISTED]:
            yield f"  {_line(item, language)}"
        if len(members) > MAX_LISTED:
            yield "  " + str(words["more"]).format(count=len(members) - MAX_LISTED, state=_STATE[about])
        yield ""


def _mend(about: str, reason: Reason | None, language: str) -> str:
    words = _WORDS["fr" if language == "fr" else "en"]
    return mend(reason, language) if about == "held" and reason else str(words.get(f"{about}_mend", ""))


def _line(item: Item, language: str) -> str:
    words = _WORDS["fr" if language == "fr" else "en"]
    delivery = item.delivery
    client = f"{words['dossier']} {delivery.dossier}" if delivery.dossier else words["unknown"]
    why = sentence(delivery.reason, delivery.detail, language) if delivery.reason else delivery.last_reply
    return _one_line(f"{delivery.queue_id}  {client}  {why}")


def _one_line(text: str) -> str:
    """Neither a header nor a line of the list can be broken out of."""
    return "".join(each if each.isprintable() else " " for each in text)[:300]
