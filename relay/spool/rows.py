# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""Values to rows and back: the statements of the SQLite engine, each a function on a connection."""

import sqlite3
from collections.abc import Iterable, Sequence
from json import dumps
from typing import Any

from relay import wire
from relay.mail.identity import seal
from relay.model import Claim, Delivery, Envelope, Event, Mail, Plan, State
from relay.reason import Reason
from relay.spool.entry import Planted
from relay.spool.segments import Place

Row = Sequence[Any]

DELIVERY = (
    "queue_id, number, plan, recipient, state, arrived, due, attempts, unsettled, last_reply, reason, detail, size,"
    " firm, dossier, destination, smarthost, reported, generated, first_attempt"
)
SELECT_DELIVERY = f"SELECT {DELIVERY} FROM deliveries"
OF_MAIL = "mail = (SELECT id FROM mails WHERE queue_id = ?)"


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
        unsettled=row[8],
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


def insert_mail(db: sqlite3.Connection, mail: Mail, place: Place) -> int:
    """The new mail's number (mails.id). place: where its octets are."""
    cursor = db.execute(
        "INSERT INTO mails (queue_id, arrived, message_id, fingerprint, hold_duplicates, generated, size, sha256,"
        " envelope, plans, segment, start) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            mail.queue_id,
            mail.arrived,
            _text(mail.message_id),
            mail.fingerprint,
            mail.hold_duplicates,
            mail.generated,
            len(mail.raw),
            mail.seal or seal(mail.raw),
            wire.dump(mail.envelope),
            wire.dump(mail.plans),
            *place,
        ),
    )
    number = cursor.lastrowid
    assert number is not None
    return number


def read_mail(db: sqlite3.Connection, queue_id: str, raw: bytes | None) -> tuple[Mail, bytes] | None:
    """The mail with `raw` as its octets, and the seal they must match. ValueError when its row cannot be read."""
    row = db.execute(
        "SELECT envelope, plans, arrived, fingerprint, message_id, hold_duplicates, generated, sha256 FROM mails"
        " WHERE queue_id = ?",
        (queue_id,),
    ).fetchone()
    if row is None:
        return None
    mail = Mail(
        queue_id=queue_id,
        envelope=wire.load(Envelope, row[0]),
        raw=raw or b"",
        plans=read_plans(row[1]),
        arrived=row[2],
        fingerprint=row[3],
        message_id=row[4],
        hold_duplicates=bool(row[5]),
        generated=bool(row[6]),
    )
    return mail, row[7]


def read_plans(data: bytes) -> tuple[Plan, ...]:
    return wire.load(tuple[Plan, ...], data)


def insert_delivery(
    db: sqlite3.Connection, mail: int, planted: Planted, now: float, claim: Claim | None = None
) -> None:
    """`claim`: of an active one."""
    each = planted.delivery
    token, due = (None, each.next_attempt) if claim is None else (claim.token, claim.lease)
    db.execute(
        f"INSERT INTO deliveries (mail, changed, token, {DELIVERY})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(mail, now, token, each.queue_id, each.number, each.plan, _text(each.recipient), str(each.state)),
            *(each.arrived, due, each.attempts, each.unsettled, each.last_reply, each.reason, _text(each.detail)),
            *(each.size, each.firm, each.dossier, each.destination, each.smarthost, kinds(each.reported)),
            *(each.generated, each.first_attempt),
        ),
    )
    db.executemany(
        "INSERT OR IGNORE INTO documents (digest, queue_id, number, at) VALUES (?, ?, ?, ?)",
        [(digest, each.queue_id, each.number, now) for digest in planted.digests],
    )


def update_delivery(db: sqlite3.Connection, each: Delivery, changed: float) -> None:
    """Write what may change in a delivery's life. Whoever had claimed it has lost it."""
    db.execute(
        "UPDATE deliveries SET state = ?, due = ?, token = NULL, changed = ?, attempts = ?, unsettled = ?,"
        " last_reply = ?, reason = ?, detail = ?, reported = ?, first_attempt = ?"
        f" WHERE {OF_MAIL} AND number = ?",
        (
            *(str(each.state), each.next_attempt, changed, each.attempts),
            *(each.unsettled, _text(each.last_reply), each.reason, _text(each.detail), kinds(each.reported)),
            *(each.first_attempt, each.queue_id, each.number),
        ),
    )


def update_claimed(db: sqlite3.Connection, claims: Iterable[tuple[int, Claim]], now: float, lease: float) -> None:
    """Write what a claim makes of deliveries, each with its mail's number; their lease is until `lease`."""
    listed = [
        (mail, each.delivery.number, each.token, each.delivery.attempts, each.delivery.unsettled)
        for mail, each in claims
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
        "UPDATE deliveries SET state = ?, due = ?, token = NULL, changed = ?, unsettled = 0, last_reply = ?,"
        " reason = ?, detail = ?, reported = TRIM(reported || ' ' || ?)"
        f" WHERE {OF_MAIL} AND number = ? AND token = ? AND state = 'active'",
        (
            *(after.state, after.next_attempt, now, _text(after.last_reply), after.reason, _text(after.detail)),
            *(report, after.queue_id, after.number, token),
        ),
    )
    return cursor.rowcount > 0


def insert_terms(db: sqlite3.Connection, mail: int, terms: Iterable[tuple[str, int]]) -> None:
    """What `trace` finds a mail by, each with the index of its plan. One statement: each is a change of threads."""
    # SQLite takes NUL in JSON for the end of a text.
    listed = [f"{plan} {_text(term)}".replace("\0", "\\x00") for term, plan in terms]
    db.execute(
        "INSERT OR IGNORE INTO terms (term, mail, plan)"
        " SELECT SUBSTR(value, INSTR(value, ' ') + 1), ?, CAST(value AS INTEGER) FROM json_each(?)",
        (mail, dumps(listed)),
    )


def insert_event(db: sqlite3.Connection, mail: int, event: Event) -> None:
    """Add to the history of the mail with this number."""
    db.execute(
        "INSERT INTO history (mail, number, at, what, text, by) VALUES (?, ?, ?, ?, ?, ?)",
        (mail, event.number, event.at, event.what, _text(event.text), _text(event.by)),
    )


def insert_events(db: sqlite3.Connection, queue_id: str, events: Iterable[Event]) -> None:
    """Add to the history; nothing when the mail is unknown."""
    db.executemany(
        "INSERT INTO history (mail, number, at, what, text, by) SELECT id, ?, ?, ?, ?, ? FROM mails WHERE queue_id = ?",
        [(each.number, each.at, each.what, _text(each.text), _text(each.by), queue_id) for each in events],
    )


def history(db: sqlite3.Connection, queue_id: str) -> tuple[Event, ...]:
    rows = db.execute(f"SELECT at, number, what, text, by FROM history WHERE {OF_MAIL} ORDER BY id", (queue_id,))
    return tuple(Event(*row) for row in rows)


def kinds(reported: frozenset[str]) -> str:
    """Kinds of report as the column holds them."""
    return " ".join(sorted(reported))


def _text(value: str | None) -> str | None:
    """What a peer said may hold surrogates (undecodable octets), which SQLite's UTF-8 cannot."""
    return value if value is None else value.encode("utf-8", "backslashreplace").decode("utf-8")


def bare_mail(db: sqlite3.Connection, queue_id: str) -> Mail | None:
    """What is still known of a mail whose envelope, plans or octets cannot be read."""
    row = db.execute("SELECT arrived, fingerprint, message_id FROM mails WHERE queue_id = ?", (queue_id,)).fetchone()
    return None if row is None else Mail(queue_id, Envelope("", ()), b"", (), *row)
