"""Who of the workers gets which request, in order of arrival; what becomes of a request when a worker dies, hangs or
says what cannot be true."""

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from relay.checker.directory_transfer import SentDirectories
from relay.checker.frames import Answer
from relay.checker.requests import CheckerOverloaded, CheckFailed, Request
from relay.checker.sandbox import REQUIRED, Protection
from relay.checker.seat import Seat
from relay.checker.verification import FalseAnswer
from relay.observability.events import Observe, Restart, WorkerReplaced, WorkerSandboxed, WorkerStarted

T = TypeVar("T")

MAX_WAITING = 512
"""Requests that may wait for a worker, one a session; beyond, a message is answered 451 and the sender tries again."""

MAX_WAITING_OCTETS = 256 * 1024 * 1024

MAX_WAIT_SECONDS = 120.0
"""That a request waits for a worker: clients wait ten minutes for the answer to a message (rfc5321#4.5.3.2.6)."""

SELF_TEST_TIMEOUT = 60.0
"""Seconds. It compiles the rules too, perhaps while the whole machine starts: slow is not wrong."""

BATCH = 8
BATCH_OCTETS = 1024 * 1024
"""Of the messages that are taken together, when several wait: more would make the first wait for the last."""


class Dispatcher:
    """`size` workers, and the requests that wait for one. timeout: seconds of wall clock a document may take.

    directories: that workers are sent before they are asked. observe: called with WorkerStarted, WorkerReplaced and,
    once, WorkerSandboxed. protections: what the kernel keeps a worker from, as one has reported it; None until then.
    restarts: workers replaced so far. changed: set whenever a worker has done something.
    """

    def __init__(self, size: int, timeout: float, directories: SentDirectories, observe: Observe) -> None:
        self.size = max(1, size)
        self.timeout = timeout
        self.restarts = 0
        self.changed = asyncio.Event()
        self.protections: tuple[Protection, ...] | None = None
        self._directories = directories
        self._observe = observe
        self._seats: list[Seat] = []
        self._starting = 0
        self._failed_starts = 0  # workers in a row that ended before they had answered anything
        self._waiting: deque[Request[Any]] = deque()
        self._waiting_octets = 0
        self._wait_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._background: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        return sum(not request.done for request in self._waiting)

    @property
    def busy(self) -> int:
        """Workers at work."""
        return sum(bool(seat.asked) for seat in self._seats)

    async def start(self) -> None:
        """Start the workers. Raises OSError."""
        self._starting += self.size
        await asyncio.gather(*(self._start_seat() for _ in range(self.size)))

    def configure(self, size: int, timeout: float) -> None:
        """Take new settings at once; a worker too many ends when it is idle."""
        self.size, self.timeout = max(1, size), timeout
        for seat in [seat for seat in self._seats if seat.idle]:
            if len(self._seats) > self.size:
                self._end(seat)
        self._dispatch()

    async def close(self) -> None:
        """End the idle workers now, the others when they have answered."""
        self._closed = True
        for seat in [seat for seat in self._seats if seat.idle]:
            self._end(seat)
        await asyncio.gather(*self._background, return_exceptions=True)

    def distrust(self, why: str) -> None:
        """Replace all workers: one of them has said what cannot be true."""
        for seat in list(self._seats):
            self._lost(seat, FalseAnswer(why))

    def all_have_newest(self) -> bool:
        """Has every worker got the newest directory?"""
        return all(seat.has(self._directories.newest) for seat in self._seats)

    def feed_idle(self) -> None:
        """There is a new directory to send."""
        for seat in self._seats:
            self._feed(seat)

    async def answer(self, request: Request[T]) -> T:
        """Have `request` answered. Raises CheckerOverloaded, CheckFailed."""
        octets = request.octets
        crowded = self._waiting_octets and self._waiting_octets + octets > MAX_WAITING_OCTETS
        if self._closed or len(self._waiting) >= MAX_WAITING or crowded:
            raise CheckerOverloaded
        self._enqueue(request)
        self._dispatch()
        return await request.future

    # The queue.

    def _enqueue(self, request: Request[Any], *, first: bool = False) -> None:
        (self._waiting.appendleft if first else self._waiting.append)(request)
        self._waiting_octets += request.octets
        if self._wait_timer is None:
            self._wait_for(request)

    def _wait_for(self, request: Request[Any]) -> None:
        loop = asyncio.get_running_loop()
        self._wait_timer = loop.call_at(request.since + MAX_WAIT_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """Nobody waits for a worker for ever."""
        self._wait_timer = None
        oldest = asyncio.get_running_loop().time() - MAX_WAIT_SECONDS
        while self._waiting and (self._waiting[0].done or self._waiting[0].since <= oldest):
            self._fail(self._dequeue(), CheckerOverloaded())
        if self._waiting:
            self._wait_for(self._waiting[0])

    def _dequeue(self) -> Request[Any]:
        request = self._waiting.popleft()
        self._waiting_octets -= request.octets
        if not self._waiting and self._wait_timer is not None:
            self._wait_timer.cancel()
            self._wait_timer = None
        return request

    def _dispatch(self) -> None:
        """Give what waits to whoever is idle, the warmest first; start workers where there are too few."""
        for seat in reversed(self._seats):
            if not self._waiting:
                return
            if seat.idle:
                self._feed(seat)
        if self._waiting:
            self._refill()

    def _feed(self, seat: Seat) -> None:
        """Give an idle worker its next task: a part of a directory, or messages."""
        if not seat.idle:
            return
        if self._directories.newest is not None and not seat.loads:
            seat.load(self._directories.newest)
        if seat.wants_part and seat.send_part():
            return
        batch = self._batch(seat)
        if batch:
            timeout = SELF_TEST_TIMEOUT if batch[0].header["op"] == "self-test" else self.timeout
            seat.ask(batch, timeout, self._directories.oldest)
        else:
            seat.send_part()

    def _batch(self, seat: Seat) -> list[Request[Any]]:
        """What `seat` is to be asked now: one request, or its share of those that wait if they are small."""
        share = min(BATCH, -(-len(self._waiting) // self.size))
        batch: list[Request[Any]] = []
        octets = 0
        while self._waiting and len(batch) < share:
            request = self._waiting[0]
            if request.done:
                self._dequeue()
                continue
            octets += request.octets
            together = request.header["op"] == "evaluate" and not request.apart
            if batch and (not together or octets > BATCH_OCTETS):
                break
            if not seat.has(request.directory):
                if not batch and request.directory is not None:
                    seat.load(request.directory)
                break
            batch.append(self._dequeue())
            if not together:
                break
        return batch

    # What a seat reports.

    def _answered(self, seat: Seat, request: Request[Any], answer: Answer) -> None:
        header = answer[0]
        if self.protections is None:
            self._report_protections(seat, header.get("protections"))
        try:
            value = request.read(answer)
        except FalseAnswer as error:
            self._lost(seat, error, request)
            return
        except (ValueError, KeyError, TypeError):  # whose words may be those of a document
            self._lost(seat, FalseAnswer("an answer of another form"), request)
            return
        if not request.done:
            request.future.set_result(value)
        if header.get("retire") is not None and not seat.asked:
            self._replaced(seat, _retired(header["retire"]))
            self._end(seat)
            self._refill()

    def _report_protections(self, seat: Seat, reported: object) -> None:
        """The first answer of all, before any document: it is the kernel that decides, for all workers alike."""
        held = tuple(each for each in Protection if isinstance(reported, list) and each in reported)
        self.protections = held
        missing = tuple(each for each in REQUIRED if each not in held)
        self._observe(WorkerSandboxed(seat.worker.pid, held, missing))

    def _free(self, seat: Seat) -> None:
        self.changed.set()
        if seat not in self._seats:
            return
        if self._closed or len(self._seats) > self.size:
            self._end(seat)
        else:
            self._feed(seat)

    def _stalled(self, behind: Sequence[Request[Any]]) -> None:
        """Others may answer what waits behind a slow message, if there are others: evaluating twice harms nobody."""
        if self.size > 1:
            self._put_back(behind)
            self._dispatch()

    def _lost(self, seat: Seat, error: Exception, at: Request[Any] | None = None) -> None:
        """The worker cannot be used any more. at: the request at which it ended, if it is not as the worker says."""
        if seat not in self._seats:
            return
        cause = _cause(error)
        culprit, document = (at, -1) if at is not None else (seat.culprit, seat.worker.place.document)
        self._failed_starts = 0 if seat.served else self._failed_starts + 1
        self._replaced(seat, cause, culprit, str(error) if cause is Restart.FALSE_ANSWER else "")
        self._end(seat)
        self._put_back([request for request in seat.asked if request is not culprit])
        if culprit is not None and not culprit.done:
            if culprit.try_again(cause, document):
                self._enqueue(culprit, first=True)
            else:
                culprit.future.set_exception(CheckFailed(cause))
        if self._failed_starts > 2 * self.size:  # something is wrong with the machine, not with a message
            self._failed_starts = 0
            self._fail_all()
        if seat.served:
            self._refill()
        self._dispatch()

    def _put_back(self, requests: Sequence[Request[Any]]) -> None:
        """Before all others, each by itself."""
        for request in reversed(requests):
            request.apart = True
            if not request.done and request not in self._waiting:
                self._enqueue(request, first=True)

    # Workers.

    def _refill(self) -> None:
        """Have a worker ready for the next message: the start of one takes as long as many messages."""
        if not self._closed and len(self._seats) + self._starting < self.size:
            self._starting += 1
            self._run(self._replace())

    async def _replace(self) -> None:
        try:
            await self._start_seat()
        except OSError:
            if not self._seats and not self._starting:
                self._fail_all()
        else:
            self._dispatch()

    async def _start_seat(self) -> None:
        """Start a worker, which `_starting` counts already. Raises OSError."""
        seat = Seat(answered=self._answered, free=self._free, stalled=self._stalled, lost=self._lost)
        try:
            await seat.start(2 * self.timeout + 10)
        finally:
            self._starting -= 1
        self._seats.append(seat)
        self._observe(WorkerStarted(seat.worker.pid))
        if not seat.worker.alive:
            self._lost(seat, ConnectionError("ended at its start"))
        else:
            self._free(seat)

    def _replaced(self, seat: Seat, cause: Restart, at: Request[Any] | None = None, why: str = "") -> None:
        self.restarts += 1
        self._observe(WorkerReplaced(seat.worker.pid, cause, at.queue_id if at is not None else "", why))

    def _end(self, seat: Seat) -> None:
        self._seats.remove(seat)
        seat.close()
        self.changed.set()
        self._run(seat.kill())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _fail_all(self) -> None:
        """There is no worker, and there will be none soon."""
        while self._waiting:
            self._fail(self._dequeue(), CheckerOverloaded())

    @staticmethod
    def _fail(request: Request[Any], error: Exception) -> None:
        if not request.done:
            request.future.set_exception(error)


def _cause(error: Exception) -> Restart:
    match error:
        case TimeoutError():
            return Restart.TIMEOUT
        case FalseAnswer():
            return Restart.FALSE_ANSWER
        case _:
            return Restart.CRASHED


def _retired(cause: object) -> Restart:
    """Why a worker asks to be replaced. One that was taken over may say anything: it is as good as crashed."""
    return Restart.MEMORY if cause == "memory" else Restart.RECYCLED if cause == "recycled" else Restart.CRASHED
