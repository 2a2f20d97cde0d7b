"""`python -m relay.checker.worker`: a limited process that checks documents."""

import ctypes
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from relay import serialization
from relay.checker import frames
from relay.inspection import Candidate, Options

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


class CpuLimit:
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


RETIRE_AFTER = 5000
"""Documents; memory was steady over 12,480, a library update may change that."""

RETIRE_ABOVE = 700 * 1024 * 1024
"""Octets of resident size: a hostile document may have left it swollen."""

MEMORY_CHECK_SECONDS = 0.01
"""CPU time between two checks of the memory: the kernel needs longer to hand out some 100 MB, page by page."""


def main() -> None:
    """Serve until the parent closes the channel."""
    apply(int(sys.argv[1]))
    cpu, memory = CpuLimit(float(sys.argv[2])), MemoryLimit()
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # a library that prints must not reach the channel
        os.dup2(null, descriptor)
    inbox, served = frames.Inbox(channel), 0
    try:
        while True:
            header, contents = inbox.receive()
            cpu.allow(time.process_time())
            answer = _answer(header, contents)
            if not served:
                gc.freeze()  # the libraries are loaded now: no collection need walk them
            served += len(contents) or 1
            answer["retire"] = _retires(served, memory)
            channel.sendall(frames.frame(answer))
    except (frames.ChannelBroken, OSError):
        os._exit(0)  # the parent is gone or has given up on us; no cleanup is owed


def _retires(served: int, memory: "MemoryLimit") -> str | None:
    """Why the parent should take another worker after this answer; values of relay.observability.events.Restart."""
    if memory.exceeded(time.process_time()):
        return "memory"
    return "recycled" if served >= RETIRE_AFTER else None


class MemoryLimit:
    """The memory of the process, read once it has had the time to allocate much."""

    def __init__(self) -> None:
        self._checked = -MEMORY_CHECK_SECONDS
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)

    def exceeded(self, spent: float) -> bool:
        """More than RETIRE_ABOVE; `spent`: CPU seconds of the process so far."""
        if spent - self._checked < MEMORY_CHECK_SECONDS:
            return False
        self._checked = spent
        return self._resident() > RETIRE_ABOVE

    def _resident(self) -> int:
        """Octets in use now. Not ru_maxrss: across fork and exec it keeps the peak of the parent."""
        return int(os.pread(self._statm, 100, 0).split()[1]) * resource.getpagesize()


def _answer(header: dict[str, Any], contents: Sequence[memoryview]) -> dict[str, Any]:
    if header.get("op") == "self-test":
        from relay.facturx.inspect import self_test

        return {"reason": self_test()}
    from relay.facturx.inspect import inspect

    candidates = [
        Candidate(content, said["encoding"], said["filename"], said["media_type"])
        for said, content in zip(header["candidates"], contents, strict=True)
    ]
    reports = inspect(candidates, serialization.build(Options, header["options"]), time.perf_counter)
    return {"reports": reports}


if __name__ == "__main__":
    main()
