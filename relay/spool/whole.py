# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""A mail whole again: its rows, its octets, whether they are the ones that were stored, and what happens if not."""

import sqlite3

from relay.mail.identity import is_intact
from relay.model import Event, Mail
from relay.spool import rows
from relay.spool.content import Content
from relay.spool.entry import set_aside as held
from relay.spool.faults import meaning
from relay.spool.port import Record, SpoolBroken, SpoolDamaged


class Unreadable(Exception):
    """The rows or the octets of a mail cannot be read back."""


def mail(db: sqlite3.Connection, content: Content, queue_id: str) -> tuple[Mail | None, bool]:
    """The mail, None when unknown, and whether it is the one that was stored.

    Raises Unreadable, and sqlite3.DatabaseError when the disk fails.
    """
    try:
        raw = content.get(db, queue_id)
        found = rows.read_mail(db, queue_id, raw)
    except (ValueError, sqlite3.DatabaseError) as error:
        known = meaning(error)
        if isinstance(known, SpoolBroken) and not isinstance(known, SpoolDamaged):
            raise
        raise Unreadable from error
    if found is None:
        return None, True
    kept, seal = found
    return kept, is_intact(kept.raw, seal)


def record(db: sqlite3.Connection, content: Content, queue_id: str) -> Record | None:
    """What is known of a mail, also when it cannot be read."""
    try:
        known, _ = mail(db, content, queue_id)
    except Unreadable:
        known = rows.bare_mail(db, queue_id)
    if known is None:
        return None
    deliveries = rows.deliveries(db, f"{rows.OF_MAIL} ORDER BY number", queue_id)
    return Record(known, tuple(deliveries), rows.history(db, queue_id))


def can_be_delivered(db: sqlite3.Connection, content: Content, queue_id: str) -> bool:
    """The octets of the mail are as they came, or are needed no more: what comes again may be let go."""
    ended = "state IN ('delivered', 'failed', 'dropped')"
    waits = db.execute(f"SELECT 1 FROM deliveries WHERE {rows.OF_MAIL} AND NOT {ended}", (queue_id,)).fetchone()
    if waits is None:
        return True
    (digest,) = db.execute("SELECT sha256 FROM mails WHERE queue_id = ?", (queue_id,)).fetchone()
    try:
        raw = content.get(db, queue_id)
    except sqlite3.DatabaseError:
        return False
    return raw is not None and is_intact(raw, digest)


def set_aside(db: sqlite3.Connection, queue_id: str, now: float) -> int:
    """Hold what is left of a mail that cannot be read; how many deliveries."""
    live = rows.deliveries(db, f"{rows.OF_MAIL} AND state <> 'held'", queue_id)
    changed = [each for each in map(held, live) if each is not None]
    for each in changed:
        rows.update_delivery(db, each, now)
    rows.insert_events(db, queue_id, [Event(now, each.number, "mail_corrupt", each.detail) for each in changed])
    return len(changed)
