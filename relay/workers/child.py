"""The worker process: `python -m relay.workers.child PARENT CPU_SECONDS`. Asked and answering on descriptor 0."""

import gc
import os
import resource
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from relay import wire
from relay.inspection import Candidate, Options
from relay.workers import frames, limits

RETIRE_AFTER = 5000
"""Documents; memory was steady over 12,480 (shared/FACTURX.md), a library update may change that."""

RETIRE_ABOVE = 700 * 1024 * 1024
"""Octets of resident size: a hostile document may have left it swollen."""

LOOK_EVERY = 0.01
"""Seconds of CPU between two looks at the memory: the kernel needs longer to hand out some 100 MB, page by page."""


def main() -> None:
    """Serve until the parent closes the channel."""
    limits.apply(int(sys.argv[1]))
    cpu, memory = limits.Cpu(float(sys.argv[2])), Memory()
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
    except (frames.Broken, OSError):
        os._exit(0)  # the parent is gone or has given up on us; no cleanup is owed


def _retires(served: int, memory: "Memory") -> str | None:
    """Why the parent should take another worker after this answer; words of ops.labels.Restart."""
    if memory.swollen(time.process_time()):
        return "memory"
    return "recycled" if served >= RETIRE_AFTER else None


class Memory:
    """What the process holds, looked at once it has had the time to take much."""

    def __init__(self) -> None:
        self._looked = -LOOK_EVERY
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)

    def swollen(self, spent: float) -> bool:
        """More than RETIRE_ABOVE; `spent`: CPU seconds of the process so far."""
        if spent - self._looked < LOOK_EVERY:
            return False
        self._looked = spent
        return self._resident() > RETIRE_ABOVE

    def _resident(self) -> int:
        """Octets in use now. Not ru_maxrss: across fork and exec it keeps the peak of the parent."""
        return int(os.pread(self._statm, 100, 0).split()[1]) * resource.getpagesize()


def _answer(header: dict[str, Any], contents: Sequence[memoryview]) -> dict[str, Any]:
    if header.get("op") == "self-test":
        from relay.facturx.selftest import self_test

        return {"reason": self_test()}
    from relay.facturx.inspect import inspect

    candidates = [
        Candidate(content, said["encoding"], said["filename"], said["media_type"])
        for said, content in zip(header["candidates"], contents, strict=True)
    ]
    reports = inspect(candidates, wire.build(Options, header["options"]), time.perf_counter)
    return {"reports": reports}


if __name__ == "__main__":
    main()
