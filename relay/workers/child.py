"""The worker process: `python -m relay.workers.child PARENT CPU_SECONDS`. Asked and answering on descriptor 0."""

import gc
import os
import resource
import socket
import sys
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

from relay import wire
from relay.inspection import Candidate, Options
from relay.workers import frames, limits

RETIRE_AFTER = 5000
"""Documents; memory was steady over 12,480 (shared/FACTURX.md), a library update may change that."""

RETIRE_ABOVE = 700 * 1024 * 1024
"""Octets of resident size: a hostile document may have left it swollen."""


def main() -> None:
    """Serve until the parent closes the channel."""
    limits.apply(int(sys.argv[1]))
    cpu = float(sys.argv[2])
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # a library that prints must not reach the channel
        os.dup2(null, descriptor)
    inbox, served = frames.Inbox(channel), 0
    try:
        while True:
            header, contents = inbox.receive()
            limits.allow_cpu(cpu)
            answer = _answer(header, contents)
            if not served:
                gc.freeze()  # the libraries are loaded now: no collection need walk them
            served += len(contents) or 1
            answer["retire"] = _retires(served)
            channel.sendall(frames.frame(answer))
    except (frames.Broken, OSError):
        os._exit(0)  # the parent is gone or has given up on us; no cleanup is owed


def _retires(served: int) -> str | None:
    """Why the parent should take another worker after this answer; words of ops.labels.Restart."""
    if _resident() > RETIRE_ABOVE:
        return "memory"
    return "recycled" if served >= RETIRE_AFTER else None


def _resident() -> int:
    """Octets of memory in use now. Not ru_maxrss: across fork and exec it keeps the peak of the parent."""
    return int(os.pread(_statm(), 100, 0).split()[1]) * resource.getpagesize()


@cache
def _statm() -> int:
    return os.open("/proc/self/statm", os.O_RDONLY)


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
