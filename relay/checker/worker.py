"""`python -m relay.checker.worker`: a limited process that evaluates messages and checks documents."""

import encodings
import gc
import importlib
import os
import pkgutil
import resource
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from relay import serialization
from relay.checker import document_transfer, frames, sandbox
from relay.checker.directory_transfer import ReceivedDirectories
from relay.checker.evaluation import EvaluationRequest, answer_of
from relay.checker.progress import ProgressPage
from relay.inspection import Candidate, Options, Report


class CpuLimit:
    """RLIMIT_CPU, moved on before it is reached: the kernel ends a process that hangs, even if the parent sleeps.

    A message may use `seconds` of CPU at least, twice as many at most, so that few of them cost a system call.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = 0.0

    def allow(self, spent: float) -> None:
        """A message begins; `spent`: CPU seconds of the process so far."""
        if spent + self._seconds <= self._end:
            return
        self._end = spent + 2 * self._seconds
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(self._end) + 1, hard))


RETIRE_AFTER = 5000
"""Documents; memory was steady over 12,480, a library update may change that."""

RETIRE_ABOVE = 700 * 1024 * 1024
"""Octets of resident size, beside the directories: a hostile document may have left it swollen."""

MODULES = ("relay.checker.evaluator", "relay.dsn.bounces", "relay.facturx.inspect")
"""Imported by a worker alone: the daemon parses neither PDF nor XML nor MIME."""

MEMORY_CHECK_SECONDS = 0.01
"""CPU time between two checks of the memory: the kernel needs longer to hand out some 100 MB, page by page."""

FREEZE_AFTER = 2
"""Frames: the libraries are loaded then, and no collection need walk them."""


def main() -> None:
    """Serve until the parent closes the channel."""
    protections = sandbox.apply_limits(int(sys.argv[1]))
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # a library that prints must not reach the channel
        os.dup2(null, descriptor)
    worker = Worker(channel, ProgressPage(int(sys.argv[3])), float(sys.argv[2]))
    load()
    protections += sandbox.enter()
    worker.protections = protections
    try:
        while True:
            worker.serve()
    except (frames.ChannelBroken, OSError):
        os._exit(0)  # the parent is gone or has given up on us; no cleanup is owed


def load() -> None:
    """Load all that a request may need: after `sandbox.enter` no file can be opened.

    A text may name any codec that Python has; each is a module.
    """
    for module in MODULES:
        importlib.import_module(module)
    from relay.facturx import inspect

    inspect.load()
    for codec in pkgutil.iter_modules(encodings.__path__):
        with suppress(ImportError):  # mbcs and oem are of Windows
            importlib.import_module(f"encodings.{codec.name}")


class Worker:
    """Answers what comes through `channel`. progress: says where it is. cpu_seconds: that one message may use."""

    def __init__(self, channel: socket.socket, progress: ProgressPage, cpu_seconds: float) -> None:
        self._channel, self._progress = channel, progress
        self._inbox = frames.Inbox(channel)
        self._cpu, self._memory = CpuLimit(cpu_seconds), MemoryLimit()
        self._directories = ReceivedDirectories()
        self._frames = self._documents = 0
        self.protections: Sequence[str] = ()
        """What the kernel keeps this process from; said in its first answer."""

    def serve(self) -> None:
        """Take the requests of one frame and answer them. Raises ChannelBroken, OSError."""
        header, contents = self._inbox.receive()
        self._directories.keep(header.get("keep", 0))
        self._progress.begin(header.get("frame", 0))
        self._cpu.allow(time.process_time())
        requests = header["requests"]
        if requests[0]["op"] == "evaluate":
            answers = self._evaluate(requests, contents)
        else:
            answers = [(self._answer(requests[0], contents),)]
        self._frames += 1
        if self._frames == 1:
            answers[0][0]["protections"] = self.protections
        if self._frames == FREEZE_AFTER:
            gc.freeze()
        answers[-1][0]["retire"] = self._retires()
        self._channel.sendall(b"".join([frames.frame(answer, *more) for answer, *more in answers]))

    def _evaluate(self, requests: Sequence[dict[str, Any]], contents: Sequence[memoryview]) -> list[Any]:
        from relay.checker.evaluator import Item, evaluate

        def inspect(index: int, candidates: Sequence[Candidate], options: Options) -> tuple[Report, ...]:
            if index:
                self._cpu.allow(time.process_time())
            return self._inspect(requests[index], candidates, options, index)

        items = [
            Item(
                serialization.build(EvaluationRequest, request["asked"]),
                bytes(content),
                self._directories[request["directory"]],
            )
            for request, content in zip(requests, contents, strict=True)
        ]
        evaluations = evaluate(items, inspect)
        return [
            answer_of(evaluation, steps=item.asked.steps) for item, evaluation in zip(items, evaluations, strict=True)
        ]

    def _inspect(
        self, request: dict[str, Any], candidates: Sequence[Candidate], options: Options, message: int = 0
    ) -> tuple[Report, ...]:
        from relay.facturx.inspect import inspect

        def begun(document: int) -> None:
            self._progress.write(message, document)

        self._documents += len(candidates)
        given = document_transfer.given_up(request, candidates)
        reports = inspect(candidates, options, time.perf_counter, given=given, begun=begun)
        self._progress.write(message)
        return document_transfer.mark_untrusted(reports, options, request["engine"])

    def _answer(self, request: dict[str, Any], contents: Sequence[memoryview]) -> dict[str, Any]:
        match request["op"]:
            case "inspect":
                candidates, options = document_transfer.read_documents(request, contents)
                return {"reports": self._inspect(request, candidates, options)}
            case "returned":
                from relay.dsn.bounces import read_returned

                return {"returned": read_returned(bytes(contents[0]))}
            case "directory":
                gc.disable()  # all that comes stays
                before = self._memory.resident()
                self._directories.take(request)
                self._memory.allow(self._memory.resident() - before)
                gc.enable()
                gc.freeze()
                return {}
            case _:
                from relay.facturx.inspect import self_test

                return {"reason": self_test()}

    def _retires(self) -> str | None:
        """Why the parent should take another worker now; values of relay.observability.events.Restart."""
        if self._memory.exceeded(time.process_time()):
            return "memory"
        return "recycled" if self._documents >= RETIRE_AFTER else None


class MemoryLimit:
    """The memory of the process, read once it has had the time to allocate much. limit: octets."""

    def __init__(self, limit: int = RETIRE_ABOVE) -> None:
        self._checked = -MEMORY_CHECK_SECONDS
        self._limit = limit
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)

    def allow(self, octets: int) -> None:
        """So much more is taken up by what is to stay."""
        self._limit += max(0, octets)

    def exceeded(self, spent: float) -> bool:
        """More than the limit; `spent`: CPU seconds of the process so far."""
        if spent - self._checked < MEMORY_CHECK_SECONDS:
            return False
        self._checked = spent
        return self.resident() > self._limit

    def resident(self) -> int:
        """Octets in use now. Not ru_maxrss: across fork and exec it keeps the peak of the parent."""
        return int(os.pread(self._statm, 100, 0).split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
