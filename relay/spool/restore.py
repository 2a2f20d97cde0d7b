"""A backup put in the place of a spool. What it would send is held: nobody knows whether it left since the backup."""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from relay.model import Event, State
from relay.reason import Reason, sentence
from relay.spool import database, place, rows
from relay.spool.backup import Progress, copy_pages, integrity, make_whole
from relay.spool.content import has_segments
from relay.spool.faults import meaning
from relay.spool.port import SpoolError
from relay.spool.segments import Segments, folder_of

_UNDELIVERED = "state NOT IN ('delivered', 'failed', 'dropped')"
_LIVE = "state IN ('queued', 'active', 'deferred') ORDER BY mail, number"


@dataclass(frozen=True, slots=True)
class Restored:
    """mails: in the spool now. held: deliveries held because they may have left since. replaced: the old spool."""

    mails: int
    held: int
    replaced: Path | None


def restore(
    source: Path, path: Path, now: float, by: str, *, force: bool = False, progress: Progress = lambda _: None
) -> Restored:
    """Put the backup `source` in the place of the spool at `path`. `by`: who did it, for the history.

    The spool that was there is moved to `replaced/` beside it, never deleted. Raises SpoolBusy while a daemon runs,
    SpoolError for a file that is no sound spool or of a newer relay, and, unless `force`, when the spool there holds
    undelivered mails.
    """
    place.make_private(path.parent)
    place.refuse_remote(path.parent)
    lock = place.Lock(path.with_name(f"{path.name}.lock"))
    part = path.with_name(f"{path.name}.part")
    try:
        _clear(part)
        mails, held = _bring(source, part, now, by, progress)
        if not force:
            _refuse_to_lose(path)
        there = path.exists() or folder_of(path).exists()
        replaced = place.set_aside(path, "replaced") if there else None
        part.rename(path)
        _give_to_owner(path)
        place.sync_folder(path.parent)
        return Restored(mails, held, replaced)
    except sqlite3.Error as error:
        raise meaning(error) from error
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


def _bring(source: Path, part: Path, now: float, by: str, progress: Progress) -> tuple[int, int]:
    """The backup as a spool of this version in `part`, its live deliveries held: (mails, held)."""
    database.create(part)
    with closing(open_sound(source)) as old, closing(sqlite3.connect(part, isolation_level=None)) as new:
        copy_pages(old, new, lambda share: progress(share / 2))
        if faults := integrity(new):
            raise SpoolError(f"{source} is damaged: {faults[0]}")
        _refuse_half(new, source)
        make_whole(old, new, Segments(source), lambda share: progress((1 + share) / 2))
    try:
        database.prepare(part)
    except database.Damaged as damage:
        raise SpoolError(f"{source} is damaged: {damage}") from damage
    with closing(database.connect(part)) as new:
        new.execute("BEGIN IMMEDIATE")
        new.execute("DELETE FROM operator_actions")  # the daemon that served then has logged them since
        held = _hold(new, _taken(new, source), now, by)
        new.execute("DROP TABLE IF EXISTS backup")
        (mails,) = new.execute("SELECT COUNT(*) FROM mails").fetchone()
        new.execute("COMMIT")
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return mails, held


def _refuse_half(new: sqlite3.Connection, source: Path) -> None:
    """A database copied by hand is one half of a spool."""
    if folder_of(source).is_dir() or not has_segments(new):
        return
    (lacking,) = new.execute("SELECT COUNT(*) FROM mails WHERE segment IS NOT NULL").fetchone()
    if lacking:
        raise SpoolError(
            f"{source} is half a spool: the octets of {lacking} mails are in {folder_of(source)}, which is not there"
        )


def _taken(db: sqlite3.Connection, source: Path) -> str:
    """When the backup was taken; of a file copied by hand, when it was last written."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'backup'").fetchone():
        (at,) = db.execute("SELECT taken FROM backup").fetchone()
    else:
        at = source.stat().st_mtime
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _hold(db: sqlite3.Connection, taken: str, now: float, by: str) -> int:
    live = rows.deliveries(db, _LIVE)
    text = sentence(Reason.RESTORED, taken)
    for each in live:
        held = replace(each, state=State.HELD, next_attempt=None, unsettled=0, reason=Reason.RESTORED, detail=taken)
        rows.update_delivery(db, held, now)
        rows.insert_events(db, each.queue_id, [Event(now, each.number, "held", text, by)])
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
