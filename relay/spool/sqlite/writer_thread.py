"""Group commit: one thread owns the writing connection, takes all that waits and pays one fsync for it."""

import asyncio
import contextlib
import select
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from relay.spool.port import SpoolBroken, SpoolError
from relay.spool.sqlite.database import spool_error
from relay.spool.sqlite.raw_messages import Appender

Item = TypeVar("Item")
T = TypeVar("T")

Operation = Callable[[sqlite3.Connection, Sequence[Item]], Sequence[T]]
"""What changes the spool: given items that wait together, the result of each, as if each had come alone."""

Job = Callable[[sqlite3.Connection], T]

GATHER = 0.005
"""Seconds in which more jobs may come, once several were there at a time. A commit costs an fsync or two and every page
that it touches, however few its jobs; who comes alone waits for nobody."""

MOST_JOBS = 256
MOST_OCTETS = 64 * 1024 * 1024
"""What one commit takes at most: beyond it, the first to come would wait for the last."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    operation: Operation[Any, Any]
    item: Any
    octets: int
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    tentative: Callable[[Any], None] | None


class Writer:
    """Runs jobs on `connection` in a thread of its own; `committed` is called there with each commit and its jobs.

    A job is an item for a verb. Those that wait together have all not been answered, so any order among them is right:
    a verb is given all its items at once. What the jobs put in `appender` is durable before they are committed. A job
    may run twice (when the commit it was part of failed, it runs alone): it must only touch the database and the
    appender.
    """

    def __init__(self, connection: sqlite3.Connection, appender: Appender, committed: Callable[[int], None]) -> None:
        self._connection = connection
        self._appender = appender
        self._committed = committed
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._batch: list[_Waiting] = []
        self.broken: SpoolBroken | None = None
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self._thread.start()

    async def run(
        self,
        operation: Operation[Item, T],
        item: Item,
        octets: int = 0,
        tentative: Callable[[T], None] | None = None,
    ) -> T:
        """The result of `item`, durable. Raises what the verb raised for it, or SpoolFull, SpoolBroken.

        tentative: called in the event loop with the result before it is durable; it may not become so.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._gate:
            if self.broken is not None:
                raise self.broken
            if self._closed:
                raise SpoolError("the spool is closed")
            self._queue.put(_Waiting(operation, item, octets, future, loop, tentative))
        return await future

    def close(self) -> None:
        """Finish what waits; blocks. Nothing can be run afterwards."""
        with self._gate:
            closed, self._closed = self._closed, True
        if not closed:
            self._queue.put(None)
        self._thread.join()

    def fail(self, error: SpoolBroken) -> None:
        """Durability is lost: whatever waits or comes gets `error`."""
        with self._gate:
            self.broken = self.broken or error

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # a thread that is gone must be no secret: nobody would ever get an answer
            broken = SpoolBroken(f"the thread that writes the spool ended: {error!r}")
            self.fail(broken)
            _answer([(each, broken) for each in (*self._batch, *self._left())])

    def _serve(self) -> None:
        last = False
        while not last:
            if len(self._batch) > 1:
                select.select((), (), (), GATHER)  # time.sleep is EINVAL under a clock that faketime has set
            self._batch, last = self._take()
            if self._batch and self.broken is not None:
                _answer([(each, self.broken) for each in self._batch])
            elif self._batch:
                self._write(self._batch)

    def _left(self) -> Iterator[_Waiting]:
        """What nobody has taken yet."""
        with contextlib.suppress(Empty):
            while True:
                if (item := self._queue.get_nowait()) is not None:
                    yield item

    def _take(self) -> tuple[list[_Waiting], bool]:
        batch: list[_Waiting] = []
        octets, item = 0, self._queue.get()
        while item is not None:
            batch.append(item)
            octets += item.octets
            if len(batch) >= MOST_JOBS or octets >= MOST_OCTETS:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _write(self, batch: Sequence[_Waiting]) -> None:
        try:
            answers = self._commit(batch)
        except Exception as error:
            # One job may spoil the commit of all: each gets one of its own, and only the culprit fails.
            self._note(spool_error(error))
            again = len(batch) > 1
            answers = [(each, self._commit_alone(each) if again else self._failed(error)) for each in batch]
        _answer(answers)
        self._committed(len(batch))

    def _commit(self, batch: Sequence[_Waiting]) -> list[tuple[_Waiting, Any]]:
        execute = self._connection.execute
        try:
            self._appender.begin()
            execute("BEGIN IMMEDIATE")
            answers = [
                answer for operation, jobs in _by_operation(batch) for answer in self._carry_out(operation, jobs)
            ]
            _announce(answers)
            self._appender.sync()
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    execute("ROLLBACK")
            raise
        return answers

    def _carry_out(self, operation: Operation[Any, Any], jobs: Sequence[_Waiting]) -> Iterator[tuple[_Waiting, Any]]:
        return zip(jobs, operation(self._connection, [each.item for each in jobs]), strict=True)

    def _commit_alone(self, waiting: _Waiting) -> Any:
        if self.broken is not None:
            return self.broken
        try:
            return self._commit([waiting])[0][1]
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> Exception:
        known = spool_error(error)
        self._note(known)
        return known

    def _note(self, error: Exception) -> None:
        if isinstance(error, SpoolBroken):
            self.fail(error)


def one_by_one(db: sqlite3.Connection, jobs: Sequence[Job[T]]) -> list[T]:
    """The verb of jobs that gain nothing by company."""
    return [job(db) for job in jobs]


def _by_operation(batch: Sequence[_Waiting]) -> Iterable[tuple[Operation[Any, Any], list[_Waiting]]]:
    found: dict[Operation[Any, Any], list[_Waiting]] = {}
    for each in batch:
        found.setdefault(each.operation, []).append(each)
    return found.items()


_Results = Sequence[tuple[_Waiting, Any]]


def _announce(results: _Results) -> None:
    """Tell those who asked for it what the result is if the commit succeeds."""
    asked = [(waiting, result) for waiting, result in results if waiting.tentative is not None]
    if asked:
        _hand_over(asked, _tell)


def _answer(results: _Results) -> None:
    _hand_over(results, _resolve)


def _hand_over(results: _Results, how: Callable[[_Results], None]) -> None:
    """Call `how` in the event loop, with one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting, Any]]] = {}
    for waiting, result in results:
        by_loop.setdefault(waiting.loop, []).append((waiting, result))
    for loop, those in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(how, those)


def _tell(results: _Results) -> None:
    for waiting, result in results:
        if waiting.tentative is not None and not waiting.future.done():
            waiting.tentative(result)


def _resolve(results: _Results) -> None:
    for waiting, result in results:
        future = waiting.future
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
