"""The limits a worker lays on itself before it touches a document."""

import ctypes
import os
import resource
import signal
import sys

DATA = 1024 * 1024 * 1024
"""RLIMIT_DATA. Not RLIMIT_AS: SaxonC reserves 33 GB of address space."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def apply(parent: int) -> None:
    """Limits, no network where the kernel lets us, and death with the parent (whose process id this is)."""
    _lower(resource.RLIMIT_DATA, DATA)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    # Ctrl-C in a terminal reaches the whole group; the daemon drains, and its workers with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)  # an empty network; refused in some containers, and then so be it
    if os.getppid() != parent:  # it died before the signal was armed
        os._exit(0)


class Cpu:
    """RLIMIT_CPU, moved on before it is reached: the kernel ends a process that hangs, even if the parent sleeps.

    A request may use `seconds` of CPU at least, twice as many at most, so that few of them cost a system call.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = 0.0

    def allow(self, spent: float) -> None:
        """A request begins; `spent`: CPU seconds of the process so far."""
        if spent + self._seconds <= self._end:
            return
        self._end = spent + 2 * self._seconds
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(self._end) + 1, hard))


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (wanted, wanted))
