"""New rows, those of one table together, whatever mails they are of."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from relay import wire
from relay.mail.identity import seal
from relay.model import Claim, Mail
from relay.spool.entry import Planted
from relay.spool.rows import DELIVERY, Row, kinds, text, together
from relay.spool.segments import Place

_MAILS = (
    "INSERT INTO mails (id, queue_id, arrived, message_id, fingerprint, hold_duplicates, generated, size, sha256,"
    " envelope, plans, segment, start)"
)
_DELIVERIES = f"INSERT INTO deliveries (mail, changed, token, {DELIVERY})"
_DOCUMENTS = "INSERT OR IGNORE INTO documents (digest, queue_id, number, at)"
_FINGERPRINTS = "INSERT OR REPLACE INTO fingerprints (fingerprint, queue_id, at)"
_TERMS = "INSERT OR IGNORE INTO terms (term, mail, plan)"


def insert_mails(db: sqlite3.Connection, mails: Iterable[tuple[Mail, Place]]) -> Sequence[int]:
    """The new mails' numbers (mails.id), in their order, each with the place of its octets."""
    (last,) = db.execute("SELECT COALESCE(MAX(id), 0) FROM mails").fetchone()
    rows = [_mail(number, mail, place) for number, (mail, place) in enumerate(mails, last + 1)]
    _insert(db, _MAILS, rows)
    return range(last + 1, last + 1 + len(rows))


def _mail(number: int, mail: Mail, place: Place) -> tuple[Any, ...]:
    return (
        number,
        mail.queue_id,
        mail.arrived,
        text(mail.message_id),
        mail.fingerprint,
        mail.hold_duplicates,
        mail.generated,
        len(mail.raw),
        mail.seal or seal(mail.raw),
        wire.dump(mail.envelope),
        wire.dump(mail.plans),
        *place,
    )


def insert_deliveries(db: sqlite3.Connection, planted: Iterable[tuple[int, float, Planted, Claim | None]]) -> None:
    """Each with its mail's number, the time of now, and its claim when it is active; and its documents."""
    deliveries, documents = [], []
    for mail, now, (each, digests), claim in planted:
        token, due = (None, each.next_attempt) if claim is None else (claim.token, claim.lease)
        deliveries.append(
            (
                *(mail, now, token, each.queue_id, each.number, each.plan, text(each.recipient), str(each.state)),
                *(each.arrived, due, each.attempts, each.unsettled, each.last_reply, each.reason, text(each.detail)),
                *(each.size, each.firm, each.dossier, each.destination, each.smarthost, kinds(each.reported)),
                *(each.generated, each.first_attempt),
            )
        )
        documents += [(digest, each.queue_id, each.number, now) for digest in digests]
    _insert(db, _DELIVERIES, deliveries)
    _insert(db, _DOCUMENTS, documents)


def insert_fingerprints(db: sqlite3.Connection, mails: Iterable[tuple[Mail, float]]) -> None:
    """Each with the time of now."""
    _insert(db, _FINGERPRINTS, [(mail.fingerprint, mail.queue_id, now) for mail, now in mails])


def insert_terms(db: sqlite3.Connection, terms: Iterable[tuple[int, str, int]]) -> None:
    """What `trace` finds a mail by: its number, the term, the index of the plan."""
    _insert(db, _TERMS, [(text(term), mail, plan) for mail, term, plan in terms])


def _insert(db: sqlite3.Connection, into: str, rows: Sequence[Row]) -> None:
    for places, bound in together(rows):
        db.execute(f"{into} VALUES {places}", bound)
