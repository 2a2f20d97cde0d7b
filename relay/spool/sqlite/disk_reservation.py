"""Room on disk that nobody can take away: what is queued is claimed, settled and purged though the disk is full.

Two kinds. Reserved blocks behind the ends of the database and its log are used where they lie, and no other program
ever sees them free. Ballast is a file of its own, let go when they do not do: at a start on a full disk, and on file
systems that reserve nothing."""

import os
import threading
from contextlib import suppress
from pathlib import Path

from relay.spool.sqlite import segments
from relay.spool.sqlite.lock import free_octets

DATABASE = 32 * 1024 * 1024
"""Octets kept behind the end of the database: the log holds about half as many that are not copied back yet."""

LOG = 8 * 1024 * 1024
"""Octets kept behind the end of the log. Once it is as long as it gets, it is written over from its beginning."""

EMERGENCY_RESERVE = 8 * 1024 * 1024
"""Octets of the ballast."""

_SHARE = 4
"""One part in so many of the free room may be taken."""


class DiskReservation:
    """The daemon's, for the database at `path`, which must be there. Any thread may call.

    Make it before the process opens a connection, close it after the last: closing any descriptor of a file drops the
    POSIX locks which SQLite holds on it (https://sqlite.org/howtocorrupt.html §2.2).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._gate = threading.Lock()
        self._fd: int | None = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        found = os.fstat(self._fd)
        free = free_octets(path.parent) + max(0, found.st_blocks * 512 - found.st_size)
        self._part = min(1.0, free / _SHARE / (DATABASE + LOG))

    def keep(self) -> None:
        """Take what is missing; after each checkpoint, for it cuts off what lies behind the end of the database."""
        with self._gate:
            if self._fd is None:
                return
            _reserve(self._fd, int(DATABASE * self._part))
            with suppress(FileNotFoundError):  # no log yet
                log = os.open(self._log, os.O_RDWR | os.O_CLOEXEC)
                try:
                    _reserve(log, int(LOG * self._part))
                finally:
                    os.close(log)
            _take_emergency_reserve(self._path)

    def close(self) -> None:
        with self._gate:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None


def release_emergency_reserve(path: Path) -> bool:
    """Give the room of the ballast beside the database back; False when it was not taken, or cannot be given."""
    try:
        _emergency_reserve(path).unlink()
    except OSError:
        return False
    return True


def make_room_to_open(path: Path) -> None:
    """Before the database is opened: the log that SQLite makes then must find room."""
    if free_octets(path.parent) < EMERGENCY_RESERVE:
        release_emergency_reserve(path)


def _take_emergency_reserve(path: Path) -> None:
    """If it is not taken and there is plenty; nothing when there is not."""
    emergency_reserve = _emergency_reserve(path)
    if emergency_reserve.exists() or free_octets(path.parent) < _SHARE * EMERGENCY_RESERVE:
        return
    fd = os.open(emergency_reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, EMERGENCY_RESERVE)
    except OSError:
        emergency_reserve.unlink(missing_ok=True)
    finally:
        os.close(fd)


def _emergency_reserve(path: Path) -> Path:
    return path.with_name(f"{path.name}.ballast")


def _reserve(fd: int, octets: int) -> None:
    """Reserve `octets` behind the end of a file without moving its end, or what there is of them.

    os.posix_fallocate moves the end, and writes zeros where the file system reserves nothing: neither may be done to a
    file that SQLite is writing.
    """
    if octets:
        segments.reserve(fd, os.fstat(fd).st_size, octets)
