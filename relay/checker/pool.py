"""A pool of limited worker processes that check documents; what becomes of a document when a worker dies."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from relay import serialization
from relay.checker import frames
from relay.checker.process import Worker
from relay.inspection import Candidate, Finding, Kind, Octets, Options, Report, Severity, Verdict
from relay.mime.transfer_decoder import decode_document
from relay.observability.events import Observe, Restart, WorkerReplaced, WorkerStarted

MAX_WAITING = 512
"""Requests that may wait for a worker, one a session; beyond, a message is answered 451 and the sender tries again."""

MAX_WAITING_OCTETS = 256 * 1024 * 1024

MAX_WAIT_SECONDS = 120.0
"""That a request waits for a worker: clients wait ten minutes for the answer to a message (rfc5321#4.5.3.2.6)."""

SELF_TEST_TIMEOUT = 60.0
"""Seconds. It compiles the rules too, perhaps while the whole machine starts: slow is not wrong."""


class CheckerOverloaded(Exception):
    """Too much waits for a worker already: try later (451 4.3.2)."""


class CheckerPool:
    """`size` worker processes. timeout: seconds of wall clock a request may take in a worker.

    observe: called with WorkerStarted and WorkerReplaced.
    restarts: workers replaced so far. busy: at work now. waiting: requests that wait.
    self_test: why the engine cannot be trusted, None when it can; while it cannot, nothing is valid at level full.
    """

    def __init__(self, size: int, timeout: float, observe: Observe = lambda event: None) -> None:
        self.size = max(1, size)
        self.timeout = timeout
        self.restarts = 0
        self.busy = 0
        self.self_test: str | None = "not run yet"
        self._observe = observe
        self._idle: list[Worker] = []
        self._workers = 0  # idle ones and those at work; not `busy`, which counts turns given, taken up or not
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._waiting_octets = 0
        self._closed = False
        self._background: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        return len(self._waiters)

    async def start(self) -> None:
        """Start the workers and run the engine's self-test in each, which warms it too. Raises OSError.

        The outcome is in `self_test`.
        """
        self._idle.extend(await asyncio.gather(*(self._spawn() for _ in range(self.size))))
        outcomes = await asyncio.gather(*(self.run_self_test() for _ in range(self.size)))
        self.self_test = next((outcome for outcome in outcomes if outcome is not None), None)

    async def run_self_test(self) -> str | None:
        """A good invoice must be clean, a wrong total give BR-CO-15. Returns the reason when not."""
        await self._enter(0)
        try:
            answer = await self._attempt([frames.frame({"op": "self-test"})], SELF_TEST_TIMEOUT)
        finally:
            self._leave()
        self.self_test = answer.value if isinstance(answer, Restart) else answer.get("reason")
        return self.self_test

    async def inspect(self, candidates: Sequence[Candidate], options: Options) -> tuple[Report, ...]:
        """One report a candidate, in order; whatever the documents do. Raises CheckerOverloaded only."""
        if not candidates:
            return ()
        await self._enter(sum(len(each.content) for each in candidates))
        try:
            answer = await self._attempt(frames.request(candidates, options), self.timeout)
            reports = _reports(answer, len(candidates))
            if reports is None:
                reports = await self._retry(candidates, options)
            return reports if self.self_test is None else tuple(self._mark_untrusted(each, options) for each in reports)
        finally:
            self._leave()

    def configure(self, size: int, timeout: float) -> None:
        """Take new settings at once; a worker too many ends when it is idle."""
        self.size, self.timeout = max(1, size), timeout
        while self._idle and self._workers > self.size:
            self._end(self._idle.pop(0))
        self._wake()

    async def close(self) -> None:
        """End the idle workers now, the others when they have answered."""
        self._closed = True
        idle, self._idle = self._idle, []
        await asyncio.gather(*(worker.kill() for worker in idle), *self._background, return_exceptions=True)

    def _mark_untrusted(self, report: Report, options: Options) -> Report:
        """Never valid by an engine that failed its own test."""
        if options.level != "full" or report.verdict is not Verdict.VALID:
            return report
        doubt = Finding(
            "ENGINE-FAILED", Severity.WARNING, "rules", f"the engine failed its self-test: {self.self_test}"
        )
        return replace(report, verdict=Verdict.UNDETERMINED, findings=(*report.findings, doubt))

    async def _retry(self, candidates: Sequence[Candidate], options: Options) -> tuple[Report, ...]:
        """Each document alone; when none fails alone, all of them together once more: only then is `mentions` known."""
        reports: list[Report] = []
        none_failed, fresh = True, True
        for candidate in candidates:
            answer = await self._attempt(frames.request([candidate], options), self.timeout, fresh=fresh)
            alone = _reports(answer, 1)
            fresh = alone is None
            none_failed = none_failed and not fresh
            if alone is None:
                alone = (await asyncio.to_thread(report, candidate, timed_out=answer is Restart.TIMEOUT),)
            reports += alone
        together = None
        if none_failed and len(candidates) > 1:
            together = _reports(await self._attempt(frames.request(candidates, options), self.timeout), len(candidates))
        return together or tuple(reports)

    async def _attempt(self, pieces: list[Octets], timeout: float, *, fresh: bool = False) -> dict[str, Any] | Restart:
        """The answer of a worker, or why there is none: timeout | crashed. The worker goes back, or is replaced."""
        try:
            worker = await (self._spawn() if fresh else self._worker())
        except OSError:
            return Restart.CRASHED
        try:
            answer = await worker.ask(pieces, timeout)
        except TimeoutError:
            return await self._lost(worker, Restart.TIMEOUT)
        except (OSError, ValueError):
            return await self._lost(worker, Restart.CRASHED)
        except BaseException:  # cancelled in the middle of a dialogue: the worker is out of step
            self._end(worker)
            raise
        if answer.get("retire"):
            self._replaced(worker, _retired(answer["retire"]))
            self._end(worker)
        elif self._closed or self._workers > self.size:
            self._end(worker)
        else:
            self._idle.append(worker)
        return answer

    async def _worker(self) -> Worker:
        """A live worker: the warmest idle one, or a new one. Raises OSError."""
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            self._replaced(worker, Restart.CRASHED)
            self._end(worker)
        return await self._spawn()

    async def _spawn(self) -> Worker:
        self._workers += 1
        try:
            worker = await Worker.start(2 * self.timeout + 10)
        except BaseException:
            self._workers -= 1
            raise
        self._observe(WorkerStarted(worker.pid))
        return worker

    async def _lost(self, worker: Worker, cause: Restart) -> Restart:
        self._replaced(worker, cause)
        self._workers -= 1
        await worker.kill()
        return cause

    def _replaced(self, worker: Worker, cause: Restart) -> None:
        self.restarts += 1
        self._observe(WorkerReplaced(worker.pid, cause))

    async def _enter(self, octets: int) -> None:
        """Wait for a turn, in order of arrival. Raises CheckerOverloaded."""
        if self.busy < self.size and not self._waiters:
            self.busy += 1
            return
        if len(self._waiters) >= MAX_WAITING or (self._waiters and self._waiting_octets + octets > MAX_WAITING_OCTETS):
            raise CheckerOverloaded
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        self._waiting_octets += octets
        timer = turn.get_loop().call_later(MAX_WAIT_SECONDS, _give_up, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the turn was given in the same instant: pass it on
                self._leave()
            raise
        finally:
            timer.cancel()
            self._waiting_octets -= octets
            if turn in self._waiters:
                self._waiters.remove(turn)

    def _leave(self) -> None:
        self.busy -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiters and self.busy < self.size:
            turn = self._waiters.popleft()
            if not turn.done():
                self.busy += 1
                turn.set_result(None)

    def _end(self, worker: Worker) -> None:
        self._workers -= 1
        task = asyncio.ensure_future(worker.kill())
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _give_up(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(CheckerOverloaded())


def _retired(cause: object) -> Restart:
    """Why a worker asks to be replaced. One that was taken over may say anything: it is as good as crashed."""
    return Restart.MEMORY if cause == "memory" else Restart.RECYCLED if cause == "recycled" else Restart.CRASHED


def _reports(answer: dict[str, Any] | Restart, count: int) -> tuple[Report, ...] | None:
    """The reports of an answer; None unless it is one a document: a worker that was taken over may say anything."""
    if isinstance(answer, Restart):
        return None
    try:
        reports = tuple(serialization.build(Report, each) for each in answer["reports"])
    except (KeyError, TypeError, ValueError):
        return None
    return reports if len(reports) == count else None


def report(candidate: Candidate, *, timed_out: bool) -> Report:
    """UNDETERMINED; runs in a thread, for hashing 20 MB would hold the loop."""
    content, problem = decode_document(candidate)
    rule = "CHECK-TIMEOUT" if timed_out else "CHECK-CRASHED"
    text = "the check did not end in time, twice" if timed_out else "the check brought its process down, twice"
    return Report(
        hashlib.sha256(content).hexdigest(),
        len(content),
        Verdict.UNDETERMINED,
        Kind.PDF if b"%PDF-" in content[:1029] else Kind.OTHER,
        findings=(Finding(rule, Severity.WARNING, "pdf", text), *([problem] if problem else [])),
        openable=False,
    )
