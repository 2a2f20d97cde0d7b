"""Open a spool by its URL: `sqlite:///absolute/path` or `sqlite:relative/path`."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from relay.spool.port import RetentionWindows, Spool, SpoolBusy, SpoolError
from relay.spool.sqlite import database
from relay.spool.sqlite import lock as sqlite_lock
from relay.spool.sqlite.disk_reservation import make_room_to_open
from relay.spool.sqlite.engine import SqliteSpool
from relay.spool.sqlite.errors import describe_os_error
from relay.spool.sqlite.integrity import SalvageResult, salvage
from relay.spool.sqlite.segments import Segments, folder_of


def open_spool(
    url: str,
    exclusive: bool = True,
    *,
    clock: Callable[[], float] = time.time,
    windows: RetentionWindows | None = None,
    ceiling: float = 3600.0,
) -> Spool:
    """The spool at `url`.

    exclusive: the daemon's way. It takes the lock, makes the file when there is none, and takes over at once what an
    earlier daemon left active. Without it (the commands) the file must be there, whether or not a daemon runs.
    ceiling: `retry.ceiling` in seconds. Blocks for the time of a few reads.
    A damaged database file is moved to `corrupt/` beside it, what can be read of it goes over to a new one, and the
    daemon serves: it says so in `notices` (for the log) and in `Stats.corrupt`. Nothing is deleted; segments without a
    database are moved there too.
    Raises SpoolBusy, SpoolError (a sentence for the operator), ValueError for a URL of no known kind.
    """
    path = path_of(url)
    try:
        if not exclusive and not path.is_file():
            raise SpoolError(f"there is no spool at {path}: the daemon makes it at its first start")
        sqlite_lock.refuse_unusable(path)
        return _open(path, exclusive, clock, windows or RetentionWindows(), ceiling)
    except OSError as error:
        raise SpoolError(f"the spool {path} cannot be opened: {describe_os_error(error)}") from error
    except sqlite3.Error as error:
        raise SpoolError(f"the spool {path} cannot be opened: {error}") from error


def path_of(url: str) -> Path:
    """The database file that the URL of an SQLite spool names. Raises ValueError for another URL."""
    kind, _, rest = url.partition(":")
    if kind != "sqlite" or not rest.strip("/"):
        raise ValueError(f"{url!r} is no spool: write sqlite:///absolute/path or sqlite:relative/path")
    return Path(rest.removeprefix("//") if rest.startswith("///") else rest)


def _open(
    path: Path, exclusive: bool, clock: Callable[[], float], windows: RetentionWindows, ceiling: float
) -> SqliteSpool:
    if not exclusive:
        _prepare_shared(path)
        return SqliteSpool(path, lock=None, clock=clock, windows=windows, ceiling=ceiling)
    sqlite_lock.make_private(path.parent)
    sqlite_lock.refuse_remote(path.parent)
    lock = sqlite_lock.Lock(_lock_file(path))
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
        lock = sqlite_lock.Lock(_lock_file(path))
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
    """Make the files ready and free what an earlier daemon left active; what the operator must be told."""
    notices: tuple[str, ...] = ()
    if database.is_new(path):
        segments = Segments(path)
        if any(segments.length(each) for each in segments.numbers()):
            notices = (_orphans(path, sqlite_lock.set_aside(path)),)
        database.create(path)
    try:
        database.prepare(path)
    except database.Damaged as damage:
        kept = sqlite_lock.set_aside(path)
        database.create(path)
        database.prepare(path)
        notices = (_notice(path, str(damage), kept, _salvage(kept / path.name, path)),)
    sqlite_lock.damage_mark(path).unlink(missing_ok=True)
    sqlite_lock.make_private(folder_of(path))
    sqlite_lock.sync_folder(path.parent)
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
