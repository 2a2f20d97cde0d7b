"""Where the raw octets are. One small class, so that segments or files may take its place behind the same engine."""

import sqlite3


class BlobContent:
    """Raw octets as a blob in a table of their own, committed together with what is known about them."""

    def put(self, db: sqlite3.Connection, mail: int, raw: bytes) -> None:
        db.execute("INSERT INTO content (mail, raw) VALUES (?, ?)", (mail, raw))

    def get(self, db: sqlite3.Connection, queue_id: str) -> bytes | None:
        """The octets as they are on disk, or None when they are gone. Raises sqlite3.DatabaseError when unreadable."""
        row = db.execute(
            "SELECT raw FROM content WHERE mail = (SELECT id FROM mails WHERE queue_id = ?)", (queue_id,)
        ).fetchone()
        return None if row is None else row[0]

    def drop(self, db: sqlite3.Connection, mail: int) -> None:
        db.execute("DELETE FROM content WHERE mail = ?", (mail,))
