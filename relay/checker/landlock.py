"""The files of a worker: none. Landlock, for the calling thread and those that it starts.

Sources: landlock(7); Documentation/userspace-api/landlock.rst of Linux, 5.13 and later.
"""

import ctypes
import os

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same numbers on all architectures
_VERSION = 1

_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights to files a version knows, the lowest bits: EXECUTE to MAKE_SYM; REFER; TRUNCATE; IOCTL_DEV."""

_NETWORK_SINCE, _BIND_AND_CONNECT = 4, 0x3
_SCOPES_SINCE, _ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0x3


class _Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr of linux/landlock.h; older versions take the first one or two fields."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def version() -> int:
    """The version of the kernel's Landlock; 0 where it has none, or where it is off."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION))))


def restrict() -> bool:
    """No file can be opened, made or removed from now on; nor, where the kernel knows it, a TCP port be bound or
    connected to, an abstract socket be reached or another process get a signal. What is open stays open.

    Needs no_new_privs. False, and nothing has changed, where the kernel has no Landlock.
    """
    known = version()
    if not known:
        return False
    rules = _Ruleset(files=(1 << max(count for since, count in _FILE_RIGHTS.items() if since <= known)) - 1)
    size = 8
    if known >= _NETWORK_SINCE:
        rules.network, size = _BIND_AND_CONNECT, 16
    if known >= _SCOPES_SINCE:
        rules.scopes, size = _ABSTRACT_SOCKETS_AND_SIGNALS, 24
    libc = ctypes.CDLL(None, use_errno=True)
    ruleset = libc.syscall(ctypes.c_long(_CREATE_RULESET), ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint(0))
    if ruleset < 0:
        return False
    try:
        return bool(libc.syscall(ctypes.c_long(_RESTRICT_SELF), ctypes.c_int(ruleset), ctypes.c_uint(0)) == 0)
    finally:
        os.close(ruleset)
