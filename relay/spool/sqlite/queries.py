# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""The reading operations on one connection, a message read whole, and the purge of what ended long ago."""

import json
import sqlite3

from relay.mime.fingerprint import is_intact
from relay.model import Delivery, HistoryEntry, Message, Plan, State
from relay.spool.delivery_rules import WHOLE_MESSAGE, hold_unreadable, normalized_term
from relay.spool.port import Query, Record, RetentionWindows, SpoolBroken, SpoolDamaged, Stats
from relay.spool.sqlite import rows
from relay.spool.sqlite.database import spool_error
from relay.spool.sqlite.raw_messages import Content

_TERM = (
    "(queue_id = ? OR dossier = ? OR EXISTS (SELECT 1 FROM terms WHERE terms.mail = deliveries.mail"
    f" AND term = ? AND terms.plan IN ({WHOLE_MESSAGE}, deliveries.plan)))"
)


def find(db: sqlite3.Connection, query: Query) -> tuple[Delivery, ...]:
    """Deliveries that match all conditions of `query`, oldest arrival first."""
    conditions, values = _conditions(query)
    order = ", ".join(f"{each} DESC" if query.newest else each for each in ("arrived", "queue_id", "number"))
    found = rows.deliveries(db, f"{conditions} ORDER BY {order} LIMIT ?", *values, query.limit)
    return tuple(reversed(found) if query.newest else found)


def count(db: sqlite3.Connection, query: Query) -> int:
    """How many deliveries match all conditions of `query`."""
    conditions, values = _conditions(query)
    (found,) = db.execute(f"SELECT COUNT(*) FROM deliveries WHERE {conditions}", values).fetchone()
    return int(found)


def _conditions(query: Query) -> tuple[str, list[str | bool]]:
    """The condition of a statement, and the values bound to it."""
    conditions: list[str] = ["1"]
    values: list[str | bool] = []
    if query.states:
        conditions.append(f"state IN ({', '.join('?' * len(query.states))})")
        values += [str(state) for state in query.states]
    for column, value in (("dossier", query.dossier), ("firm", query.firm)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if query.queue_id is not None:
        conditions.append(rows.OF_MESSAGE)
        values.append(query.queue_id)
    if query.unreported is not None:
        conditions.append("' ' || reported || ' ' NOT LIKE ?")
        values.append(f"% {query.unreported} %")
    if query.reported is not None:
        conditions.append("' ' || reported || ' ' LIKE ?")
        values.append(f"% {query.reported} %")
    if query.firms is not None:
        conditions.append("firm IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(sorted(query.firms)))
    if query.other_firms is not None:
        conditions.append("firm IS NOT NULL AND firm NOT IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(sorted(query.other_firms)))
    if query.no_firm:
        conditions.append("firm IS NULL")
    if query.term is not None:
        term = normalized_term(query.term)
        conditions.append(f"mail IN ({_MESSAGES_OF_TERM}) AND {_TERM}")
        values += [term, term, term, term, term, term]
    if query.generated is not None:
        conditions.append("generated = ?")
        values.append(query.generated)
    return " AND ".join(conditions), values


_MESSAGES_OF_TERM = (
    "SELECT mail FROM terms WHERE term = ? UNION SELECT id FROM mails WHERE queue_id = ?"
    " UNION SELECT mail FROM deliveries WHERE dossier = ?"
)


def stats(db: sqlite3.Connection, octets: int, free: int | None, corrupt: int) -> Stats:
    """Figures, from the index alone."""
    by_state = {
        State(name): count for name, count in db.execute("SELECT state, COUNT(*) FROM deliveries GROUP BY state")
    }
    held = db.execute(
        "SELECT COALESCE(reason, ''), COUNT(*) FROM deliveries WHERE state IN ('held', 'withheld') GROUP BY reason"
    )
    oldest = [
        db.execute("SELECT MIN(arrived) FROM deliveries WHERE state = ?", (state,)).fetchone()[0]
        for state in ("queued", "active", "deferred")
    ]
    first = min((each for each in oldest if each is not None), default=None)
    return Stats(by_state, dict(held.fetchall()), first, octets, free, corrupt)


def arrived(
    db: sqlite3.Connection, since: float, until: float, after: int, limit: int = 500
) -> list[tuple[int, tuple[Plan, ...], list[Delivery]]]:
    """Number, plans and deliveries of up to `limit` messages of the period, from the one after number `after` on.

    Plans that cannot be read are left out: a damaged message is reported when it is attempted.
    """
    found = db.execute(
        "SELECT id, plans FROM mails WHERE id > ? AND arrived >= ? AND arrived < ? AND NOT generated"
        " ORDER BY id LIMIT ?",
        (after, since, until, limit),
    ).fetchall()
    return [(number, _plans(data), rows.deliveries(db, "mail = ?", number)) for number, data in found]


def held(db: sqlite3.Connection) -> list[tuple[str | None, str, int]]:
    """Firm, reason and number of what is held now."""
    return db.execute(
        "SELECT firm, COALESCE(reason, ''), COUNT(*) FROM deliveries WHERE state = 'held' AND NOT generated"
        " GROUP BY firm, reason"
    ).fetchall()


def _plans(data: bytes) -> tuple[Plan, ...]:
    try:
        return rows.read_plans(data)
    except ValueError:
        return ()


class Unreadable(Exception):
    """The rows or the octets of a message cannot be read back."""


def message(db: sqlite3.Connection, content: Content, queue_id: str) -> tuple[Message | None, bool]:
    """The message, None when unknown, and whether it is the one that was stored.

    Raises Unreadable, and sqlite3.DatabaseError when the disk fails.
    """
    try:
        raw = content.get(db, queue_id)
        found = rows.read_message(db, queue_id, raw)
    except (ValueError, sqlite3.DatabaseError) as error:
        known = spool_error(error)
        if isinstance(known, SpoolBroken) and not isinstance(known, SpoolDamaged):
            raise
        raise Unreadable from error
    if found is None:
        return None, True
    kept, content_digest = found
    return kept, is_intact(kept.raw, content_digest)


def record(db: sqlite3.Connection, content: Content, queue_id: str) -> Record | None:
    """What is known of a message, also when it cannot be read."""
    try:
        known, _ = message(db, content, queue_id)
    except Unreadable:
        known = rows.read_message_without_content(db, queue_id)
    if known is None:
        return None
    deliveries = rows.deliveries(db, f"{rows.OF_MESSAGE} ORDER BY number", queue_id)
    return Record(known, tuple(deliveries), rows.history(db, queue_id))


def can_be_delivered(db: sqlite3.Connection, content: Content, queue_id: str) -> bool:
    """The octets of the message are as they came, or are needed no more: what comes again may be let go."""
    ended = "state IN ('delivered', 'failed', 'dropped')"
    waits = db.execute(f"SELECT 1 FROM deliveries WHERE {rows.OF_MESSAGE} AND NOT {ended}", (queue_id,)).fetchone()
    if waits is None:
        return True
    (digest,) = db.execute("SELECT sha256 FROM mails WHERE queue_id = ?", (queue_id,)).fetchone()
    try:
        raw = content.get(db, queue_id)
    except sqlite3.DatabaseError:
        return False
    return raw is not None and is_intact(raw, digest)


def set_aside(db: sqlite3.Connection, queue_id: str, now: float) -> int:
    """Hold what is left of a message that cannot be read; how many deliveries."""
    live = rows.deliveries(db, f"{rows.OF_MESSAGE} AND state <> 'held'", queue_id)
    changed = [each for each in map(hold_unreadable, live) if each is not None]
    for each in changed:
        rows.update_delivery(db, each, now)
    rows.insert_events(
        db, queue_id, [HistoryEntry(now, each.number, "message_corrupt", each.detail) for each in changed]
    )
    return len(changed)


_OVER = """
    SELECT id, queue_id, fingerprint, segment FROM mails AS m
    WHERE arrived < MAX(:before, :withheld) AND NOT EXISTS (
        SELECT 1 FROM deliveries AS d WHERE d.mail = m.id
        AND NOT (d.state IN ('delivered', 'failed', 'dropped') AND d.changed < :before)
        AND NOT (d.state = 'withheld' AND d.changed < :withheld))
    ORDER BY arrived, id LIMIT :limit
"""
_NEVER_SENT = "('failed', 'dropped', 'withheld')"
_NEVER = -1e300
_ROUND = 10_000


def purge(
    db: sqlite3.Connection, content: Content, before: float, limit: int, withheld: float | None
) -> list[int | None]:
    """Forget up to `limit` messages; the segment of each. The pages they took are free for the next ones."""
    values = {"before": before, "withheld": _NEVER if withheld is None else withheld, "limit": limit}
    over = db.execute(_OVER, values).fetchall()
    for number, queue_id, fingerprint, _ in over:
        _forget_undone(db, number, queue_id, fingerprint)
        content.drop(db, number)
        forget(db, number)
    return [segment for *_, segment in over]


def forget(db: sqlite3.Connection, number: int) -> None:
    """Delete what is known of the message with this number, but for what outlives it and its octets."""
    for table in ("terms", "history", "deliveries"):
        db.execute(f"DELETE FROM {table} WHERE mail = ?", (number,))
    db.execute("DELETE FROM mails WHERE id = ?", (number,))


def _forget_undone(db: sqlite3.Connection, number: int, queue_id: str, fingerprint: str) -> None:
    """What was never sent must not stand in the way of the same document later; what was delivered must."""
    undone = f"SELECT number FROM deliveries WHERE mail = ? AND state IN {_NEVER_SENT}"
    db.execute(f"DELETE FROM documents WHERE queue_id = ? AND number IN ({undone})", (queue_id, number))
    lives = db.execute(f"SELECT 1 FROM deliveries WHERE mail = ? AND state NOT IN {_NEVER_SENT}", (number,)).fetchone()
    if lives is None:
        db.execute("DELETE FROM fingerprints WHERE fingerprint = ? AND queue_id = ?", (fingerprint, queue_id))


def expire(db: sqlite3.Connection, windows: RetentionWindows, now: float) -> None:
    """Forget fingerprints and digests whose window has closed, a bounded number at a time."""
    for table, key, window in (
        ("fingerprints", "fingerprint", windows.resubmission),
        ("documents", "digest", windows.documents),
    ):
        db.execute(
            f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE at <= ? LIMIT ?) AND at <= ?",
            (now - window, _ROUND, now - window),
        )


def shrink(db: sqlite3.Connection, pages: int) -> None:
    """Give up to `pages` free pages back to the file system."""
    (unused,) = db.execute("PRAGMA freelist_count").fetchone()
    for _ in range(min(pages, unused)):
        # Python steps a statement without columns once, which frees one page whatever number it names.
        db.execute("PRAGMA incremental_vacuum(1)")
