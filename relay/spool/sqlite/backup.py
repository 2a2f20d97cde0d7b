"""A copy of a spool while the daemon serves, and a backup put in the place of a spool."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from relay.model import HistoryEntry, State
from relay.reasons import Reason, reason_text
from relay.spool.port import SpoolError
from relay.spool.sqlite import database, queries, rows, spool_folder
from relay.spool.sqlite.database import connect, spool_error
from relay.spool.sqlite.raw_messages import copy_octets_in, has_segments
from relay.spool.sqlite.segments import Segments, folder_of

_STEP = 2048
"""Pages between two words of progress: 16 MiB."""

Progress = Callable[[float], None]
"""Called with the share done, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class BackupResult:
    """octets: of the file. messages: in it."""

    octets: int
    messages: int


def backup(path: Path, target: Path, taken_at: float, progress: Progress = lambda _: None) -> BackupResult:
    """Copy the spool at `path` to the new file `target`; durable on return. `taken_at` (epoch seconds) is kept in it.

    Neither writers nor readers of the spool wait. Raises SpoolError when there is no spool, when `target` exists or
    cannot be written, or when the copy is not sound; SpoolFull when there is no room. Then nothing is left behind.
    """
    if not path.is_file():
        raise SpoolError(f"there is no spool at {path}")
    if target.exists():
        raise SpoolError(f"{target} exists: a backup overwrites nothing, name another file")
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        messages = _copy(path, part, taken_at, progress)
        octets = _finish(part)
        os.link(part, target)
        spool_folder.sync_folder(target.parent)
    except sqlite3.Error as error:
        raise spool_error(error) from error
    except OSError as error:
        raise SpoolError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        for name in (part.name, f"{part.name}-journal"):
            with suppress(OSError):
                part.with_name(name).unlink()
    return BackupResult(octets, messages)


def copy_pages(source: sqlite3.Connection, new: sqlite3.Connection, progress: Progress) -> None:
    """Copy `source` as it stands now into `new`, page by page."""

    def describe_os_error(_status: int, left: int, total: int) -> None:
        progress(1.0 - left / total if total else 1.0)

    # A read transaction of our own: without it each commit of the daemon would make the copy begin anew.
    source.execute("BEGIN")
    try:
        source.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        source.backup(new, pages=_STEP, progress=describe_os_error, sleep=0)
    finally:
        source.execute("ROLLBACK")


def complete_copy(source: sqlite3.Connection, new: sqlite3.Connection, segments: Segments, progress: Progress) -> None:
    """Bring the raw octets of `new`, a copy of the pages of `source`, into it, and leave out the messages that were
    purged from `source` meanwhile."""
    if not has_segments(new):
        return

    def known(queue_id: str) -> bool:
        return source.execute("SELECT 1 FROM mails WHERE queue_id = ?", (queue_id,)).fetchone() is not None

    new.execute("BEGIN")
    for number in copy_octets_in(new, segments, known, progress):
        queries.forget(new, number)
    new.execute("COMMIT")


def integrity(db: sqlite3.Connection) -> list[str]:
    """What SQLite finds wrong with the whole file; empty when it is sound."""
    try:
        found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(20)")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def _copy(path: Path, part: Path, taken_at: float, progress: Progress) -> int:
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    source, new = connect(path, query_only=True), sqlite3.connect(part, isolation_level=None)
    try:
        copy_pages(source, new, lambda share: progress(share / 2))
        new.execute("PRAGMA journal_mode = DELETE")
        new.execute("PRAGMA synchronous = OFF")  # durable by the one fsync at the end
        complete_copy(source, new, Segments(path), lambda share: progress((1 + share) / 2))
        new.execute("CREATE TABLE backup (taken REAL NOT NULL)")
        new.execute("INSERT INTO backup VALUES (?)", (taken_at,))
        if faults := integrity(new):
            raise SpoolError(f"the spool {path} is damaged, there is no sound copy to be had: {faults[0]}")
        (messages,) = new.execute("SELECT COUNT(*) FROM mails").fetchone()
        return int(messages)
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


_UNDELIVERED = "state NOT IN ('delivered', 'failed', 'dropped')"
_LIVE = "state IN ('queued', 'active', 'deferred') ORDER BY mail, number"


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """messages: in the spool now. held: deliveries held because they may have left since. replaced: the old spool."""

    messages: int
    held: int
    replaced: Path | None


def restore(
    source: Path, path: Path, now: float, by: str, *, force: bool = False, progress: Progress = lambda _: None
) -> RestoreResult:
    """Put the backup `source` in the place of the spool at `path`. `by`: who did it, for the history.

    The spool that was there is moved to `replaced/` beside it, never deleted. Raises SpoolBusy while a daemon runs,
    SpoolError for a file that is no sound spool or of a newer relay, and, unless `force`, when the spool there holds
    undelivered messages.
    """
    spool_folder.make_private(path.parent)
    spool_folder.refuse_remote(path.parent)
    lock = spool_folder.Lock(path.with_name(f"{path.name}.lock"))
    part = path.with_name(f"{path.name}.part")
    try:
        _clear(part)
        messages, held = _import(source, part, now, by, progress)
        if not force:
            _refuse_to_lose(path)
        there = path.exists() or folder_of(path).exists()
        replaced = spool_folder.set_aside(path, "replaced") if there else None
        part.rename(path)
        _give_to_owner(path)
        spool_folder.sync_folder(path.parent)
        return RestoreResult(messages, held, replaced)
    except sqlite3.Error as error:
        raise spool_error(error) from error
    except OSError as error:
        raise SpoolError(f"the spool {path} cannot be restored: {error.strerror or error}") from error
    finally:
        _clear(part)
        lock.release()


def open_sound(source: Path) -> sqlite3.Connection:
    """A read-only connection to a spool file that is of this kind and of a version we know. Raises SpoolError."""
    if not source.is_file():
        raise SpoolError(f"there is no file {source}")
    db = sqlite3.connect(f"file:{quote(str(source.absolute()))}?mode=ro", uri=True, isolation_level=None)
    try:
        _refuse_foreign(db, source)
    except BaseException:
        db.close()
        raise
    return db


def _refuse_foreign(db: sqlite3.Connection, source: Path) -> None:
    try:
        (kind,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise SpoolError(f"{source} cannot be read as a spool: {error}") from error
    if kind != database.APPLICATION_ID:
        raise SpoolError(f"{source} is no spool of agiris-relay")
    newest = max(number for number, _ in database.migrations())
    if version > newest:
        raise SpoolError(
            f"{source} was written by a newer agiris-relay (schema {version}, this one knows {newest}):"
            " install that version first"
        )


def _import(source: Path, part: Path, now: float, by: str, progress: Progress) -> tuple[int, int]:
    """The backup as a spool of this version in `part`, its live deliveries held: (messages, held)."""
    database.create(part)
    with closing(open_sound(source)) as old, closing(sqlite3.connect(part, isolation_level=None)) as new:
        copy_pages(old, new, lambda share: progress(share / 2))
        if faults := integrity(new):
            raise SpoolError(f"{source} is damaged: {faults[0]}")
        _refuse_half(new, source)
        complete_copy(old, new, Segments(source), lambda share: progress((1 + share) / 2))
    try:
        database.prepare(part)
    except database.Damaged as damage:
        raise SpoolError(f"{source} is damaged: {damage}") from damage
    with closing(database.connect(part)) as new:
        new.execute("BEGIN IMMEDIATE")
        new.execute("DELETE FROM operator_actions")  # the daemon that served then has logged them since
        held = _hold(new, _taken(new, source), now, by)
        new.execute("DROP TABLE IF EXISTS backup")
        (messages,) = new.execute("SELECT COUNT(*) FROM mails").fetchone()
        new.execute("COMMIT")
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return messages, held


def _refuse_half(new: sqlite3.Connection, source: Path) -> None:
    """A database copied by hand is one half of a spool."""
    if folder_of(source).is_dir() or not has_segments(new):
        return
    (lacking,) = new.execute("SELECT COUNT(*) FROM mails WHERE segment IS NOT NULL").fetchone()
    if lacking:
        raise SpoolError(
            f"{source} is half a spool: the octets of {lacking} messages are in {folder_of(source)}, which is not there"
        )


def _taken(db: sqlite3.Connection, source: Path) -> str:
    """When the backup was taken; of a file copied by hand, when it was last written."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'backup'").fetchone():
        (at,) = db.execute("SELECT taken FROM backup").fetchone()
    else:
        at = source.stat().st_mtime
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _hold(db: sqlite3.Connection, taken_at: str, now: float, by: str) -> int:
    live = rows.deliveries(db, _LIVE)
    text = reason_text(Reason.RESTORED, taken_at)
    for each in live:
        held = replace(
            each,
            state=State.HELD,
            next_attempt=None,
            unconfirmed_attempts=0,
            reason=Reason.RESTORED,
            detail=taken_at,
        )
        rows.update_delivery(db, held, now)
        rows.insert_events(db, each.queue_id, [HistoryEntry(now, each.number, "held", text, by)])
    return len(live)


def _refuse_to_lose(path: Path) -> None:
    if not path.exists():
        return
    try:
        with closing(database.connect(path, query_only=True)) as db:
            (left,) = db.execute(f"SELECT COUNT(*) FROM deliveries WHERE {_UNDELIVERED}").fetchone()  # noqa: S608
    except sqlite3.Error as error:
        raise SpoolError(f"the spool {path} cannot be read ({error}): --force sets it aside all the same") from error
    if left:
        raise SpoolError(
            f"the spool {path} holds {left} deliveries that are not delivered: --force sets them aside with it"
        )


def _give_to_owner(path: Path) -> None:
    """Restored by root, the spool is still the daemon's: files of another owner it could not open."""
    if os.geteuid() != 0:
        return
    owner = path.parent.stat()
    for each in (path, path.with_name(f"{path.name}.lock")):
        os.chown(each, owner.st_uid, owner.st_gid)


def _clear(part: Path) -> None:
    for name in (part.name, f"{part.name}-wal", f"{part.name}-shm", f"{part.name}-journal"):
        part.with_name(name).unlink(missing_ok=True)
