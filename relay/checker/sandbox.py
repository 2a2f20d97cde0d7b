"""What a worker takes from itself: limits before it loads its libraries, then files, network and other processes.

A PDF that takes a worker over finds a process that can compute and answer, and no more: the keys, the spool and the
configuration belong to the user that it runs as, hence nothing but the kernel keeps them from it. Each protection
stands alone, for a kernel or a container may refuse any of them; which ones hold is said in the first answer.
"""

import ctypes
import os
import resource
import signal
import sys
from enum import StrEnum

from relay.checker import landlock, seccomp

DATA = 1024 * 1024 * 1024
"""Octets, RLIMIT_DATA. Not RLIMIT_AS: SaxonC reserves 33 GB of address space."""

DESCRIPTORS = 64
"""RLIMIT_NOFILE. A worker holds eight, and a few more while it loads its libraries."""


class Protection(StrEnum):
    """What depends on the kernel. The limits always hold."""

    NETWORK_NAMESPACE = "network_namespace"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


REQUIRED = (Protection.LANDLOCK, Protection.SECCOMP)
"""An operator hears when one of them is missing. Not the namespace: the systemd unit refuses it on purpose."""

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522


def apply_limits(parent: int) -> list[Protection]:
    """Limits, no core dump, an empty network where the kernel lets us, and death with the parent (its process id).

    Comes first, while there is one thread: unshare(2) makes no user namespace for more. Not RLIMIT_NPROC: it counts
    what the daemon runs as the same user too; seccomp is what forbids to start a process.
    """
    _lower(resource.RLIMIT_DATA, DATA)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NOFILE, DESCRIPTORS)
    # Ctrl-C in a terminal reaches the whole group; the daemon drains, and its workers with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    held = []
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
            held.append(Protection.NETWORK_NAMESPACE)
        # No other process of the same user may trace it or read its memory, in which there are invoices (prctl(2)).
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.getppid() != parent:  # it died before the signal was armed
        os._exit(0)
    return held


def enter() -> list[Protection]:
    """Give up files, network and other processes for good. Comes last, when all that may be needed is loaded.

    After it no file can be opened: a module that is imported then is not found.
    """
    if sys.platform != "linux":
        return []
    _drop_capabilities()
    held = []
    if landlock.restrict():  # before seccomp, whose filter knows no Landlock
        held.append(Protection.LANDLOCK)
    if seccomp.install(os.getpid()):
        held.append(Protection.SECCOMP)
    return held


def _drop_capabilities() -> None:
    """A process is given all of them in a user namespace of its own: they would open more of the kernel to it."""
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None, use_errno=True).capset(header, none)


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (wanted, wanted))
