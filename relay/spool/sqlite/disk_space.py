"""Disk space: when messages are refused for lack of it, and the space that is reserved for what is queued.

A message is stored only while more than `MIN_FREE` octets would be left free (452 to the client otherwise). What is
queued must still be claimed, settled and purged on a full disk, so space is reserved in two ways. Blocks allocated
behind the ends of the database and its log are used where they lie; no other program ever sees them free. The emergency
reserve is a file of its own, deleted when those blocks do not suffice: at a start on a full disk, and on file systems
that cannot allocate blocks behind the end of a file."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from relay.spool.port import SpoolFull
from relay.spool.sqlite import segments

MIN_FREE = 16 * 1024 * 1024
"""Octets left free when messages are refused for lack of space: what is queued must still be claimed and settled."""


def free_octets(folder: Path) -> int:
    """Octets that an unprivileged process may still write there."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


PLENTY = 1024 * 1024 * 1024
"""Octets free under a folder above which it is known for `_KNOWN_SECONDS` how many there are."""

_KNOWN_SECONDS = 1.0


class FreeSpace:
    """Octets free under a folder, by statvfs(2): each time, or once a second while more than PLENTY are free, because
    two calls a message cost time and the GIL. If another program takes PLENTY within that second, the write fails with
    ENOSPC."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left = 0
        self._known_until = 0.0

    def octets(self) -> int:
        now = time.monotonic()
        if self._left < PLENTY or now >= self._known_until:
            self._left, self._known_until = free_octets(self._folder), now + _KNOWN_SECONDS
        return self._left

    def take(self, octets: int) -> None:
        """Account for a message of `octets` (its content and the database's log). Raises SpoolFull without room."""
        free, wanted = self.octets(), 2 * octets
        if free < MIN_FREE + wanted:
            raise SpoolFull(f"only {free} octets are free under {self._folder}")
        self.spend(wanted)

    def spend(self, octets: int) -> None:
        """So many are about to be written there."""
        self._left -= octets


def used_octets(path: Path) -> int:
    """Octets that the database and its companions take, its segments left out."""
    total = 0
    for each in path.parent.glob(f"{path.name}*"):
        with suppress(FileNotFoundError):  # the log or the reserve may be deleted meanwhile
            total += each.stat().st_size
    return total


DATABASE = 32 * 1024 * 1024
"""Octets kept behind the end of the database: the log holds about half as many that are not copied back yet."""

LOG = 8 * 1024 * 1024
"""Octets kept behind the end of the log. Once it is as long as it gets, it is written over from its beginning."""

EMERGENCY_RESERVE = 8 * 1024 * 1024
"""Octets of the emergency reserve."""

_SHARE = 4
"""One part in so many of the free space may be reserved."""


class DiskReservation:
    """Space reserved for the database at `path`, which must exist; the daemon's alone. Thread-safe.

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
        """Reserve what is missing; after each checkpoint, because it truncates what lies behind the end of the
        database."""
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
    """Delete the emergency reserve beside the database; False when there is none, or it cannot be deleted."""
    try:
        _emergency_reserve(path).unlink()
    except OSError:
        return False
    return True


def make_room_to_open(path: Path) -> None:
    """Before the database is opened: SQLite creates a log then, which needs space."""
    with suppress(OSError):
        path.with_name(f"{path.name}.ballast").unlink()  # the reserve under its former name
    if free_octets(path.parent) < EMERGENCY_RESERVE:
        release_emergency_reserve(path)


def _take_emergency_reserve(path: Path) -> None:
    """Create it if it is missing and there is space enough for it."""
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
    return path.with_name(f"{path.name}.reserve")


def _reserve(fd: int, octets: int) -> None:
    """Reserve `octets` behind the end of a file without moving its end, or what there is of them.

    os.posix_fallocate moves the end, and writes zeros where the file system reserves nothing: neither may be done to a
    file that SQLite is writing.
    """
    if octets:
        segments.reserve(fd, os.fstat(fd).st_size, octets)
