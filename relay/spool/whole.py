"""A mail whole again: its rows, its octets, and whether they are the ones that were stored."""

import sqlite3

from relay.mail.identity import is_intact
from relay.model import Mail
from relay.spool import rows
from relay.spool.content import Content
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
