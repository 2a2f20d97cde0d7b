"""What an error of SQLite means to the relay: no space for now, durability lost, or a defect of ours.

A write that failed is rolled back and nothing was promised; an fsync that failed may have dropped pages which the
kernel now calls clean, so a second fsync proves nothing (shared/FAULTS.md D3): only reading the spool again does.
"""

import sqlite3

from relay.spool.port import SpoolBroken, SpoolError, SpoolFull

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


def meaning(error: Exception) -> Exception:
    """The SpoolError that `error` amounts to; an exception that is not SQLite's is returned as it is."""
    if not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code in _NO_ROOM:
        return SpoolFull(f"the spool cannot be written now: {error} ({name})")
    if code & 0xFF == sqlite3.SQLITE_IOERR:
        return SpoolBroken(f"the disk under the spool failed: {error} ({name})")
    return SpoolError(f"the spool failed: {error} ({name})")
