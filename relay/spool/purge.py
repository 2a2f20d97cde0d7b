# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""Forgetting: mails that ended long ago, with their history, and what the windows no longer need."""

import sqlite3

from relay.spool.content import Content
from relay.spool.port import Windows

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
    """Forget up to `limit` mails; the segment of each. The pages they took are free for the next ones."""
    values = {"before": before, "withheld": _NEVER if withheld is None else withheld, "limit": limit}
    over = db.execute(_OVER, values).fetchall()
    for number, queue_id, fingerprint, _ in over:
        _forget_undone(db, number, queue_id, fingerprint)
        content.drop(db, number)
        forget(db, number)
    return [segment for *_, segment in over]


def forget(db: sqlite3.Connection, number: int) -> None:
    """Delete what is known of the mail with this number, but for what outlives it and its octets."""
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


def expire(db: sqlite3.Connection, windows: Windows, now: float) -> None:
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
