"""What an error of SQLite means to the relay: no space for now, durability lost, or a defect of ours.

A write that failed is rolled back and nothing was promised; an fsync that failed may have dropped pages which the
kernel now calls clean, so a second fsync proves nothing: only reading the spool again does."""

import errno
import sqlite3

from relay.spool.port import SpoolBroken, SpoolDamaged, SpoolError, SpoolFull

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

_FIXES = {
    errno.ENOSPC: "free room on that file system",
    errno.EDQUOT: "free room, or raise the quota of the daemon's user",
    errno.EACCES: "give the folder and what is in it to the daemon's user (chown -R)",
    errno.EPERM: "give the folder and what is in it to the daemon's user (chown -R)",
    errno.EROFS: "mount that file system for writing",
    errno.EISDIR: "move away the directory that stands where a file belongs",
    errno.ENOTDIR: "move away the file that stands where a directory belongs",
    errno.EEXIST: "move away the file that stands where a directory belongs",
}


def describe_os_error(error: OSError) -> str:
    """What the system says of a spool's file or folder, and the mend."""
    fix = _FIXES.get(error.errno or 0, "name another place under `spool` in relay.yaml")
    return f"{error.strerror or error}. Fix: {fix}"


def spool_error(error: Exception) -> Exception:
    """The SpoolError that `error` amounts to; an exception that is not SQLite's is returned as it is."""
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
