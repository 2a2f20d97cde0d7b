"""Notices to an operator: what is held, failed or late, why, and the fix. One message for many deliveries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from itertools import groupby

from relay.model import Delivery, Message, new_queue_id
from relay.notifications.status import generated
from relay.reasons import failure_fix, fix, french, french_spacing, public_sentence, sentence
from relay.single_line import replace_unprintable

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
        "decide": "Les pièces suivantes attendent votre décision.",
        "wait": "Les pièces suivantes sont en retard. Les tentatives continuent ; vous n'avez rien à faire.",
        "late_fix": "rien : les tentatives continuent",
        "dossier": "dossier",
        "unknown": "dossier inconnu",
        "mend": "Que faire : ",
        "more": "… et {count} de plus : `agiris-relay queue list --state {state}`",
        "closing": "Détail d'un message : `agiris-relay queue show ID`. Rien n'est perdu ; rien n'est parti ailleurs.",
        "colon": " :",
    },
    "en": {
        "held": ("held", "held"),
        "failed": ("not delivered", "not delivered"),
        "late": ("late", "late"),
        "decide": "The following documents wait for your decision.",
        "wait": "The following documents are late. The relay goes on trying; you need not do anything.",
        "late_fix": "nothing: the relay goes on trying",
        "dossier": "client",
        "unknown": "unknown client",
        "mend": "What to do: ",
        "more": "… and {count} more: `agiris-relay queue list --state {state}`",
        "closing": "Details of a message: `agiris-relay queue show ID`. Nothing is lost; nothing went elsewhere.",
        "colon": ":",
    },
}
_STATE = {"held": "held", "failed": "failed", "late": "deferred"}


def notice(
    items: Sequence[Item],
    *,
    firm: str,
    to: str,
    language: str,
    hostname: str,
    smarthost: str,
    now: float,
    host: bool = False,
) -> Message:
    """One notice about all of `items` to the operator `to` of `firm` (its display name). language: "fr" | "en".

    host: `to` is the operator of the host, who may read the details that name clients of several firms.
    Names queue ids, clients and reasons; nothing of the invoices themselves.
    """
    queue_id = new_queue_id()
    message = EmailMessage(policy=SMTP.clone(max_line_length=200))
    message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    message["From"] = f"Agiris relay <MAILER-DAEMON@{hostname}>"
    message["To"] = to
    message["Subject"] = f"{_one_line(firm)}{_word('colon', language)} {_summary(items, language)}"
    message["Message-ID"] = f"<{queue_id}@{hostname}>"
    message["Auto-Submitted"] = "auto-generated"  # rfc3834#5
    intro = _word("wait" if all(item.about == "late" for item in items) else "decide", language)
    body = [intro, "", *_sections(items, language, host), _word("closing", language)]
    message.set_content("\n".join(body) + "\n", cte="quoted-printable")
    raw = message.as_bytes()
    return generated(queue_id=queue_id, to=to, raw=raw, now=now, hostname=hostname, smarthost=smarthost)


def _summary(items: Sequence[Item], language: str) -> str:
    counts = [(about, sum(item.about == about for item in items)) for about in ("held", "failed", "late")]
    return ", ".join(_counted(count, about, language) for about, count in counts if count)


def _counted(count: int, about: str, language: str) -> str:
    return f"{count} {_WORDS['fr' if language == 'fr' else 'en'][about][count > 1]}"


def _sections(items: Sequence[Item], language: str, host: bool) -> Iterable[str]:
    """One section for each cause and fix: how many, what to do, the deliveries."""

    def key(item: Item) -> tuple[str, str, str]:
        return item.about, item.delivery.reason or "", _fix(item, language)

    for (about, _, what_to_do), group in groupby(
        sorted(items, key=lambda item: (key(item), item.delivery.arrived)), key
    ):
        members = list(group)
        yield f"— {_counted(len(members), about, language)}"
        yield f"{_word('mend', language)}{what_to_do}"
        for item in members[:MAX_LISTED]:
            yield f"  {_line(item, language, host)}"
        if len(members) > MAX_LISTED:
            more = _word("more", language)
            yield "  " + more.format(count=len(members) - MAX_LISTED, state=_STATE[about])
        yield ""


def _fix(item: Item, language: str) -> str:
    delivery = item.delivery
    match item.about:
        case "failed":
            return failure_fix(delivery.last_reply, language)
        case "held" if delivery.reason:
            return fix(delivery.reason, language)
        case "late":
            return _word("late_fix", language)
    return ""


def _line(item: Item, language: str, host: bool) -> str:
    delivery = item.delivery
    client = (
        f"{_word('dossier', language)} {_client(delivery, host)}" if delivery.dossier else _word("unknown", language)
    )
    if delivery.reason:
        why = (sentence if host else public_sentence)(delivery.reason, delivery.detail, language)
    else:
        why = delivery.last_reply
        if item.about == "failed" and delivery.detail:
            why = french(delivery.detail) if language == "fr" else delivery.detail
    return _one_line(f"{delivery.queue_id}  {client}  {why}")


def _client(delivery: Delivery, host: bool) -> str:
    return f"{delivery.firm}/{delivery.dossier}" if host else str(delivery.dossier)


def _word(key: str, language: str) -> str:
    if language == "fr":
        return french_spacing(str(_WORDS["fr"][key]))
    return str(_WORDS["en"][key])


def _one_line(text: str) -> str:
    """Neither a header nor a line of the list can be broken out of."""
    return replace_unprintable(text)[:300]
