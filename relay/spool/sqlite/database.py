"""The database file: modes, pragmas, schema and its migrations, damage; and what an error of SQLite means."""

import os
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from relay.spool.port import SpoolBroken, SpoolDamaged, SpoolError, SpoolFull, SpoolNewer
from relay.spool.sqlite.spool_folder import damage_mark, sync_folder

PAGE = 4096
BUSY_SECONDS = 10.0
STATEMENTS = 256
"""What a connection keeps prepared: more than there are, those for each number of rows counted in."""

WHOLE = 256 * 1024 * 1024
"""Octets up to which every page of the database is looked at when it is opened: a second's work, for the octets of
messages are not in it."""

APPLICATION_ID = 0x41475253  # "AGRS"

EVENT_NAMES = 5
"""Number of the migration that renames the events of histories: one statement, which may run again."""


class Outdated(Exception):
    """The schema is of an older release. str() says of which, and which this release knows."""


class Damaged(Exception):
    """The file is no database that can be read. str() says why."""


def create(path: Path) -> None:
    """An empty file with mode 0600, its name durable. SQLite gives its companions the same mode."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.close(fd)
    sync_folder(path.parent)


def connect(path: Path, *, query_only: bool = False) -> sqlite3.Connection:
    """A connection without implicit transactions. `synchronous=FULL`: NORMAL does not sync a commit in WAL mode."""
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA cache_size = -16384")
    if query_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def prepare(path: Path, *, migrate: bool = True) -> None:
    """Make the database ready: WAL, and the schema of this version. Only whoever holds the lock may migrate it: the
    daemon that does may be of an older release, which does not know the new schema.

    Raises Outdated when it would have to be migrated and `migrate` is False; Damaged for a file that cannot be read as
    a database; SpoolError for one of a newer relay or one that this user may not open.
    """
    if path.is_dir():
        raise Damaged("a folder stands in its place")
    if _is_empty(path) and not is_new(path):
        # SQLite would take it for a new database, and delete the log.
        raise Damaged("it is empty, but its log is not")
    try:
        connection = connect(path)
    except sqlite3.OperationalError as error:
        raise SpoolError(f"the spool {path} cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        raise Damaged(str(error)) from error
    try:
        _make(connection, path, migrate)
        _probe(connection, damage_mark(path).exists() or path.stat().st_size <= WHOLE)
    except sqlite3.OperationalError as error:
        raise SpoolError(f"the spool {path} cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        raise Damaged(str(error)) from error
    finally:
        connection.close()


def is_new(path: Path) -> bool:
    """Whether there is nothing yet: neither in the file nor in its log."""
    return _is_empty(path) and _is_empty(path.with_name(f"{path.name}-wal"))


def _is_empty(path: Path) -> bool:
    return not path.exists() or path.stat().st_size == 0


def _make(connection: sqlite3.Connection, path: Path, migrate: bool) -> None:
    if migrate:
        connection.execute(f"PRAGMA page_size = {PAGE}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    newest = max(number for number, _ in migrations())
    if version > newest:
        raise SpoolNewer(
            f"the spool {path} was written by a newer agiris-relay (schema {version}, this one knows {newest}):"
            " install that version again"
        )
    if version < newest and not migrate:
        raise Outdated(f"schema {version}, this one has {newest}")
    for number, script in sorted(migrations()):
        if number > version:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{script}\nPRAGMA application_id = {APPLICATION_ID};"
                f"\nPRAGMA user_version = {number};\nCOMMIT;"
            )


def migrations() -> Iterator[tuple[int, str]]:
    """Number and statements of every schema step; the number leads the file's name."""
    for each in files("relay.spool.sqlite").joinpath("sql").iterdir():
        if each.name.endswith(".sql"):
            yield int(each.name.split("_", 1)[0]), each.read_text("utf-8")


def _probe(connection: sqlite3.Connection, whole: bool) -> None:
    """Read through what no start can do without, or all of it: a damaged page there would stop every claim."""
    for words in ("",) if whole else ("(deliveries)", "(secrets)"):
        found = connection.execute(f"PRAGMA quick_check{words}").fetchall()
        if found != [("ok",)]:
            raise Damaged("; ".join(str(row[0]) for row in found[:3]))


def end_leases(path: Path) -> None:
    """Make what was active due at once: whoever holds the lock knows that no attempt is under way."""
    connection = connect(path)
    try:
        connection.execute("UPDATE deliveries SET due = 0 WHERE state = 'active'")
    finally:
        connection.close()


_NO_ROOM = frozenset(
    {
        sqlite3.SQLITE_FULL,
        # EFBIG, EDQUOT, EIO on a write: SQLite names only ENOSPC "full".
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_NOMEM,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_BUSY_TIMEOUT,
        sqlite3.SQLITE_BUSY_SNAPSHOT,
    }
)

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def spool_error(error: Exception) -> Exception:
    """The SpoolError that `error` amounts to; an exception that is not SQLite's is returned as it is.

    A write that failed is rolled back and nothing was promised. An fsync that failed may have dropped pages which the
    kernel now calls clean, so a second fsync proves nothing; only reading the spool again does.
    """
    if not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code in _NO_ROOM:
        return SpoolFull(f"the spool cannot be written now: {error} ({name})")
    if code & 0xFF == sqlite3.SQLITE_IOERR:
        return SpoolBroken(f"the disk under the spool failed: {error} ({name})")
    if code & 0xFF in _DAMAGED:
        return SpoolDamaged(f"the spool is damaged: {error} ({name})")
    return SpoolError(f"the spool failed: {error} ({name})")
