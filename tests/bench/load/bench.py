"""One run: senders -> a contender -> the sink; what it took, and whether the books balance."""

import gc
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from tests.bench.load import proc, sender, sink
from tests.bench.load.result import Result, percentile
from tests.bench.load.template import Template

FORK = multiprocessing.get_context("fork")
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Target:
    """What is measured. port: its door on 127.0.0.1. roots: pids of its process trees. main: the pid told apart.

    original: it passes the original PDF on.
    """

    name: str
    port: int
    roots: tuple[int, ...]
    main: int | None
    original: bool


@dataclass(frozen=True)
class Load:
    """What is sent. rate: messages a second offered, 0: as fast as they are taken. idle: seconds without an arrival
    after which the run is over."""

    size: str
    templates: tuple[Template, ...]
    count: int
    sessions: int
    rate: float = 0.0
    each: int = 1
    idle: float = 20.0
    seconds: float = 300.0


class Bench:
    """`with Bench() as bench`: the sink runs meanwhile, at `bench.port`."""

    def __enter__(self) -> "Bench":
        self._control, theirs = FORK.Pipe()
        self._process = _start(sink.main, theirs)
        self.port = int(_receive(self._control))
        return self

    def __exit__(self, *_: object) -> None:
        self._control.send("stop")
        _end(self._process)

    def count(self) -> int:
        """Messages of the run under way that are at the sink."""
        self._control.send("count")
        while not isinstance(answer := _receive(self._control), int):
            pass
        return answer

    def begin(self, run: str, load: Load, original: bool) -> None:
        """The sink expects the messages of a run."""
        self._control.send(sink.Order(run, load.count, load.templates, None if original else 1))
        assert _receive(self._control) == "ready"

    def wait_all(self, load: Load, until: float) -> None:
        """Return when all are at the sink, or none has come for `load.idle` seconds, or at monotonic `until`."""
        seen, at = 0, time.monotonic()
        while time.monotonic() < until:
            if self._control.poll(POLL_SECONDS) and _receive(self._control) == "all":
                return
            if time.monotonic() - at > load.idle / 4:
                if (now := self.count()) == seen and time.monotonic() - at > load.idle:
                    return
                if now != seen:
                    seen, at = now, time.monotonic()

    def end(self) -> sink.Found:
        """What the sink has of the run."""
        self._control.send("end")
        while not isinstance(found := _receive(self._control, 120), sink.Found):
            pass
        return found

    def measure(self, target: Target, load: Load) -> Result:
        """One run against `target`."""
        run = os.urandom(3).hex()
        self.begin(run, load, target.original)
        if target.main is not None:
            proc.reset_peak(target.main)
        task = sender.Task(
            target.port, run, load.count, load.sessions, load.templates, load.rate, load.each, load.seconds
        )
        with sending(task) as senders, proc.Watch(target.roots) as watch:
            before, machine, at = proc.tree(target.roots), proc.machine()[0], time.monotonic()
            senders.go()
            self.wait_all(load, at + load.seconds + load.idle)
            after, busy, seconds = proc.tree(target.roots), proc.machine()[0] - machine, time.monotonic() - at
            sent = senders.report()
        found = self.end()
        result = _result(target, load, sent, found)
        used = sum(after.values()) - sum(before.values())
        result.cpu = 1000 * used / max(1, result.arrived)
        result.foreign = max(0.0, busy - used - sent.cpu - found.cpu) / seconds
        result.peak = watch.megabytes
        result.main = proc.peak(target.main) if target.main is not None else 0.0
        return result


class Senders:
    """One process of senders, ready to go."""

    def __init__(self, task: sender.Task) -> None:
        self._control, theirs = FORK.Pipe()
        self._process = _start(sender.main, theirs, task)
        assert _receive(self._control) == "ready"
        self._seconds = task.seconds

    def go(self) -> None:
        self._control.send("go")

    def report(self) -> sender.Sent:
        """Wait until all is accepted or given up."""
        sent: sender.Sent = _receive(self._control, self._seconds + 30)
        return sent

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """End them in the middle of it."""
        self._process.kill()

    def close(self) -> None:
        _end(self._process)


@contextmanager
def sending(task: sender.Task) -> Iterator[Senders]:
    """Senders that wait for `go`; ended at the end, whatever they are at."""
    senders = Senders(task)
    try:
        yield senders
    finally:
        senders.close()


def _result(target: Target, load: Load, sent: sender.Sent, found: sink.Found) -> Result:
    result = Result(target.name, load.size, load.sessions, load.count, arrived=len(found.times))
    result.missing = len(sent.accepted.keys() - found.times.keys())
    result.doubled, result.damaged = found.doubled, len(found.damaged)
    result.later, result.refused = dict(sent.later), dict(sent.refused)
    if not_accepted := load.count - len(sent.accepted) - sum(sent.refused.values()):
        result.refused["no time left"] = not_accepted
    result.arrivals = found.times
    if not found.times or not sent.accepted:
        return result
    first = min(sent.began.values())
    result.rate = len(found.times) / (max(found.times.values()) - first)
    result.accept_rate = len(sent.accepted) / (max(sent.accepted.values()) - first)
    accepted = [at - sent.began[serial] for serial, at in sent.accepted.items()]
    whole = [at - sent.began[serial] for serial, at in found.times.items() if serial in sent.began]
    result.accept_p50, result.accept_p99 = percentile(accepted, 0.5), percentile(accepted, 0.99)
    result.whole_p50, result.whole_p99 = percentile(whole, 0.5), percentile(whole, 0.99)
    result.cpu_sender = 1000 * sent.cpu / load.count
    result.cpu_sink = 1000 * found.cpu / len(found.times)
    return result


def _start(work: Any, *arguments: Any) -> BaseProcess:
    gc.collect()
    process = FORK.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def _end(process: BaseProcess) -> None:
    process.join(5)
    if process.is_alive():
        process.kill()
        process.join()


def _receive(control: Connection, seconds: float = 30) -> Any:
    if not control.poll(seconds):
        raise TimeoutError("a process of the bench does not answer")
    return control.recv()
