# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""Values to rows and back: the statements of the SQLite engine."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from json import dumps
from typing import Any

from relay import serialization
from relay.mime.fingerprint import content_digest
from relay.model import Claim, Delivery, Envelope, HistoryEntry, Message, Plan, State
from relay.reasons import Reason
from relay.spool.delivery_rules import NewDelivery
from relay.spool.port import RecordedAction
from relay.spool.sqlite.segments import SegmentSpan

Row = Sequence[Any]

DELIVERY = (
    "queue_id, number, plan, recipient, state, arrived, due, attempts, unsettled, last_reply, reason, detail, size,"
    " firm, dossier, destination, smarthost, reported, generated, first_attempt"
)
SELECT_DELIVERY = f"SELECT {DELIVERY} FROM deliveries"
OF_MESSAGE = "mail = (SELECT id FROM mails WHERE queue_id = ?)"


def delivery(row: Row) -> Delivery:
    """A row of SELECT_DELIVERY. Of an active one `due` is the end of the lease, not a next attempt."""
    state = State(row[4])
    return Delivery(
        queue_id=row[0],
        number=row[1],
        plan=row[2],
        recipient=row[3],
        state=state,
        arrived=row[5],
        next_attempt=None if state is State.ACTIVE else row[6],
        attempts=row[7],
        unconfirmed_attempts=row[8],
        last_reply=row[9],
        reason=None if row[10] is None else Reason(row[10]),
        detail=row[11],
        size=row[12],
        firm=row[13],
        dossier=row[14],
        destination=row[15],
        smarthost=row[16],
        reported=frozenset(row[17].split()),
        generated=bool(row[18]),
        first_attempt=row[19],
    )


def deliveries(db: sqlite3.Connection, where: str, *values: Any) -> list[Delivery]:
    """Deliveries by a condition of ours, in the order it asks for."""
    return [delivery(row) for row in db.execute(f"{SELECT_DELIVERY} WHERE {where}", values)]


def read_message(db: sqlite3.Connection, queue_id: str, raw: bytes | None) -> tuple[Message, bytes] | None:
    """The message with `raw` as its octets, and the digest they must match. ValueError when its row cannot be read."""
    row = db.execute(
        "SELECT envelope, plans, arrived, fingerprint, message_id, hold_duplicates, generated, sha256 FROM mails"
        " WHERE queue_id = ?",
        (queue_id,),
    ).fetchone()
    if row is None:
        return None
    message = Message(
        queue_id=queue_id,
        envelope=serialization.load(Envelope, row[0]),
        raw=raw or b"",
        plans=read_plans(row[1]),
        arrived=row[2],
        fingerprint=row[3],
        message_id=row[4],
        hold_duplicates=bool(row[5]),
        generated=bool(row[6]),
    )
    return message, row[7]


def read_plans(data: bytes) -> tuple[Plan, ...]:
    return serialization.load(tuple[Plan, ...], data)


def update_delivery(db: sqlite3.Connection, each: Delivery, changed: float) -> None:
    """Write what may change in a delivery's life. Whoever had claimed it has lost it."""
    db.execute(
        "UPDATE deliveries SET state = ?, due = ?, token = NULL, changed = ?, attempts = ?, unsettled = ?,"
        " last_reply = ?, reason = ?, detail = ?, reported = ?, first_attempt = ?"
        f" WHERE {OF_MESSAGE} AND number = ?",
        (
            *(str(each.state), each.next_attempt, changed, each.attempts),
            *(each.unconfirmed_attempts, text(each.last_reply), each.reason, text(each.detail), kinds(each.reported)),
            *(each.first_attempt, each.queue_id, each.number),
        ),
    )


def update_claimed(db: sqlite3.Connection, claims: Iterable[tuple[int, Claim]], now: float, lease: float) -> None:
    """Write what a claim makes of deliveries, each with its message's number; their lease is until `lease`."""
    listed = [
        (message, each.delivery.number, each.token, each.delivery.attempts, each.delivery.unconfirmed_attempts)
        for message, each in claims
    ]
    db.execute(
        "UPDATE deliveries SET state = 'active', due = ?, token = json_extract(value, '$[2]'), changed = ?,"
        " attempts = json_extract(value, '$[3]'), unsettled = json_extract(value, '$[4]'),"
        " first_attempt = COALESCE(first_attempt, ?) FROM json_each(?)"
        " WHERE mail = json_extract(value, '$[0]') AND number = json_extract(value, '$[1]')",
        (lease, now, now, dumps(listed)),
    )


def update_settled(db: sqlite3.Connection, token: str, after: Delivery, report: str, now: float) -> bool:
    """Write how the attempt with this token ended; False, and nothing is written, when it no longer holds.

    report: kind of report sent now, or "". What was reported meanwhile stays.
    """
    cursor = db.execute(
        "UPDATE deliveries SET state = ?, due = ?, token = NULL, changed = ?, unsettled = 0, attempts = ?,"
        " last_reply = ?, reason = ?, detail = ?, reported = TRIM(reported || ' ' || ?)"
        f" WHERE {OF_MESSAGE} AND number = ? AND token = ? AND state = 'active'",
        (
            *(str(after.state), after.next_attempt, now, after.attempts),
            *(text(after.last_reply), after.reason, text(after.detail)),
            *(report, after.queue_id, after.number, token),
        ),
    )
    return cursor.rowcount > 0


ROWS_PER_STATEMENT = 16
"""Rows that one statement takes at most: each number of them makes another one, which the connection keeps."""


def batches(rows: Sequence[Row]) -> Iterator[tuple[str, Row]]:
    """Rows of the same width, many for one statement, which is a change of threads: its places, and what is bound."""
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        some = rows[start : start + ROWS_PER_STATEMENT]
        yield _places(len(some[0]), len(some)), tuple(chain.from_iterable(some))


@cache
def _places(width: int, count: int) -> str:
    return ", ".join([f"({', '.join('?' * width)})"] * count)


def insert_events(db: sqlite3.Connection, queue_id: str, events: Iterable[HistoryEntry]) -> None:
    """Add to the history; nothing when the message is unknown."""
    insert_history(db, [(queue_id, each) for each in events])


def insert_history(db: sqlite3.Connection, events: Sequence[tuple[str, HistoryEntry]]) -> None:
    """Add to the history of messages, each with its queue id; nothing to that of one that is unknown.

    What an operator did is kept for the daemon's log as well.
    """
    listed = [(each.number, each.at, each.what, text(each.text), text(each.by), queue_id) for queue_id, each in events]
    for places, bound in batches(listed):
        db.execute(f"{_HISTORY} (VALUES {places}) CROSS JOIN mails ON queue_id = column6", bound)
    for row in listed:
        if row[4]:
            db.execute(_OPERATOR_ACTION, row)


_HISTORY = (
    "INSERT INTO history (mail, number, at, what, text, by) SELECT id, column1, column2, column3, column4, column5 FROM"
)


_OPERATOR_ACTION = (
    "INSERT INTO operator_actions (number, at, what, text, by, queue_id) SELECT ?1, ?2, ?3, ?4, ?5, queue_id"
    " FROM mails WHERE queue_id = ?6"
)


def operator_actions(db: sqlite3.Connection, limit: int) -> tuple[RecordedAction, ...]:
    rows = db.execute(
        "SELECT id, queue_id, at, number, what, text, by FROM operator_actions ORDER BY id LIMIT ?", (limit,)
    )
    return tuple(RecordedAction(number, queue_id, HistoryEntry(*event)) for number, queue_id, *event in rows)


def delete_operator_actions(db: sqlite3.Connection, ids: Iterable[int]) -> None:
    db.executemany("DELETE FROM operator_actions WHERE id = ?", [(each,) for each in ids])


def history(db: sqlite3.Connection, queue_id: str) -> tuple[HistoryEntry, ...]:
    rows = db.execute(f"SELECT at, number, what, text, by FROM history WHERE {OF_MESSAGE} ORDER BY id", (queue_id,))
    return tuple(HistoryEntry(*row) for row in rows)


def kinds(reported: frozenset[str]) -> str:
    """Kinds of report as the column holds them."""
    return " ".join(sorted(reported))


def text(value: str | None) -> str | None:
    """What a peer said may hold surrogates (undecodable octets), which SQLite's UTF-8 cannot."""
    return value if value is None or value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")


def read_message_without_content(db: sqlite3.Connection, queue_id: str) -> Message | None:
    """What is still known of a message whose envelope, plans or octets cannot be read."""
    row = db.execute("SELECT arrived, fingerprint, message_id FROM mails WHERE queue_id = ?", (queue_id,)).fetchone()
    return None if row is None else Message(queue_id, Envelope("", ()), b"", (), *row)


_MESSAGES = (
    "INSERT INTO mails (id, queue_id, arrived, message_id, fingerprint, hold_duplicates, generated, size, sha256,"
    " envelope, plans, segment, start)"
)
_DELIVERIES = f"INSERT INTO deliveries (mail, changed, token, {DELIVERY})"
_DOCUMENTS = "INSERT OR IGNORE INTO documents (digest, queue_id, number, at)"
_FINGERPRINTS = "INSERT OR REPLACE INTO fingerprints (fingerprint, queue_id, at)"
_TERMS = "INSERT OR IGNORE INTO terms (term, mail, plan)"


def insert_messages(db: sqlite3.Connection, messages: Iterable[tuple[Message, SegmentSpan]]) -> Sequence[int]:
    """The new messages' numbers (messages.id), in their order, each with the place of its octets."""
    (last,) = db.execute("SELECT COALESCE(MAX(id), 0) FROM mails").fetchone()
    rows = [_message_row(number, message, place) for number, (message, place) in enumerate(messages, last + 1)]
    _insert(db, _MESSAGES, rows)
    return range(last + 1, last + 1 + len(rows))


def _message_row(number: int, message: Message, place: SegmentSpan) -> tuple[Any, ...]:
    return (
        number,
        message.queue_id,
        message.arrived,
        text(message.message_id),
        message.fingerprint,
        message.hold_duplicates,
        message.generated,
        len(message.raw),
        message.content_digest or content_digest(message.raw),
        serialization.dump(message.envelope),
        message.plans_json or serialization.dump(message.plans),
        *place,
    )


def insert_deliveries(db: sqlite3.Connection, new: Iterable[tuple[int, float, NewDelivery, Claim | None]]) -> None:
    """Each with its message's number, the time of now, and its claim when it is active; and its documents."""
    deliveries, documents = [], []
    for message, now, (each, digests), claim in new:
        token, due = (None, each.next_attempt) if claim is None else (claim.token, claim.lease)
        deliveries.append(
            (
                *(message, now, token, each.queue_id, each.number, each.plan, text(each.recipient), str(each.state)),
                *(
                    each.arrived,
                    due,
                    each.attempts,
                    each.unconfirmed_attempts,
                    each.last_reply,
                    each.reason,
                    text(each.detail),
                ),
                *(each.size, each.firm, each.dossier, each.destination, each.smarthost, kinds(each.reported)),
                *(each.generated, each.first_attempt),
            )
        )
        documents += [(digest, each.queue_id, each.number, now) for digest in digests]
    _insert(db, _DELIVERIES, deliveries)
    _insert(db, _DOCUMENTS, documents)


def insert_fingerprints(db: sqlite3.Connection, messages: Iterable[tuple[Message, float]]) -> None:
    """Each with the time of now."""
    _insert(db, _FINGERPRINTS, [(message.fingerprint, message.queue_id, now) for message, now in messages])


def insert_terms(db: sqlite3.Connection, terms: Iterable[tuple[int, str, int]]) -> None:
    """What `trace` finds a message by: its number, the term, the index of the plan."""
    _insert(db, _TERMS, [(text(term), message, plan) for message, term, plan in terms])


def _insert(db: sqlite3.Connection, into: str, rows: Sequence[Row]) -> None:
    for places, bound in batches(rows):
        db.execute(f"{into} VALUES {places}", bound)
