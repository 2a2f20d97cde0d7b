"""Blocks of a file taken and given back without moving its end: fallocate(2), which Python's os does not have."""

import ctypes
from collections.abc import Callable

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
