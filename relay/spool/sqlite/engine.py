"""The default engine: one SQLite file in WAL mode and segments of raw octets beside it, made for one daemon on one
machine, and the commands beside it.

Threads: one writes (group commit), one reads, one counts for figures (no delivery waits for those), one copies the log
back; the event loop never waits for the disk.
Every verb that changes something is durable when it returns. See the modules beside this one for the parts."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from relay.lifecycle import Transition
from relay.model import Claim, Delivery, Message, OperatorAction, Plan
from relay.observability.event_names import EventName
from relay.spool.delivery_rules import StatisticsBuilder
from relay.spool.port import (
    UNLIMITED,
    PeriodStatistics,
    Query,
    Record,
    RecordedAction,
    Reservation,
    RetentionWindows,
    SpoolBroken,
    SpoolDamaged,
    SpoolError,
    SpoolFull,
    Stats,
    Stored,
)
from relay.spool.sqlite import database, queries, rows, segments, spool_folder, transactions
from relay.spool.sqlite.checkpoint import Checkpointer
from relay.spool.sqlite.database import spool_error
from relay.spool.sqlite.disk_space import (
    MIN_FREE,
    DiskReservation,
    FreeSpace,
    free_octets,
    release_emergency_reserve,
    used_octets,
)
from relay.spool.sqlite.insert import Incoming, Inserter
from relay.spool.sqlite.raw_messages import Appender, Content, next_place
from relay.spool.sqlite.segments import Segments, SegmentSizes
from relay.spool.sqlite.spool_folder import describe_os_error
from relay.spool.sqlite.writer_thread import Job, Operation, Writer, one_by_one

Item = TypeVar("Item")
T = TypeVar("T")
log = structlog.get_logger(__name__)

_FULL_SECONDS = 5.0
_VACUUM_PAGES = 2000


class SqliteSpool:
    """See `relay.spool.port.Spool`. Made by `relay.spool.open.open_spool`; `notices` are sentences for the operator."""

    def __init__(
        self,
        path: Path,
        *,
        lock: spool_folder.Lock | None,
        clock: Callable[[], float] = time.time,
        windows: RetentionWindows | None = None,
        ceiling: float = 3600.0,
        notices: tuple[str, ...] = (),
    ) -> None:
        self.ceiling = ceiling
        self.notices = notices
        self._path = path
        self._free = FreeSpace(path.parent)
        self._lock = lock
        self._clock = clock
        self._windows = windows or RetentionWindows()
        self._turn = 0
        self._corrupt = len(notices)
        self._full_until = 0.0
        self._closed = False
        self._disk_reservation = DiskReservation(path) if lock is not None else None
        self._connection = database.connect(path)
        self._reading = database.connect(path, query_only=True)
        self._segments = Segments(path)
        self._appender = Appender(self._segments, next_place(self._reading, self._segments), owned=lock is not None)
        self._content = Content(self._segments, self._appender)
        self._inserter = Inserter(self._windows, self._content)
        self._transactions = transactions.Transactions(self._inserter)
        self._reader = ThreadPoolExecutor(1, "spool-reader")
        self._counting = database.connect(path, query_only=True)
        self._counter = ThreadPoolExecutor(1, "spool-counter")
        self._sizes = SegmentSizes(self._segments)
        self._checkpoints = Checkpointer(path, lambda error: self._writer.fail(error), self._keep_reserved)
        self._writer = Writer(self._connection, self._appender, self._checkpoints.committed)
        self._keep_reserved()

    async def store(self, message: Message, reservation: Reservation | None = None) -> Stored:
        self._free.take(len(message.raw))
        now = self._clock()
        try:
            incoming = Incoming(message, now, reservation)
            return await self._writer.run(self._inserter.store, incoming, len(message.raw), _announcement(reservation))
        except SpoolFull:
            self._full_until = time.monotonic() + _FULL_SECONDS
            raise

    async def claim(
        self, now: float, lease: float, limit: int, room: Mapping[str, int] = UNLIMITED, *, unconfirmed: bool = False
    ) -> tuple[Claim, ...]:
        if unconfirmed:
            return await self._change(lambda db: self._transactions.claim_unconfirmed(db, now, lease, limit, room))
        turn, self._turn = self._turn, self._turn + limit
        return await self._change(lambda db: self._transactions.claim(db, now, lease, limit, room, turn, self.ceiling))

    async def begin_attempt(self, claim: Claim) -> bool:
        return await self._change(lambda db: transactions.begin(db, claim))

    async def renew(self, claim: Claim, lease: float) -> bool:
        return await self._change(lambda db: transactions.renew(db, claim, lease))

    async def settle(self, claim: Claim, transition: Transition, follow_ups: Sequence[Message] = ()) -> bool:
        settlement = transactions.Settlement(claim, transition, follow_ups, self._clock())
        return await self._run_though_full(self._transactions.settle, settlement)

    async def load(self, queue_id: str) -> Message | None:
        try:
            message, sound = await self._read(lambda db: queries.message(db, self._content, queue_id))
        except queries.Unreadable:
            message, sound = None, False
        if not sound:
            await self._set_aside(queue_id)
            return None
        return message

    async def _set_aside(self, queue_id: str) -> None:
        now = self._clock()
        if await self._change(lambda db: queries.set_aside(db, queue_id, now)):
            self._corrupt += 1
            log.error(EventName.MESSAGE_CORRUPT, queue_id=queue_id)

    async def next_due(self, full: Collection[str] = ()) -> float | None:
        if (
            self._writer.broken is not None
        ):  # found by a purge, a notice or a checkpoint: whoever polls must learn of it
            raise self._writer.broken
        now = self._clock()
        return await self._read(lambda db: transactions.due(db, now, self.ceiling, full))

    async def find(self, query: Query) -> tuple[Delivery, ...]:
        return await self._read(lambda db: queries.find(db, query))

    async def count(self, query: Query) -> int:
        return await self._read(lambda db: queries.count(db, query))

    async def show(self, queue_id: str) -> Record | None:
        return await self._read(lambda db: queries.record(db, self._content, queue_id))

    async def apply_action(
        self, queue_id: str, number: int | None, action: OperatorAction, now: float
    ) -> tuple[Delivery, ...]:
        return await self._change(lambda db: self._transactions.apply_action(db, queue_id, number, action, now))

    async def replan(
        self, queue_id: str, plans: Sequence[Plan], action: OperatorAction, now: float
    ) -> tuple[Delivery, ...]:
        return await self._change(lambda db: self._transactions.replan(db, queue_id, plans, action, now))

    async def operator_actions(self, limit: int = 100) -> tuple[RecordedAction, ...]:
        return await self._read(lambda db: rows.operator_actions(db, limit))

    async def operator_actions_logged(self, ids: Collection[int]) -> None:
        await self._change(lambda db: rows.delete_operator_actions(db, ids))

    async def record_bounce(self, queue_id: str, number: int, text: str, now: float, *, failed: bool) -> bool:
        return await self._change(lambda db: self._transactions.record_bounce(db, queue_id, number, text, now, failed))

    async def store_notifications(
        self, about: Sequence[tuple[Delivery, str]], messages: Sequence[Message], now: float
    ) -> None:
        await self._change(lambda db: self._transactions.store_notifications(db, about, messages, now))

    async def secret(self) -> bytes:
        (value,) = await self._read(
            lambda db: db.execute("SELECT value FROM secrets WHERE name = 'return_path'").fetchone()
        )
        return bytes(value)

    async def purge(self, before: float, limit: int = 100, *, withheld: float | None = None) -> int:
        now = self._clock()
        emptied = await self._change(lambda db: queries.purge(db, self._content, before, limit, withheld))
        await self._change(lambda db: queries.expire(db, self._windows, now))
        await self._change(lambda db: queries.shrink(db, _VACUUM_PAGES))
        if self._lock is not None:
            settled = self._appender.settled
            work = await self._read(lambda db: segments.collect(db, self._segments, settled, emptied))
            await asyncio.to_thread(segments.reclaim, self._segments, work)
            if work.holes:
                self._sizes.forget()
            try:
                await asyncio.to_thread(self._keep_reserved)
            except OSError as error:
                raise SpoolError(f"no room can be reserved for the spool: {describe_os_error(error)}") from error
        return len(emptied)

    async def stats(self) -> Stats:
        return await self._count(self._stats)

    def _stats(self, db: sqlite3.Connection) -> Stats:
        octets = used_octets(self._path) + self._sizes.total(self._appender.settled.segment)
        return queries.stats(db, octets, free_octets(self._path.parent), self._corrupt)

    async def period_statistics(self, since: float, until: float) -> Mapping[str | None, PeriodStatistics]:
        """In steps: a month of plans is long to read, and other readers wait in the same line."""
        tallies, after = StatisticsBuilder(), 0
        while found := await self._count(partial(queries.arrived, since=since, until=until, after=after)):
            for _, plans, deliveries in found:
                tallies.add(plans, deliveries)
            after = found[-1][0]
        for firm, reason, count in await self._count(queries.held):
            tallies.hold(firm, reason, count)
        return tallies.result()

    def unhealthy(self) -> SpoolError | None:
        if self._writer.broken is not None:
            return self._writer.broken
        try:
            free = self._free.octets()
        except OSError as error:
            return SpoolError(f"the spool's folder {self._path.parent} cannot be read: {describe_os_error(error)}")
        if free < MIN_FREE:
            return SpoolFull(f"less than {MIN_FREE} octets are free under {self._path.parent}")
        if time.monotonic() < self._full_until:
            return SpoolFull("the spool could not be written a moment ago")
        return None

    def degraded(self) -> str | None:
        return self._checkpoints.failure

    async def _change(self, job: Job[T]) -> T:
        return await self._run_though_full(one_by_one, job)

    async def _run_though_full(self, operation: Operation[Item, T], item: Item) -> T:
        """Run what must go through on a full disk as well: what ends a delivery needs little room."""
        with contextlib.suppress(SpoolFull):
            return await self._writer.run(operation, item)
        await asyncio.to_thread(self._checkpoints.restart_log)
        try:
            return await self._writer.run(operation, item)
        except SpoolFull:
            if not release_emergency_reserve(self._path):
                raise
        return await self._writer.run(operation, item)

    def _keep_reserved(self) -> None:
        if self._disk_reservation is not None:
            self._disk_reservation.keep()

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        return await self._query(self._reader, query, self._reading)

    async def _count(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What may take long: other readers do not wait for it."""
        return await self._query(self._counter, query, self._counting)

    async def _query(
        self, thread: ThreadPoolExecutor, query: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection
    ) -> T:
        if self._closed:
            raise SpoolError("the spool is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, query, connection)
        except OSError as error:
            raise SpoolError(f"the spool cannot be read: {describe_os_error(error)}") from error
        except sqlite3.Error as error:
            known = spool_error(error)
            if isinstance(known, SpoolBroken):
                self._writer.fail(known)
            raise known from error

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._let_go)

    def _let_go(self) -> None:
        self._writer.close()
        self._appender.close()
        self._checkpoints.close()
        self._reader.shutdown()
        self._reading.close()
        self._counter.shutdown()
        self._counting.close()
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        if self._disk_reservation is not None:
            self._disk_reservation.keep()  # for a start on a full disk
            self._disk_reservation.close()
        if self._lock is not None:
            if isinstance(self._writer.broken, SpoolDamaged):
                spool_folder.damage_mark(self._path).touch(0o600)
            self._lock.release()


def _announcement(reservation: Reservation | None) -> Callable[[Stored], None] | None:
    """What to call with the result of `store` before it is durable."""
    if reservation is None or reservation.on_tentative_claims is None:
        return None
    on_tentative_claims = reservation.on_tentative_claims

    def announce(stored: Stored) -> None:
        if stored.claims:
            on_tentative_claims(stored.claims)

    return announce
