"""Where the raw octets are: in segments beside the database; in a backup, or since an older relay, in a table of it.

What is put goes to the segments always. What an older relay put in the table is read there until it is purged.
"""

import sqlite3
from collections.abc import Callable, Iterator

from relay.mail.identity import is_intact
from relay.spool.appender import Appender
from relay.spool.segments import Place, Segments

_WHERE = (
    "SELECT m.segment, m.start, m.size, c.raw FROM mails AS m LEFT JOIN content AS c ON c.mail = m.id"
    " WHERE m.queue_id = ?"
)
_OLDER = "SELECT NULL, NULL, m.size, c.raw FROM mails AS m LEFT JOIN content AS c ON c.mail = m.id WHERE m.queue_id = ?"


class Content:
    """Raw octets: put within a commit, got and dropped at any time."""

    def __init__(self, segments: Segments, appender: Appender) -> None:
        self._segments = segments
        self._appender = appender

    def put(self, raw: bytes) -> Place:
        """Where `raw` will be once the commit under way is made."""
        return self._appender.put(raw)

    def get(self, db: sqlite3.Connection, queue_id: str) -> bytes | None:
        """The octets as they are on disk, or None when they are gone. Raises sqlite3.DatabaseError when unreadable."""
        return get(db, self._segments, queue_id, unwritten=self._appender.unwritten)

    def drop(self, db: sqlite3.Connection, mail: int) -> None:
        """Forget what the table may hold of a mail; segments are given back by `reclaim`, after the commit."""
        db.execute("DELETE FROM content WHERE mail = ?", (mail,))


def get(
    db: sqlite3.Connection,
    segments: Segments,
    queue_id: str,
    *,
    unwritten: Callable[[Place], bytes | None] = lambda _: None,
    older: bool = False,
) -> bytes | None:
    """As `Content.get`. unwritten: octets of the commit under way. older: `has_segments` says no of the database."""
    row = db.execute(_OLDER if older else _WHERE, (queue_id,)).fetchone()
    if row is None:
        return None
    segment, start, size, raw = row
    if segment is None:
        return None if raw is None else bytes(raw)
    place = Place(segment, start)
    early = unwritten(place)
    return segments.read(place, size) if early is None else early


def next_place(db: sqlite3.Connection, segments: Segments) -> Place:
    """Where the octets of the next mail may be put: behind all that is in the last segment and all that mails name,
    even of a segment that is lost or cut off."""
    (named,) = db.execute("SELECT COALESCE(MAX(segment), 0) FROM mails WHERE segment IS NOT NULL").fetchone()
    last = max(int(named), *segments.numbers(), 0)
    length = segments.length(last)
    if length is None:
        return Place(last + 1, 0)
    (end,) = db.execute("SELECT COALESCE(MAX(start + size), 0) FROM mails WHERE segment = ?", (last,)).fetchone()
    return Place(last, max(int(end), length))


def has_segments(db: sqlite3.Connection) -> bool:
    """Whether the database, not brought up to date, is of a relay that has segments."""
    return "segment" in {row[1] for row in db.execute("PRAGMA table_info(mails)")}


def take_in(
    db: sqlite3.Connection, segments: Segments, known: Callable[[str], bool], progress: Callable[[float], None]
) -> Iterator[int]:
    """Bring the octets of all mails from `segments` into the table of `db`, a copy of their database, so that it is
    one file and whole. Those that cannot be read stay away.

    `known`: whether the copied database still has the mail of this queue id. Yields the number of each mail that was
    forgotten there, and its octets with it, since the copy was made: it is not to stay in the copy either.
    """
    places = db.execute(
        "SELECT id, queue_id, segment, start, size, sha256 FROM mails WHERE segment IS NOT NULL ORDER BY segment, start"
    ).fetchall()
    for done, (number, queue_id, segment, start, size, digest) in enumerate(places, 1):
        raw = segments.read(Place(segment, start), size)
        if (raw is None or not is_intact(raw, digest)) and not known(queue_id):
            yield number
        elif raw is not None:
            db.execute("INSERT INTO content (mail, raw) VALUES (?, ?)", (number, raw))
        progress(done / len(places))
    db.execute("UPDATE mails SET segment = NULL, start = NULL")
