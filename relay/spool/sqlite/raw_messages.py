"""Where the octets of messages are written to and read from: appended to segments in batches, past the page cache."""

import contextlib
import errno
import fcntl
import mmap
import os
import sqlite3
from collections.abc import Callable, Iterator

from relay.mime.fingerprint import is_intact
from relay.spool.port import SpoolBroken, SpoolError, SpoolFull
from relay.spool.sqlite.segments import Segments, SegmentSpan
from relay.spool.sqlite.spool_folder import sync_folder

LARGE = 32 * 1024 * 1024
"""Octets from which the next batch begins a new segment."""

BLOCK = 4096
"""What offsets and sizes of writes are multiples of; disks want 512 or 4096."""

_BUFFER = 4 * 1024 * 1024
"""Octets of one write at most."""


class Appender:
    """Puts the octets of one batch behind those of the last. For the writer's thread alone.

    place: where the first may go. owned: False in a command beside the daemon, which may put nothing. Raises
    SpoolBroken. settled: what lies before it is committed, or given up for good; any thread may read it.
    """

    def __init__(self, segments: Segments, place: SegmentSpan, *, owned: bool) -> None:
        self._segments = segments
        self._owned = owned
        self._fd: int | None = None
        self._number, self._end = place.segment, _blocks(place.start)
        self._batch: dict[SegmentSpan, bytes] = {}
        self._batched = 0
        self.settled = place
        if owned:
            self._buffer = memoryview(mmap.mmap(-1, _BUFFER))
            with contextlib.suppress(SpoolFull):  # then the first batch makes it, or is refused
                self._fd = self._create(self._number)

    def begin(self) -> None:
        """A new batch; what the last one left unwritten is forgotten. Raises SpoolBroken."""
        self._batch, self._batched = {}, 0
        if self._end >= LARGE:
            # While no file can be made (no inodes are left), the one there is becomes longer.
            with contextlib.suppress(SpoolFull):
                self._begin_segment()
        self.settled = SegmentSpan(self._number, self._end)

    def put(self, raw: bytes) -> SegmentSpan:
        """Where `raw` will be once `sync` has returned."""
        if not self._owned:
            raise SpoolError("only the daemon stores messages")
        place = SegmentSpan(self._number, self._end + self._batched)
        self._batch[place] = raw
        self._batched += len(raw)
        return place

    def sync(self) -> None:
        """Write the batch; durable on return. Raises SpoolFull (the rest is written over), SpoolBroken."""
        if not self._batch:
            return
        if self._fd is None:
            self._fd = self._create(self._number)
        end = self._write(self._fd)
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise _broken(error) from error
        self._end = end
        self._batch, self._batched = {}, 0

    def unwritten(self, place: SegmentSpan) -> bytes | None:
        """What will be at `place` when the batch under way is written."""
        return self._batch.get(place)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None

    def _begin_segment(self) -> None:
        fd = self._create(self._number + 1)
        self.close()
        self._fd, self._end, self._number = fd, 0, self._number + 1

    def _create(self, number: int) -> int:
        """The segment, its name durable."""
        try:
            fd = _open(os.fspath(self._segments.file(number)))
        except OSError as error:
            raise _full(error) from error
        try:
            sync_folder(self._segments.folder)
        except OSError as error:
            os.close(fd)
            raise _broken(error) from error
        return fd

    def _write(self, fd: int) -> int:
        """All of the batch behind what is there; where the next may begin."""
        offset, filled = self._end, 0
        for raw in self._batch.values():
            done = 0
            while done < len(raw):
                piece = min(len(raw) - done, _BUFFER - filled)
                self._buffer[filled : filled + piece] = memoryview(raw)[done : done + piece]
                done, filled = done + piece, filled + piece
                if filled == _BUFFER:
                    self._put_out(fd, filled, offset)
                    offset, filled = offset + filled, 0
        size = _blocks(filled)
        if filled:
            self._buffer[filled:size] = bytes(size - filled)
            self._put_out(fd, size, offset)
        return offset + size

    def _put_out(self, fd: int, size: int, offset: int) -> None:
        try:
            written = _pwrite(fd, self._buffer[:size], offset)
        except OSError as error:
            raise _full(error) from error
        if written < size:
            raise SpoolFull(f"the spool cannot be written now: {written} of {size} octets were")


def _blocks(octets: int) -> int:
    """`octets` up to the next whole block."""
    return -(-octets // BLOCK) * BLOCK


def _open(file: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(file, flags | os.O_DIRECT, 0o600)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return os.open(file, flags, 0o600)  # a file system that has the page cache only


def _pwrite(fd: int, buffer: memoryview, offset: int) -> int:
    try:
        return os.pwrite(fd, buffer, offset)
    except OSError as error:
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
            raise
        # Larger blocks than ours, or a limit of the file's size in the midst of one: then as other files are written.
        fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        return os.pwrite(fd, buffer, offset)


def _full(error: OSError) -> SpoolFull:
    return SpoolFull(f"the spool cannot be written now: {error.strerror or error}")


def _broken(error: OSError) -> SpoolBroken:
    return SpoolBroken(f"the disk under the spool failed: {error.strerror or error}")


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

    def put(self, raw: bytes) -> SegmentSpan:
        """Where `raw` will be once the commit under way is made."""
        return self._appender.put(raw)

    def get(self, db: sqlite3.Connection, queue_id: str) -> bytes | None:
        """The octets as they are on disk, or None when they are gone. Raises sqlite3.DatabaseError when unreadable."""
        return get(db, self._segments, queue_id, unwritten=self._appender.unwritten)

    def drop(self, db: sqlite3.Connection, message: int) -> None:
        """Forget what the table may hold of a message; segments are given back by `reclaim`, after the commit."""
        db.execute("DELETE FROM content WHERE mail = ?", (message,))


def get(
    db: sqlite3.Connection,
    segments: Segments,
    queue_id: str,
    *,
    unwritten: Callable[[SegmentSpan], bytes | None] = lambda _: None,
    older: bool = False,
) -> bytes | None:
    """As `Content.get`. unwritten: octets of the commit under way. older: `has_segments` says no of the database."""
    row = db.execute(_OLDER if older else _WHERE, (queue_id,)).fetchone()
    if row is None:
        return None
    segment, start, size, raw = row
    if segment is None:
        return None if raw is None else bytes(raw)
    place = SegmentSpan(segment, start)
    early = unwritten(place)
    return segments.read(place, size) if early is None else early


def next_place(db: sqlite3.Connection, segments: Segments) -> SegmentSpan:
    """Where the octets of the next message may be put: behind all that is in the last segment and all that messages
    name, even of a segment that is lost or cut off."""
    (named,) = db.execute("SELECT COALESCE(MAX(segment), 0) FROM mails WHERE segment IS NOT NULL").fetchone()
    last = max(int(named), *segments.numbers(), 0)
    length = segments.length(last)
    if length is None:
        return SegmentSpan(last + 1, 0)
    (end,) = db.execute("SELECT COALESCE(MAX(start + size), 0) FROM mails WHERE segment = ?", (last,)).fetchone()
    return SegmentSpan(last, max(int(end), length))


def has_segments(db: sqlite3.Connection) -> bool:
    """Whether the database, not brought up to date, is of a relay that has segments."""
    return "segment" in {row[1] for row in db.execute("PRAGMA table_info(mails)")}


def copy_octets_in(
    db: sqlite3.Connection, segments: Segments, known: Callable[[str], bool], progress: Callable[[float], None]
) -> Iterator[int]:
    """Bring the octets of all messages from `segments` into the table of `db`, a copy of their database, so that it is
    one file and whole. Those that cannot be read stay away.

    `known`: whether the copied database still has the message of this queue id. Yields the number of each message
    that was forgotten there, and its octets with it, since the copy was made: it is not to stay in the copy either.
    """
    places = db.execute(
        "SELECT id, queue_id, segment, start, size, sha256 FROM mails WHERE segment IS NOT NULL ORDER BY segment, start"
    ).fetchall()
    for done, (number, queue_id, segment, start, size, digest) in enumerate(places, 1):
        raw = segments.read(SegmentSpan(segment, start), size)
        if (raw is None or not is_intact(raw, digest)) and not known(queue_id):
            yield number
        elif raw is not None:
            db.execute("INSERT INTO content (mail, raw) VALUES (?, ?)", (number, raw))
        progress(done / len(places))
    db.execute("UPDATE mails SET segment = NULL, start = NULL")
