"""A copy of a spool while the daemon serves: SQLite's online backup, so the copy is one commit's state, whole.

The copy is one file without a write-ahead log, the raw octets in it, mode 0600, read through before it gets its name.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from relay.spool import place, purge
from relay.spool.content import has_segments, take_in
from relay.spool.database import connect
from relay.spool.faults import meaning
from relay.spool.port import SpoolError
from relay.spool.segments import Segments

_STEP = 2048
"""Pages between two words of progress: 16 MiB."""

Progress = Callable[[float], None]
"""Told the share done, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Copied:
    """octets: of the file. mails: in it."""

    octets: int
    mails: int


def backup(path: Path, target: Path, taken: float, progress: Progress = lambda _: None) -> Copied:
    """Copy the spool at `path` to the new file `target`; durable on return. `taken`: epoch seconds, kept in the copy.

    Neither writers nor readers of the spool wait. Raises SpoolError when there is no spool, when `target` exists or
    cannot be written, or when the copy is not sound; SpoolFull when there is no room. Then nothing is left behind.
    """
    if not path.is_file():
        raise SpoolError(f"there is no spool at {path}")
    if target.exists():
        raise SpoolError(f"{target} exists: a backup overwrites nothing, name another file")
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        mails = _copy(path, part, taken, progress)
        octets = _finish(part)
        os.link(part, target)
        place.sync_folder(target.parent)
    except sqlite3.Error as error:
        raise meaning(error) from error
    except OSError as error:
        raise SpoolError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        for name in (part.name, f"{part.name}-journal"):
            with suppress(OSError):
                part.with_name(name).unlink()
    return Copied(octets, mails)


def copy_pages(source: sqlite3.Connection, new: sqlite3.Connection, progress: Progress) -> None:
    """Copy `source` as it stands now into `new`, page by page."""

    def told(_status: int, left: int, total: int) -> None:
        progress(1.0 - left / total if total else 1.0)

    # A read transaction of our own: without it each commit of the daemon would make the copy begin anew.
    source.execute("BEGIN")
    try:
        source.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        source.backup(new, pages=_STEP, progress=told, sleep=0)
    finally:
        source.execute("ROLLBACK")


def make_whole(source: sqlite3.Connection, new: sqlite3.Connection, segments: Segments, progress: Progress) -> None:
    """Bring the raw octets of `new`, a copy of the pages of `source`, into it, and leave out the mails that were
    purged from `source` meanwhile."""
    if not has_segments(new):
        return

    def known(queue_id: str) -> bool:
        return source.execute("SELECT 1 FROM mails WHERE queue_id = ?", (queue_id,)).fetchone() is not None

    new.execute("BEGIN")
    for number in take_in(new, segments, known, progress):
        purge.forget(new, number)
    new.execute("COMMIT")


def integrity(db: sqlite3.Connection) -> list[str]:
    """What SQLite finds wrong with the whole file; empty when it is sound."""
    try:
        found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(20)")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def _copy(path: Path, part: Path, taken: float, progress: Progress) -> int:
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    source, new = connect(path, query_only=True), sqlite3.connect(part, isolation_level=None)
    try:
        copy_pages(source, new, lambda share: progress(share / 2))
        new.execute("PRAGMA journal_mode = DELETE")
        new.execute("PRAGMA synchronous = OFF")  # durable by the one fsync at the end
        make_whole(source, new, Segments(path), lambda share: progress((1 + share) / 2))
        new.execute("CREATE TABLE backup (taken REAL NOT NULL)")
        new.execute("INSERT INTO backup VALUES (?)", (taken,))
        if faults := integrity(new):
            raise SpoolError(f"the spool {path} is damaged, there is no sound copy to be had: {faults[0]}")
        (mails,) = new.execute("SELECT COUNT(*) FROM mails").fetchone()
        return int(mails)
    finally:
        new.close()
        source.close()


def _finish(part: Path) -> int:
    fd = os.open(part, os.O_RDONLY)
    try:
        os.fsync(fd)
        return os.fstat(fd).st_size
    finally:
        os.close(fd)
