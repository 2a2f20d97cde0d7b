"""Segment files: raw octets one behind the other, named by an ascending number; their space given back when no
message needs them."""

import contextlib
import ctypes
import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from relay.spool.port import SpoolError

# linux/falloc.h
_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02


def reserve(fd: int, start: int, octets: int) -> bool:
    """Take blocks for `octets` from `start`; False when there are none to be had, or none are reserved here."""
    return _fallocate is not None and _fallocate(fd, _KEEP_SIZE, start, octets) == 0


def punch(fd: int, start: int, octets: int) -> bool:
    """Give back the whole blocks among `octets` from `start`: they read as zeros. False when the file system cannot
    (ext4, XFS, Btrfs, F2FS, ZFS and tmpfs can)."""
    return _fallocate is not None and _fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, start, octets) == 0


def _from_libc() -> Callable[[int, int, int, int], int] | None:
    """None where the C library is not glibc."""
    try:
        found = ctypes.CDLL(None).fallocate64
    except (OSError, AttributeError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return found


_fallocate = _from_libc()


_UNREADABLE = frozenset({errno.ENOENT, errno.EIO, errno.EISDIR, errno.ENODATA, errno.EUCLEAN})
"""What is so for these octets for good; any other error is one of the moment or of the whole process."""


class SegmentSpan(NamedTuple):
    """Where a message's octets begin: number of the segment, offset in it."""

    segment: int
    start: int


class Segments:
    """The folder of segments of the database at `path`."""

    def __init__(self, path: Path) -> None:
        self.folder = folder_of(path)

    def file(self, number: int) -> Path:
        return self.folder / f"{number:010d}"

    def numbers(self) -> list[int]:
        """Of the segments that are there, ascending; none when the folder is not."""
        try:
            return sorted(int(each.name) for each in self.folder.iterdir() if each.name.isdigit())
        except FileNotFoundError:
            return []

    def read(self, place: SegmentSpan, size: int) -> bytes | None:
        """Up to `size` octets as they are on disk, or None when they cannot be had. Raises SpoolError when it is not
        their fault (no descriptors left, no permission)."""
        try:
            fd = os.open(self.file(place.segment), os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.pread(fd, size, place.start)
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno in _UNREADABLE:
                return None
            raise SpoolError(f"a segment of the spool cannot be read: {error}") from error

    def drop(self, number: int) -> None:
        self.file(number).unlink(missing_ok=True)

    def free_around(self, number: int, live: Iterable[tuple[int, int]], end: int | None) -> None:
        """Give back the room of a segment up to `end` (None: its own) but for its `live` octets (start, size;
        ascending). A segment that has a second name (kept as evidence in `corrupt/`) stays whole."""
        with contextlib.suppress(FileNotFoundError), self.file(number).open("r+b", buffering=0) as file:
            found = os.fstat(file.fileno())
            if found.st_nlink == 1:
                for start, stop in _gaps(live, found.st_size if end is None else end):
                    punch(file.fileno(), start, stop - start)

    def length(self, number: int) -> int | None:
        """Octets of a segment that can be made longer; None when it is not there, no file, closed to us, or kept as
        evidence."""
        try:
            found = self.file(number).stat()
        except FileNotFoundError:
            return None
        if not os.access(self.file(number), os.R_OK | os.W_OK, effective_ids=True):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else None


class SegmentSizes:
    """Octets that the segments take on disk. Those written no more are looked at once, for there may be thousands."""

    def __init__(self, segments: Segments) -> None:
        self._folder = segments.folder
        self._known: dict[str, int] = {}

    def total(self, current: int) -> int:
        """current: number of the segment that is written now; whatever follows it is looked at each time too."""
        known, found = self._known, dict[str, int]()
        total = 0
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for each in entries:
                size = known.get(each.name)
                if size is None:
                    with contextlib.suppress(FileNotFoundError):
                        size = each.stat(follow_symlinks=False).st_blocks * 512
                total += size or 0
                if size is not None and each.name.isdigit() and int(each.name) < current:
                    found[each.name] = size
        if self._known is known:  # nobody called `forget` meanwhile
            self._known = found
        return total

    def forget(self) -> None:
        """Holes were made in some."""
        self._known = {}


def folder_of(path: Path) -> Path:
    """Where the segments of the database at `path` are."""
    return path.with_name(f"{path.name}.segments")


def _gaps(live: Iterable[tuple[int, int]], end: int) -> Iterator[tuple[int, int]]:
    """What lies before, between and behind the `live` stretches, up to `end`."""
    done = 0
    for start, size in (*live, (end, 0)):
        if min(start, end) > done:
            yield done, min(start, end)
        done = max(done, start + size)


_LIVE = "SELECT start, size FROM mails INDEXED BY mails_by_segment WHERE segment = ? ORDER BY start"
_ANY = "SELECT 1 FROM mails INDEXED BY mails_by_segment WHERE segment = ? LIMIT 1"


@dataclass(frozen=True, slots=True)
class Reclaimable:
    """dead: segments to remove. holes: number, live octets (start, size), where what may be given back ends (None: at
    the segment's end)."""

    to_remove: tuple[int, ...]
    holes: tuple[tuple[int, tuple[tuple[int, int], ...], int | None], ...]


def collect(
    db: sqlite3.Connection, segments: Segments, settled: SegmentSpan, numbers: Iterable[int | None]
) -> Reclaimable:
    """What can be given back now that messages in the segments `numbers` (None: in none) were forgotten.

    settled: taken before the database is asked; what is stored meanwhile lies behind it.
    """
    closed = [each for each in segments.numbers() if each < settled.segment]
    to_remove = tuple(each for each in closed if db.execute(_ANY, (each,)).fetchone() is None)
    holes = tuple(
        (each, tuple(db.execute(_LIVE, (each,)).fetchall()), None if each < settled.segment else settled.start)
        for each in sorted(
            {each for each in numbers if each is not None and each <= settled.segment}.difference(to_remove)
        )
    )
    return Reclaimable(to_remove, holes)


def reclaim(segments: Segments, work: Reclaimable) -> None:
    """Blocks for the file system. Raises SpoolError."""
    try:
        for each in work.to_remove:
            segments.drop(each)
        for number, live, end in work.holes:
            segments.free_around(number, live, end)
    except OSError as error:
        raise SpoolError(f"the room of purged messages cannot be given back: {error}") from error
