"""Opening an SQLite spool: lock, migration, what an earlier daemon left claimed, and setting a damaged file aside."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from relay.spool.port import RetentionWindows, SpoolBusy, SpoolError
from relay.spool.sqlite import database, spool_folder
from relay.spool.sqlite.disk_space import make_room_to_open
from relay.spool.sqlite.engine import SqliteSpool
from relay.spool.sqlite.integrity import SalvageResult, salvage
from relay.spool.sqlite.segments import Segments, folder_of
from relay.spool.sqlite.spool_folder import describe_os_error


def open_sqlite(
    path: Path, exclusive: bool, *, clock: Callable[[], float], windows: RetentionWindows, ceiling: float
) -> SqliteSpool:
    """As `relay.spool.open.open_spool`, of the database at `path`."""
    try:
        if not exclusive and not path.is_file():
            raise SpoolError(f"there is no spool at {path}: the daemon makes it at its first start")
        spool_folder.refuse_unusable(path)
        return _open(path, exclusive, clock, windows, ceiling)
    except OSError as error:
        raise SpoolError(f"the spool {path} cannot be opened: {describe_os_error(error)}") from error
    except sqlite3.Error as error:
        raise SpoolError(f"the spool {path} cannot be opened: {error}") from error


def _open(
    path: Path, exclusive: bool, clock: Callable[[], float], windows: RetentionWindows, ceiling: float
) -> SqliteSpool:
    if not exclusive:
        _prepare_shared(path)
        return SqliteSpool(path, lock=None, clock=clock, windows=windows, ceiling=ceiling)
    spool_folder.make_private(path.parent)
    spool_folder.refuse_remote(path.parent)
    lock = spool_folder.Lock(_lock_file(path))
    try:
        make_room_to_open(path)
        notices = _prepare_own(path)
        return SqliteSpool(path, lock=lock, clock=clock, windows=windows, ceiling=ceiling, notices=notices)
    except BaseException:
        lock.release()
        raise


def _prepare_shared(path: Path) -> None:
    try:
        database.prepare(path, migrate=False)
    except database.Outdated as older:
        _migrate_unused(path, older)
    except database.Damaged as damage:
        raise SpoolError(f"the spool {path} is damaged ({damage}): the daemon sets it aside when it starts") from damage


def _migrate_unused(path: Path, older: database.Outdated) -> None:
    try:
        lock = spool_folder.Lock(_lock_file(path))
    except SpoolBusy as busy:
        raise SpoolError(
            f"the spool {path} is of an older agiris-relay ({older}), which runs: restart the daemon with this release"
        ) from busy
    try:
        database.prepare(path)
    finally:
        lock.release()


def _lock_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _prepare_own(path: Path) -> tuple[str, ...]:
    """Make the files ready and free what an earlier daemon left active; what the operator must know."""
    notices: tuple[str, ...] = ()
    if database.is_new(path):
        segments = Segments(path)
        if any(segments.length(each) for each in segments.numbers()):
            notices = (_orphans(path, spool_folder.set_aside(path)),)
        database.create(path)
    try:
        database.prepare(path)
    except database.Damaged as damage:
        kept = spool_folder.set_aside(path)
        database.create(path)
        database.prepare(path)
        notices = (_notice(path, str(damage), kept, _salvage(kept / path.name, path)),)
    spool_folder.damage_mark(path).unlink(missing_ok=True)
    spool_folder.make_private(folder_of(path))
    spool_folder.sync_folder(path.parent)
    database.end_leases(path)
    return notices


def _salvage(damaged: Path, path: Path) -> SalvageResult:
    if damaged.stat().st_size == 0:
        return SalvageResult()
    try:
        return salvage(damaged, path, time.time())
    except sqlite3.Error:
        return SalvageResult()


def _orphans(path: Path, kept: Path) -> str:
    return (
        f"there was no spool {path}, but segments of one: they are kept in {kept}, for a database that is found again"
    )


def _notice(path: Path, damage: str, kept: Path, saved: SalvageResult) -> str:
    return (
        f"the spool {path} was damaged ({damage}): it is kept in {kept}; {saved.messages} messages could be read and"
        f" are in the new one, {saved.held} of them held because it is not known whether they were sent"
    )
