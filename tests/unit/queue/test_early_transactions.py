"""The dialogue with the next hop begins while the commit is under way; the content leaves once it is durable."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from relay.model import Claim, Envelope, Message, Plan, Recipient, Retry, State
from relay.observability.events import AttemptEnded, Event, InternalError
from relay.queue import Limits, Ports, QueueManager, RouteError
from relay.queue.ports import Octets
from relay.replies import Delivered, Failed
from relay.smtp_client import ConnectionPools, Route, Tls
from relay.spool.port import Query, Reservation, SpoolFull, Stored
from tests.support import outgoing
from tests.support.memory_spool import MemorySpool
from tests.support.peer import Later, Peer, Say
from tests.support.spool_messages import facturx, mail, plan

NOW = 1_000_000.0
TO = "client@agiris.example"
CONTENT = b"Subject: x\r\n\r\nbody\r\n"


class GatedSpool(MemorySpool):
    """A commit ends when `committed` is set; with `error`, it fails."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: NOW)
        self.committed = asyncio.Event()
        self.error: Exception | None = None

    async def store(self, message: Message, reservation: Reservation | None = None) -> Stored:
        stored = await super().store(message, reservation)
        await self.committed.wait()
        if self.error is not None:
            raise self.error
        return stored


@dataclass
class Rig:
    """A queue manager, the pools of the daemon with one kept connection, and a scripted next hop."""

    peer: Peer
    spool: GatedSpool
    out: ConnectionPools
    events: list[Event] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    rates: dict[str, int] = field(default_factory=dict)
    signs: bool = False
    ticks: float = 0.0
    reservation: Reservation | None = None

    def build(self) -> QueueManager:
        async def sign(message: Message, chunks: Sequence[Octets]) -> Sequence[Octets]:
            return [b"DKIM-Signature: x\r\n", *chunks] if self.signs else chunks

        ports = Ports(
            send=self.out.send,
            begin=self.out.begin,
            route=lambda delivery: self.route,
            render=lambda message, _: [message.raw],
            retry=Retry,
            observe=self.observe,
            broken=lambda why: None,
            rate=lambda destination: self.rates.get(destination, 0),
            sign=sign,
            signs=lambda: self.signs,
        )
        self.manager = QueueManager(
            self.spool, ports, Limits(poll=0.01), clock=lambda: NOW, monotonic=lambda: self.ticks, jitter=lambda: 0.0
        )
        return self.manager

    @property
    def route(self) -> Route:
        return Route(self.peer.host, self.peer.port, Tls.NONE, connections=1)

    def observe(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, AttemptEnded):
            self.ended.set()

    async def accept(self, message: Message) -> Stored | None:
        """As the intake does; None when it was not stored."""
        async with asyncio.timeout(5):
            while (reservation := self.manager.reserve(message)) is None:
                await asyncio.sleep(0)
        self.reservation, stored = reservation, None
        try:
            stored = await self.spool.store(message, reservation)
        except SpoolFull:
            return None
        finally:
            if stored is None or stored.duplicate:
                self.manager.give_back(message, reservation)
        if not stored.duplicate:
            self.manager.stored(message, reservation, stored.claims)
        return stored

    async def envelope_arrived(self) -> None:
        await self.peer.wait_until(lambda: "DATA" in self.peer.commands)

    def nothing_begun(self) -> bool:
        return not any(each.startswith(("MAIL", "RCPT", "DATA")) for each in self.peer.commands)

    async def outcome(self) -> Any:
        async with asyncio.timeout(5):
            await self.ended.wait()
        [ended] = [each for each in self.events if isinstance(each, AttemptEnded)]
        return ended.outcome

    async def states(self) -> list[State]:
        return [each.state for each in await self.spool.find(Query())]


@asynccontextmanager
async def running(connected: bool = True) -> AsyncIterator[Rig]:
    async with Peer() as peer:
        rig = Rig(peer, GatedSpool(), ConnectionPools())
        if connected:
            await outgoing.send(rig.out, rig.route, "", [TO], [CONTENT])
            peer.commands.clear()
            peer.mails.clear()
            peer.taken = 0
        run = asyncio.create_task(rig.build().run())
        yield rig
        rig.spool.committed.set()
        await rig.manager.drain(1)
        await run
        assert rig.out.counts().get("default", (0, 0))[0] == 0, "every slot was given back"
        assert not any(isinstance(each, InternalError) for each in rig.events)
        await rig.out.close()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with running() as rig:
        yield rig


def letter(*plans: Plan, **fields: object) -> Message:
    return mail(*(plans or (plan(TO),)), at=NOW, raw=CONTENT, **fields)


async def test_the_envelope_arrives_during_the_commit_and_the_content_after_it(rig: Rig) -> None:
    accepting = asyncio.create_task(rig.accept(letter()))
    await rig.envelope_arrived()
    assert not accepting.done() and rig.peer.taken == 0
    rig.spool.committed.set()
    assert isinstance(await rig.outcome(), Delivered)
    assert [each.content for each in rig.peer.mails] == [CONTENT]
    assert rig.peer.sessions == 1 and await rig.states() == [State.DELIVERED]


async def test_after_a_commit_that_fails_the_next_hop_has_no_message(rig: Rig) -> None:
    rig.spool.error = SpoolFull("no room")
    accepting = asyncio.create_task(rig.accept(letter()))
    await rig.envelope_arrived()
    rig.spool.committed.set()
    assert await accepting is None
    await rig.peer.wait_until(lambda: rig.peer.open_now == 0)
    assert rig.peer.taken == 0 and rig.out.counts() == {"default": (0, 0)}
    rig.spool.error = None
    rig.peer.commands.clear()
    await rig.accept(letter())
    assert isinstance(await rig.outcome(), Delivered)
    assert (rig.peer.sessions, rig.peer.taken) == (2, 1), "on a connection of its own"


async def test_nothing_begins_for_a_copy(rig: Rig) -> None:
    rig.spool.committed.set()
    first = letter()
    await rig.accept(first)
    await rig.outcome()
    rig.peer.commands.clear()
    again = await rig.accept(replace(first, queue_id="another"))
    assert again is not None and again.duplicate
    assert rig.nothing_begun() and (rig.peer.sessions, rig.peer.taken) == (1, 1)


async def test_nothing_begins_for_what_the_spool_holds(rig: Rig) -> None:
    rig.spool.committed.set()
    await rig.accept(letter(plan(TO, documents=(facturx("F-1"),))))
    await rig.outcome()
    rig.peer.commands.clear()
    stored = await rig.accept(letter(plan(TO, documents=(facturx("F-1"),)), hold_duplicates=True))
    assert stored is not None and stored.held
    assert rig.nothing_begun() and set(await rig.states()) == {State.DELIVERED, State.HELD}


async def test_a_commit_that_is_repeated_withdraws_what_its_first_try_began(rig: Rig) -> None:
    accepting = asyncio.create_task(rig.accept(letter()))
    await rig.envelope_arrived()
    assert rig.reservation is not None and rig.reservation.on_tentative_claims is not None
    [delivery] = await rig.spool.find(Query())
    rig.reservation.on_tentative_claims([Claim(delivery, "another token", NOW + 60)])
    assert rig.out.counts() == {"default": (0, 0)}
    rig.spool.committed.set()
    await accepting
    assert isinstance(await rig.outcome(), Delivered)
    assert (rig.peer.sessions, rig.peer.taken) == (2, 1)


async def test_a_transaction_for_a_claim_that_did_not_come_into_being_is_withdrawn(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = rig.manager._begin_early

    def begin_others(message: Message, claims: Sequence[Claim]) -> None:
        begin(message, [replace(each, token="of a commit that failed") for each in claims])

    monkeypatch.setattr(rig.manager, "_begin_early", begin_others)
    rig.spool.committed.set()
    await rig.accept(letter())
    assert isinstance(await rig.outcome(), Delivered)
    assert (rig.peer.sessions, rig.peer.taken) == (2, 1)


async def test_a_recipient_rejected_during_the_commit_is_failed_after_it(rig: Rig) -> None:
    rig.peer.on("rcpt", Say("550 5.1.1 unknown"), times=1)
    accepting = asyncio.create_task(rig.accept(letter()))
    await rig.envelope_arrived()
    assert await rig.states() == [State.ACTIVE] and not rig.ended.is_set()
    rig.spool.committed.set()
    await accepting
    assert isinstance(await rig.outcome(), Failed)
    assert await rig.states() == [State.FAILED]


async def test_a_connection_lost_during_the_commit_is_replaced_in_the_same_attempt(rig: Rig) -> None:
    rig.peer.on("data", Say("421 4.4.2 too slow", close=True), times=1)
    accepting = asyncio.create_task(rig.accept(letter()))
    await rig.peer.wait_until(lambda: rig.peer.open_now == 0)
    rig.spool.committed.set()
    await accepting
    assert isinstance(await rig.outcome(), Delivered)
    [delivery] = await rig.spool.find(Query())
    assert delivery.attempts == 1 and rig.peer.sessions == 2


async def test_a_slow_next_hop_keeps_nobody_from_storing(rig: Rig) -> None:
    gate = asyncio.Event()
    rig.peer.on("mail", Later(gate), times=1)
    rig.spool.committed.set()
    stored = await rig.accept(letter())
    assert stored is not None and stored.claims and not rig.ended.is_set()
    gate.set()
    assert isinstance(await rig.outcome(), Delivered)


async def test_a_stop_during_the_commit_hands_the_delivery_back_and_the_next_hop_has_no_message(rig: Rig) -> None:
    accepting = asyncio.create_task(rig.accept(letter()))
    await rig.envelope_arrived()
    rig.manager._stopping.set()
    rig.spool.committed.set()
    await accepting
    await rig.peer.wait_until(lambda: rig.peer.open_now == 0)
    await rig.manager.drain(1)
    assert rig.peer.taken == 0
    [delivery] = await rig.spool.find(Query())
    assert (delivery.state, delivery.attempts) == (State.DEFERRED, 0)


async def test_nothing_begins_once_the_relay_stops(rig: Rig) -> None:
    rig.spool.committed.set()
    message = letter()
    async with asyncio.timeout(5):
        while (reservation := rig.manager.reserve(message)) is None:
            await asyncio.sleep(0)
    rig.manager._stopping.set()
    stored = await rig.spool.store(message, reservation)
    assert stored.claims and rig.out.counts() == {"default": (0, 1)}
    rig.manager.stored(message, reservation, stored.claims)


async def test_a_caller_who_gives_up_during_the_commit_leaves_no_transaction(rig: Rig) -> None:
    accepting = asyncio.create_task(rig.accept(letter()))
    await rig.envelope_arrived()
    accepting.cancel()
    await rig.peer.wait_until(lambda: rig.peer.open_now == 0)
    assert rig.peer.taken == 0 and rig.out.counts() == {"default": (0, 0)}


async def test_who_has_to_wait_for_its_minute_keeps_no_connection(rig: Rig) -> None:
    accepting = asyncio.create_task(rig.accept(letter()))
    await rig.envelope_arrived()
    rig.rates["agiris"] = 1  # a reload
    rig.manager._throttle.enter("agiris")
    assert rig.manager._throttle.allow("agiris") == 0  # another took the only one of this minute
    rig.spool.committed.set()
    await accepting
    await rig.peer.wait_until(lambda: rig.peer.open_now == 0)
    assert rig.peer.taken == 0 and rig.out.counts() == {"default": (0, 0)}
    rig.ticks = 61.0
    assert isinstance(await rig.outcome(), Delivered)


async def test_a_sender_who_asks_is_notified_of_success(rig: Rig) -> None:
    asking = Recipient("acme@export.relay.example", frozenset({"SUCCESS"}))
    rig.spool.committed.set()
    envelope = Envelope("platform@jefacture.example", (asking,))
    await rig.accept(letter(plan(TO, answers=(asking.address,)), envelope=envelope))
    assert isinstance(await rig.outcome(), Delivered) and rig.peer.sessions == 1
    [ended] = [each for each in rig.events if isinstance(each, AttemptEnded)]
    assert ended.transition.report == "delivered" and not rig.manager._attempts.success_requested


def _signing(rig: Rig) -> None:
    rig.signs = True


def _no_route(rig: Rig) -> None:
    def route(delivery: object) -> Route:
        raise RouteError("gone")

    rig.manager._attempts = replace(rig.manager._attempts, ports=replace(rig.manager._ports, route=route))  # type: ignore[arg-type]
    rig.manager._early._begin = rig.manager._attempts.begin


@pytest.mark.parametrize("case", [_signing, _no_route], ids=["signing", "no route"])
async def test_what_does_not_fit_begins_after_the_commit(rig: Rig, case: Callable[[Rig], None]) -> None:
    case(rig)
    rig.spool.committed.set()
    await rig.accept(letter())
    assert rig.nothing_begun()
    await rig.outcome()
    if rig.signs:
        assert rig.peer.mails[0].content == b"DKIM-Signature: x\r\n" + CONTENT


async def test_without_a_kept_connection_it_begins_after_the_commit() -> None:
    async with running(connected=False) as rig:
        accepting = asyncio.create_task(rig.accept(letter()))
        await asyncio.sleep(0)
        assert not rig.peer.sessions
        rig.spool.committed.set()
        await accepting
        assert isinstance(await rig.outcome(), Delivered)
