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
from relay.observability import events
from relay.spool.delivery_rules import Tallies
from relay.spool.port import (
    FREE,
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
from relay.spool.sqlite import database, queries, rows, segments, transactions
from relay.spool.sqlite import lock as sqlite_lock
from relay.spool.sqlite import queries as sqlite_queries
from relay.spool.sqlite.checkpoint import Checkpointer
from relay.spool.sqlite.disk_reservation import DiskReservation, drop_ballast
from relay.spool.sqlite.errors import meaning, told
from relay.spool.sqlite.insert import Incoming, Storing
from relay.spool.sqlite.raw_messages import Appender, Content, next_place
from relay.spool.sqlite.segments import Segments, Sizes
from relay.spool.sqlite.writer import Job, Verb, Writer, one_by_one

Item = TypeVar("Item")
T = TypeVar("T")
log = structlog.get_logger(__name__)

RESERVE = 16 * 1024 * 1024
"""Octets left free when messages are refused for lack of space: what is queued must still be claimed and settled."""

_FULL_SECONDS = 5.0
_VACUUM_PAGES = 2000


class SqliteSpool:
    """See `relay.spool.port.Spool`. Made by `relay.spool.open.open_spool`; `notices` are sentences for the operator."""

    def __init__(
        self,
        path: Path,
        *,
        lock: sqlite_lock.Lock | None,
        clock: Callable[[], float] = time.time,
        windows: RetentionWindows | None = None,
        ceiling: float = 3600.0,
        notices: tuple[str, ...] = (),
    ) -> None:
        self.ceiling = ceiling
        self.notices = notices
        self._path = path
        self._free = sqlite_lock.Free(path.parent)
        self._lock = lock
        self._clock = clock
        self._windows = windows or RetentionWindows()
        self._turn = 0
        self._corrupt = len(notices)
        self._full_until = 0.0
        self._closed = False
        self._room = DiskReservation(path) if lock is not None else None
        self._connection = database.connect(path)
        self._reading = database.connect(path, query_only=True)
        self._segments = Segments(path)
        self._appender = Appender(self._segments, next_place(self._reading, self._segments), owned=lock is not None)
        self._content = Content(self._segments, self._appender)
        self._storing = Storing(self._windows, self._content)
        self._verbs = transactions.Transactions(self._storing)
        self._reader = ThreadPoolExecutor(1, "spool-reader")
        self._counting = database.connect(path, query_only=True)
        self._counter = ThreadPoolExecutor(1, "spool-counter")
        self._sizes = Sizes(self._segments)
        self._checkpoints = Checkpointer(path, lambda error: self._writer.fail(error), self._keep_room)
        self._writer = Writer(self._connection, self._appender, self._checkpoints.committed)
        self._keep_room()

    async def store(self, mail: Message, take: Reservation | None = None) -> Stored:
        room, wanted = self._free.octets(), 2 * len(mail.raw)
        if room < RESERVE + wanted:
            raise SpoolFull(f"only {room} octets are free under {self._path.parent}")
        self._free.spend(wanted)
        now = self._clock()
        try:
            return await self._writer.run(self._storing.store, Incoming(mail, now, take), len(mail.raw))
        except SpoolFull:
            self._full_until = time.monotonic() + _FULL_SECONDS
            raise

    async def claim(
        self, now: float, lease: float, limit: int, room: Mapping[str, int] = FREE, *, unconfirmed: bool = False
    ) -> tuple[Claim, ...]:
        if unconfirmed:
            return await self._change(lambda db: self._verbs.claim_unconfirmed(db, now, lease, limit, room))
        turn, self._turn = self._turn, self._turn + limit
        return await self._change(lambda db: self._verbs.claim(db, now, lease, limit, room, turn, self.ceiling))

    async def begin(self, claim: Claim) -> bool:
        return await self._change(lambda db: transactions.begin(db, claim))

    async def renew(self, claim: Claim, lease: float) -> bool:
        return await self._change(lambda db: transactions.renew(db, claim, lease))

    async def settle(self, claim: Claim, transition: Transition, follow_ups: Sequence[Message] = ()) -> bool:
        settlement = transactions.Settlement(claim, transition, follow_ups, self._clock())
        return await self._must(self._verbs.settle, settlement)

    async def load(self, queue_id: str) -> Message | None:
        try:
            mail, sound = await self._read(lambda db: sqlite_queries.mail(db, self._content, queue_id))
        except sqlite_queries.Unreadable:
            mail, sound = None, False
        if not sound:
            await self._set_aside(queue_id)
            return None
        return mail

    async def _set_aside(self, queue_id: str) -> None:
        now = self._clock()
        if await self._change(lambda db: sqlite_queries.set_aside(db, queue_id, now)):
            self._corrupt += 1
            log.error(events.EventName.MESSAGE_CORRUPT, queue_id=queue_id)

    async def due(self, full: Collection[str] = ()) -> float | None:
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
        return await self._read(lambda db: sqlite_queries.record(db, self._content, queue_id))

    async def set_state(
        self, queue_id: str, number: int | None, given: OperatorAction, now: float
    ) -> tuple[Delivery, ...]:
        return await self._change(lambda db: self._verbs.set_state(db, queue_id, number, given, now))

    async def replan(
        self, queue_id: str, plans: Sequence[Plan], given: OperatorAction, now: float
    ) -> tuple[Delivery, ...]:
        return await self._change(lambda db: self._verbs.replan(db, queue_id, plans, given, now))

    async def operator_actions(self, limit: int = 100) -> tuple[RecordedAction, ...]:
        return await self._read(lambda db: rows.operator_actions(db, limit))

    async def operator_actions_logged(self, ids: Collection[int]) -> None:
        await self._change(lambda db: rows.delete_operator_actions(db, ids))

    async def bounced(self, queue_id: str, number: int, text: str, now: float, *, failed: bool) -> bool:
        return await self._change(lambda db: self._verbs.bounced(db, queue_id, number, text, now, failed))

    async def report(self, about: Sequence[tuple[Delivery, str]], mails: Sequence[Message], now: float) -> None:
        await self._change(lambda db: self._verbs.report(db, about, mails, now))

    async def secret(self) -> bytes:
        (value,) = await self._read(
            lambda db: db.execute("SELECT value FROM secrets WHERE name = 'return_path'").fetchone()
        )
        return bytes(value)

    async def purge(self, before: float, limit: int = 100, *, withheld: float | None = None) -> int:
        now = self._clock()
        emptied = await self._change(lambda db: sqlite_queries.purge(db, self._content, before, limit, withheld))
        await self._change(lambda db: sqlite_queries.expire(db, self._windows, now))
        await self._change(lambda db: sqlite_queries.shrink(db, _VACUUM_PAGES))
        if self._lock is not None:
            settled = self._appender.settled
            work = await self._read(lambda db: segments.look(db, self._segments, settled, emptied))
            await asyncio.to_thread(segments.carry_out, self._segments, work)
            if work.holes:
                self._sizes.forget()
            try:
                await asyncio.to_thread(self._keep_room)
            except OSError as error:
                raise SpoolError(f"no room can be reserved for the spool: {told(error)}") from error
        return len(emptied)

    async def stats(self) -> Stats:
        return await self._count(self._figures)

    def _figures(self, db: sqlite3.Connection) -> Stats:
        octets = sqlite_lock.octets(self._path) + self._sizes.total(self._appender.settled.segment)
        return queries.stats(db, octets, sqlite_lock.free_octets(self._path.parent), self._corrupt)

    async def tally(self, since: float, until: float) -> Mapping[str | None, PeriodStatistics]:
        """In steps: a month of plans is long to read, and other readers wait in the same line."""
        tallies, after = Tallies(), 0
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
            return SpoolError(f"the spool's folder {self._path.parent} cannot be read: {told(error)}")
        if free < RESERVE:
            return SpoolFull(f"less than {RESERVE} octets are free under {self._path.parent}")
        if time.monotonic() < self._full_until:
            return SpoolFull("the spool could not be written a moment ago")
        return None

    def degraded(self) -> str | None:
        return self._checkpoints.failure

    async def _change(self, job: Job[T]) -> T:
        return await self._must(one_by_one, job)

    async def _must(self, verb: Verb[Item, T], item: Item) -> T:
        """Run what must go through on a full disk as well: what ends a delivery needs little room."""
        with contextlib.suppress(SpoolFull):
            return await self._writer.run(verb, item)
        await asyncio.to_thread(self._checkpoints.begin_anew)
        try:
            return await self._writer.run(verb, item)
        except SpoolFull:
            if not drop_ballast(self._path):
                raise
        return await self._writer.run(verb, item)

    def _keep_room(self) -> None:
        if self._room is not None:
            self._room.keep()

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        return await self._ask(self._reader, query, self._reading)

    async def _count(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What may take long: other readers do not wait for it."""
        return await self._ask(self._counter, query, self._counting)

    async def _ask(
        self, thread: ThreadPoolExecutor, query: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection
    ) -> T:
        if self._closed:
            raise SpoolError("the spool is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, query, connection)
        except OSError as error:
            raise SpoolError(f"the spool cannot be read: {told(error)}") from error
        except sqlite3.Error as error:
            known = meaning(error)
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
        if self._room is not None:
            self._room.keep()  # for a start on a full disk
            self._room.close()
        if self._lock is not None:
            if isinstance(self._writer.broken, SpoolDamaged):
                sqlite_lock.suspect(self._path).touch(0o600)
            self._lock.release()
