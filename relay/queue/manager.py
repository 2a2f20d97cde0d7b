"""The queue manager (Postfix: qmgr): claims what is due, a task for each attempt, leases renewed while they last.

The rules: claims go to the spool only for what can be attempted at once; a destination fills its own slots only, and
one that is full or has had its messages of the minute is skipped; a failure of one attempt ends no other; a stop
claims nothing more, finishes what is under way and hands the rest back.

After a crash, what was claimed is unconfirmed. New messages do not wait for it; of it, one delivery at a time is sent
(relay.queue.attempt.UnconfirmedLock): only one which by itself ends the process, several times, is ever held."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial

from relay.model import Claim, Message
from relay.observability.events import InternalError
from relay.queue.attempt import Attempts
from relay.queue.early import EarlyTransactions
from relay.queue.message_cache import MessageCache, count_deliveries
from relay.queue.ports import DEFAULT, Limits, Ports
from relay.queue.throttle import Throttle
from relay.smtp_client import BegunTransaction
from relay.spool.port import Reservation, Spool, SpoolBroken


class QueueManager:
    """`run()` in a task of its own until `drain()`. clock: seconds since the epoch; monotonic, sleep: of the rate."""

    def __init__(
        self,
        spool: Spool,
        ports: Ports,
        limits: Limits = DEFAULT,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._spool = spool
        self._ports = ports
        self._limits = limits
        self._clock = clock
        self._cache = MessageCache(limits.remember)
        self._throttle = Throttle(ports.rate, limits.per_destination, monotonic)
        self._attempts = Attempts(spool, ports, self._cache, clock, jitter, limits.poll)
        self._early = EarlyTransactions(self._attempts.begin)
        self._tasks: dict[asyncio.Task[None], Claim] = {}
        self._reserved = 0
        self._claiming = 0  # places, in all and of each destination, that the claim under way may use
        self._backlog = True  # something may be due for which there is room: it goes before what is new
        self._stored_for: set[str] = set()  # destinations of what was stored since the last claim: something is due
        self._full = True  # no room for some at the last claim: the end of an attempt may make some
        self._unconfirmed: set[str] = set()  # destinations for which an unconfirmed delivery is under way
        self._unconfirmed_wake = asyncio.Event()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self.progress = time.monotonic()

    def reserve(self, message: Message) -> Reservation | None:
        """Places for the deliveries of `message`: stored claimed, which saves a commit. None: older ones wait.

        The caller must call `stored` or `give_back` for it.
        """
        free = self._limits.attempts - len(self._tasks) - self._reserved - self._claiming
        if self._backlog or self._stopping.is_set() or self._ended.is_set() or free <= 0:
            return None
        places = self._throttle.reserve(count_deliveries(message), free, self._claiming)
        self._reserved += sum(places.values())
        return Reservation(self._limits.lease, places, partial(self._begin_early, message))

    def stored(self, message: Message, reservation: Reservation | None, claims: Collection[Claim]) -> None:
        """`message` was just stored: deliver it from memory, now."""
        by_destination = count_deliveries(message)
        deliveries = sum(by_destination.values())
        self._cache.add(message, deliveries)
        begun = self._early.take(message)
        for claim in claims:
            self._start(claim, begun.pop(claim.token, None))
        for each in begun.values():
            each.withdraw()
        if reservation is not None:
            self._release(reservation, claims)
        if deliveries > len(claims):
            self._stored_for.update(by_destination)
            self._wake.set()

    def give_back(self, message: Message, reservation: Reservation) -> None:
        """`message` was not stored."""
        self._early.withdraw(message)
        self._release(reservation, ())

    def _begin_early(self, message: Message, claims: Collection[Claim]) -> None:
        if not self._stopping.is_set():
            self._early.begin(message, claims)

    def _release(self, reservation: Reservation, used: Collection[Claim]) -> None:
        self._reserved -= sum(reservation.room.values())
        unused = dict(reservation.room)
        for claim in used:
            unused[claim.delivery.destination] -= 1
        self._throttle.give_back(unused)

    def notify(self) -> None:
        """Something may be due."""
        self._wake.set()

    @property
    def under_way(self) -> int:
        """Claims that are not settled yet."""
        return len(self._tasks)

    def alive(self) -> bool:
        """The loop runs and turned not long ago."""
        return not self._ended.is_set() and time.monotonic() - self.progress < self._limits.stalled

    async def run(self) -> None:
        """Until `drain`, or until the spool is broken (then `ports.broken` was called)."""
        self._ended.clear()
        renewing = asyncio.create_task(self._renew_leases())
        confirming = asyncio.create_task(self._attempt_unconfirmed())
        try:
            while not self._stopping.is_set():
                self.progress = time.monotonic()
                self._wake.clear()
                try:
                    claimed = await self._claim()
                except SpoolBroken as error:
                    self._on_spool_failure(error)
                    return
                except Exception as error:
                    self._ports.observe(InternalError("queue", error))
                    claimed = False
                if not claimed:
                    await self._sleep()
        finally:
            renewing.cancel()
            if not self._stopping.is_set():  # `run` itself was cancelled
                confirming.cancel()
            await asyncio.wait([confirming])
            self._ended.set()

    async def drain(self, timeout: float) -> int:
        """Claim nothing more and let what is under way end; after `timeout` seconds cut it off. How many were cut."""
        self._stopping.set()
        self._wake.set()
        self._unconfirmed_wake.set()
        await self._ended.wait()  # a claim on its way to the spool still becomes a task, and is handed back there
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout)
        cut = tuple(self._tasks)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        return len(cut)

    async def _claim(self) -> bool:
        """Claim what is due and begin its attempts; True when more may be due for which there is room."""
        self._full = True  # what ends before the claim returns may make room too
        if self._places() <= 0:
            self._backlog = True
            return False
        full = {name for name, free in self._throttle.room().items() if not free}
        if not await self._is_due(full):
            self._throttle.full = full
            self._full, self._backlog = bool(full), False
            return False
        room = self._places()
        if room <= 0:
            self._backlog = True
            return False
        if not self._backlog:
            # The rest is for what is stored meanwhile: else each claim would leave something for another.
            room -= room // 2
        # What is reserved meanwhile keeps off them, so no destination gets more than its slots.
        places, self._claiming = self._throttle.room(), room
        try:
            claims = await self._spool.claim(self._clock(), self._limits.lease, room, places)
        finally:
            self._claiming = 0
        for claim in claims:
            self._throttle.enter(claim.delivery.destination)
            self._start(claim)
        claimed = Counter(claim.delivery.destination for claim in claims)
        self._throttle.full = {name for name, free in places.items() if claimed[name] >= free}
        self._backlog = len(claims) == room
        self._full = self._backlog or bool(self._throttle.full)
        return self._backlog

    def _places(self) -> int:
        return min(self._limits.attempts - len(self._tasks) - self._reserved, self._limits.per_destination)

    def _start(self, claim: Claim, begun: BegunTransaction | None = None) -> None:
        task = asyncio.create_task(self._deliver(claim, begun), name=f"deliver {claim.delivery.id}")
        self._tasks[task] = claim
        task.add_done_callback(self._done)
        if begun is not None:
            task.add_done_callback(lambda _: begun.withdraw())  # also of a task that is cancelled before it runs

    async def _is_due(self, full: Collection[str]) -> bool:
        """Whether a claim would find something. What was just stored is due: the spool need not be asked."""
        just_stored = not self._stored_for.issubset(full)
        self._stored_for.clear()
        if just_stored:
            return True
        due = await self._spool.next_due(full)
        return due is not None and due <= self._clock()

    async def _attempt_unconfirmed(self) -> None:
        """Claim what an earlier claim left unconfirmed, one delivery for each destination at a time. Looks when one of
        them ends, and now and then, for leases that expire while we run."""
        while not self._stopping.is_set():
            self._unconfirmed_wake.clear()
            try:
                while await self._claim_unconfirmed():
                    continue
            except SpoolBroken as error:
                self._on_spool_failure(error)
                return
            except Exception as error:
                self._ports.observe(InternalError("queue", error))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.lease / 3):
                    await self._unconfirmed_wake.wait()

    async def _claim_unconfirmed(self) -> bool:
        if self._stopping.is_set():
            return False
        room = dict.fromkeys(self._unconfirmed, 0)
        claims = await self._spool.claim(self._clock(), self._limits.lease, 1, room, unconfirmed=True)
        for claim in claims:
            self._unconfirmed.add(claim.delivery.destination)
            self._throttle.enter(claim.delivery.destination)
            self._start(claim)
        return bool(claims)

    async def _sleep(self) -> None:
        """Until something is stored or ends; at most one poll, for operators' actions and what falls due."""
        pause = self._limits.poll
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _deliver(self, claim: Claim, begun: BegunTransaction | None) -> None:
        destination, allowed = claim.delivery.destination, False
        try:
            allowed = await self._allowed(destination, begun)
            if not allowed:
                await self._attempts.hand_back(claim)
            elif await self._attempts.run(claim, begun):
                self.notify()
        except SpoolBroken as error:
            self._on_spool_failure(error)
        except Exception as error:
            self._ports.observe(InternalError("delivery", error, queue_id=claim.delivery.queue_id))
        finally:
            self._throttle.leave(destination, allowed)

    async def _allowed(self, destination: str, begun: BegunTransaction | None) -> bool:
        """Wait for the destination's messages of the minute; False when the relay stops meanwhile. Who has to wait
        keeps no connection."""
        while not self._stopping.is_set():
            pause = self._throttle.allow(destination)
            if pause <= 0:
                return True
            if begun is not None:
                begun.withdraw()
            try:
                async with asyncio.timeout(min(pause, self._limits.poll)):
                    await self._stopping.wait()
            except TimeoutError:
                continue
        return False

    def _done(self, task: asyncio.Task[None]) -> None:
        claim = self._tasks.pop(task)
        if claim.unconfirmed:
            self._unconfirmed.discard(claim.delivery.destination)
            self._unconfirmed_wake.set()
        if self._full:
            self._wake.set()

    async def _renew_leases(self) -> None:
        """A claim that is no longer ours is being attempted elsewhere: ours is cancelled."""
        while True:
            await asyncio.sleep(self._limits.lease / 3)
            for task, claim in tuple(self._tasks.items()):
                try:
                    held = await self._spool.renew(claim, self._clock() + self._limits.lease)
                except Exception as error:
                    self._ports.observe(InternalError("lease", error, queue_id=claim.delivery.queue_id))
                    continue
                if not held:
                    task.cancel()

    def _on_spool_failure(self, error: SpoolBroken) -> None:
        self._stopping.set()
        self._wake.set()
        self._unconfirmed_wake.set()
        self._ports.broken(str(error))
