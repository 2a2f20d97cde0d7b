"""Notices to an operator: what is held, failed or late, why, and the fix. One message for many deliveries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from itertools import groupby

from relay.locale.catalogue import plural, translate
from relay.model import Delivery, Message, new_queue_id
from relay.notifications.status import generated
from relay.reasons import describe, failure_fix, fix, public_sentence, sentence
from relay.single_line import replace_unprintable

MAX_LISTED = 20
"""Deliveries named for one reason; of the rest their count: a thousand failures are one notice that can be read."""


@dataclass(frozen=True, slots=True)
class Item:
    """One delivery to report. about: "held" | "failed" | "late"."""

    about: str
    delivery: Delivery


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
    message["Subject"] = translate("{firm}: {counts}", language, firm=_one_line(firm), counts=_summary(items, language))
    message["Message-ID"] = f"<{queue_id}@{hostname}>"
    message["Auto-Submitted"] = "auto-generated"  # rfc3834#5
    closing = translate(
        "Details of a message: `agiris-relay queue show ID`. Nothing is lost; nothing went elsewhere.", language
    )
    body = [_introduction(items, language), "", *_sections(items, language, host), closing]
    message.set_content("\n".join(body) + "\n", cte="quoted-printable")
    raw = message.as_bytes()
    return generated(queue_id=queue_id, to=to, raw=raw, now=now, hostname=hostname, smarthost=smarthost)


def _introduction(items: Sequence[Item], language: str) -> str:
    if all(item.about == "late" for item in items):
        return translate(
            "The following documents are late. The relay goes on trying; you need not do anything.", language
        )
    return translate("The following documents wait for your decision.", language)


def _summary(items: Sequence[Item], language: str) -> str:
    counts = [(about, sum(item.about == about for item in items)) for about in ("held", "failed", "late")]
    return ", ".join(_counted(count, about, language) for about, count in counts if count)


def _counted(count: int, about: str, language: str) -> str:
    match about:
        case "held":
            return plural("{count} held", "{count} held", count, language)
        case "failed":
            return plural("{count} not delivered", "{count} not delivered", count, language)
        case _:
            return plural("{count} late", "{count} late", count, language)


def _sections(items: Sequence[Item], language: str, host: bool) -> Iterable[str]:
    """One section a cause and fix: how many, what to do, the deliveries."""

    def key(item: Item) -> tuple[str, str, str]:
        return item.about, item.delivery.reason or "", _fix(item, language)

    for (about, _, what_to_do), group in groupby(
        sorted(items, key=lambda item: (key(item), item.delivery.arrived)), key
    ):
        members = list(group)
        yield f"— {_counted(len(members), about, language)}"
        yield translate("What to do: {fix}", language, fix=what_to_do)
        for item in members[:MAX_LISTED]:
            yield f"  {_line(item, language, host)}"
        if len(members) > MAX_LISTED:
            yield "  " + translate(
                "… and {count} more: `agiris-relay queue list --state {state}`",
                language,
                count=len(members) - MAX_LISTED,
                state=_STATE[about],
            )
        yield ""


def _fix(item: Item, language: str) -> str:
    delivery = item.delivery
    match item.about:
        case "failed":
            return failure_fix(delivery.last_reply, language)
        case "held" if delivery.reason:
            return fix(delivery.reason, language)
        case "late":
            return translate("nothing: the relay goes on trying", language)
    return ""


def _line(item: Item, language: str, host: bool) -> str:
    delivery = item.delivery
    client = translate("unknown client", language)
    if delivery.dossier:
        client = translate("client {client}", language, client=_client(delivery, host))
    if delivery.reason:
        why = (sentence if host else public_sentence)(delivery.reason, delivery.detail, language)
    elif item.about == "failed" and delivery.detail:
        why = describe(delivery.detail, language)
    else:
        why = delivery.last_reply
    return _one_line(f"{delivery.queue_id}  {client}  {why}")


def _client(delivery: Delivery, host: bool) -> str:
    return f"{delivery.firm}/{delivery.dossier}" if host else str(delivery.dossier)


def _one_line(text: str) -> str:
    """Neither a header nor a line of the list can be broken out of."""
    return replace_unprintable(text)[:300]
