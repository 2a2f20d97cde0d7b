"""The queue manager: what is due leaves, what fails stays in its place, and a stop loses nothing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from relay.lifecycle import Transition
from relay.model import (
    Claim,
    Delivery,
    Envelope,
    Message,
    OperatorAction,
    Plan,
    Recipient,
    Recoding,
    Retry,
    Span,
    State,
)
from relay.observability.event_names import EventName
from relay.observability.events import Event
from relay.observability.observer import _TABLE, Observer
from relay.queue import Limits, Ports, QueueManager, RouteError
from relay.queue.message_cache import VALUES_SIZE, MessageCache
from relay.queue.throttle import Throttle
from relay.reasons import Reason
from relay.replies import Deferred, Delivered, ErrorKind, Failed, Outcome, Reply, Stage, failure
from relay.smtp_client import ConnectionPools, MessageFactory, OutgoingMessage, Route, Tls, Unreachable
from relay.spool.port import Query, Reservation, SpoolBroken, SpoolFull, Stored
from tests.support.memory_spool import MemorySpool
from tests.support.peer import Drop, Peer, Say
from tests.support.spool_messages import mail, plan

TAKEN = Delivered(Reply(250, "2.0.0", "taken"))
BUSY = Deferred(Reply(450, "4.2.1", "busy"), Stage.RCPT)
NO = Failed(Reply(550, "5.1.1", "unknown"), Stage.RCPT)
NOW = 1_000_000.0


def logged_as(event: Event) -> EventName:
    ((name, _),) = _TABLE[type(event)][0](event)
    return name


@dataclass
class Queue:
    """A queue manager with a spool in memory, a clock set by hand and a next hop that is a function."""

    spool: MemorySpool
    answer: Callable[[str, str], Awaitable[Outcome]]
    rates: dict[str, int] = field(default_factory=dict)
    now: float = NOW
    ticks: float = 0.0
    sent: list[str] = field(default_factory=list)
    outgoing: list[OutgoingMessage] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    reports: list[Message] = field(default_factory=list)
    route: Callable[[Delivery], Route] = lambda delivery: Route("next", name=delivery.smarthost)
    render: Callable[[Message, Plan], Sequence[bytes]] = lambda mail, plan: [mail.raw]
    limits: Limits = field(default_factory=lambda: Limits(poll=0.01))
    retry: Retry = field(default_factory=Retry)

    def __post_init__(self) -> None:
        self.changed = asyncio.Condition()

    def build(self) -> QueueManager:
        ports = Ports(
            send=self._send,
            route=lambda delivery: self.route(delivery),
            render=lambda mail, plan: self.render(mail, plan),
            retry=lambda: self.retry,
            observe=self._observe,
            broken=self.broken.append,
            rate=lambda destination: self.rates.get(destination, 0),
            report=lambda mail, delivery, transition: self.reports,
        )
        self.manager = QueueManager(
            self.spool, ports, self.limits, clock=lambda: self.now, monotonic=lambda: self.ticks, jitter=lambda: 0.0
        )
        return self.manager

    async def _send(self, route: Route, compose: MessageFactory) -> Any:
        letter = await compose()
        [recipient] = letter.recipients
        self.outgoing.append(letter)
        self.sent.append(recipient)
        await self._notify()
        return {recipient: await self.answer(recipient, route.name)}

    def _observe(self, event: Event) -> None:
        self.events.append(event)
        self._task = asyncio.ensure_future(self._notify())

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(condition)

    def happened(self, name: EventName) -> list[Any]:
        """The events that are logged under `name`."""
        return [event for event in self.events if logged_as(event) is name]

    async def store(self, *mails: Message, remember: bool = True) -> None:
        for each in mails:
            await self.spool.store(each)
            if remember:
                self.manager.stored(each, None, ())
            else:
                self.manager.notify()

    async def states(self) -> dict[State, int]:
        return dict(Counter(each.state for each in await self.spool.find(Query())))


async def takes(recipient: str, smarthost: str) -> Outcome:
    return TAKEN


@pytest.fixture
async def queue() -> AsyncIterator[Queue]:
    queue = Queue(MemorySpool(clock=lambda: queue.now), takes)
    queue.build()
    running = asyncio.create_task(queue.manager.run())
    yield queue
    await queue.manager.drain(1)
    await running


def answers(*outcomes: Outcome) -> Callable[[str, str], Awaitable[Outcome]]:
    left = list(outcomes)

    async def answer(recipient: str, smarthost: str) -> Outcome:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


async def test_a_stored_message_leaves_at_once_and_is_settled(queue: Queue) -> None:
    await queue.store(mail(at=NOW))
    await queue.until(lambda: bool(queue.happened(EventName.DELIVERED)))
    assert await queue.states() == {State.DELIVERED: 1}
    [ended] = queue.happened(EventName.DELIVERED)
    assert ended.transition.reply == "250 2.0.0 taken" and ended.delivery.attempts == 1
    assert [logged_as(event) for event in queue.events] == [EventName.ATTEMPT, EventName.DELIVERED]


async def test_each_attempt_has_its_number_and_the_same_octets_for_a_next_hop_of_seven_bits(queue: Queue) -> None:
    queue.answer = answers(BUSY, TAKEN)
    raw = b"Subject: x\r\n\r\n\xc3\xa9\r\n"
    recodings = (Recoding(Span(0, 0), Span(14, 18)),)
    await queue.store(mail(plan("a@x", prepend=b"X-Top: 1\r\n", recodings=recodings), raw=raw, at=NOW))
    await queue.until(lambda: bool(queue.happened(EventName.DEFERRED)))
    queue.now += 3600
    queue.manager.notify()
    await queue.until(lambda: bool(queue.happened(EventName.DELIVERED)))
    assert [each.attempt for each in queue.outgoing] == [1, 2]
    for letter in queue.outgoing:
        assert letter.seven_bit is not None
        assert b"".join(await letter.seven_bit()) == (
            b"X-Top: 1\r\nContent-Transfer-Encoding: quoted-printable\r\nSubject: x\r\n\r\n=C3=A9\r\n"
        )
    await queue.store(mail(at=NOW))
    await queue.until(lambda: len(queue.outgoing) == 3)
    assert queue.outgoing[2].seven_bit is None


async def test_a_cached_message_is_not_read_again_and_is_dropped_after_its_attempt(queue: Queue) -> None:
    loads: list[str] = []
    real = queue.spool.load

    async def load(queue_id: str) -> Message | None:
        loads.append(queue_id)
        return await real(queue_id)

    queue.spool.load = load  # type: ignore[method-assign]
    await queue.store(mail(at=NOW))
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 1)
    assert loads == []
    assert len(queue.manager._cache) == 0
    await queue.store(mail(at=NOW), remember=False)
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 2)
    assert len(loads) == 1


async def test_the_spool_is_asked_no_more_than_there_is_to_know() -> None:
    queue = Queue(MemorySpool(clock=lambda: NOW), takes, limits=Limits(poll=60))
    queue.build()
    calls: list[str] = []
    due, claim = queue.spool.next_due, queue.spool.claim

    async def asked(full: Sequence[str] = ()) -> float | None:
        calls.append("due")
        return await due(full)

    async def claimed(*given: Any, **which: Any) -> Any:
        if not which:  # what is unconfirmed is asked for once, at the start
            calls.append("claim")
        return await claim(*given, **which)

    queue.spool.next_due, queue.spool.claim = asked, claimed  # type: ignore[method-assign]
    running = asyncio.create_task(queue.manager.run())

    async def at_rest() -> None:
        async with asyncio.timeout(5):
            while not calls or queue.manager._wake.is_set() or queue.manager.under_way:
                await asyncio.sleep(0)

    await at_rest()
    for remember, expected in ((True, ["claim"]), (False, ["due", "claim"])):
        calls.clear()
        queue.events.clear()
        await queue.store(mail(at=NOW), remember=remember)
        await queue.until(lambda: bool(queue.happened(EventName.DELIVERED)))
        await at_rest()
        assert calls == expected
    await queue.manager.drain(1)
    await running


@pytest.mark.parametrize("seed", range(40))
async def test_all_leave_without_waiting_for_a_poll_whatever_ends_when(seed: int) -> None:
    draw = Random(seed)

    async def a_while() -> None:
        for _ in range(draw.randrange(8)):
            await asyncio.sleep(0)

    async def answer(recipient: str, smarthost: str) -> Outcome:
        await a_while()
        return TAKEN

    limits = Limits(attempts=draw.randint(1, 12), per_destination=draw.randint(1, 4), poll=60)
    queue = Queue(MemorySpool(clock=lambda: NOW), answer, limits=limits)
    claim = queue.spool.claim

    async def claimed(*given: Any, **which: Any) -> Any:
        claims = await claim(*given, **which)
        await a_while()
        return claims

    queue.spool.claim = claimed  # type: ignore[method-assign]
    running = asyncio.create_task(queue.build().run())
    for number in range(40):
        await queue.store(mail(plan("c@d.example", destination=draw.choice("aaab")), at=NOW), remember=number % 3 > 0)
        await a_while()
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 40)
    await queue.manager.drain(1)
    await running


@pytest.mark.parametrize("seed", range(40))
async def test_nothing_has_more_than_its_slots_whether_it_is_stored_as_claimed_or_claimed_later(seed: int) -> None:
    draw = Random(seed)
    limits = Limits(attempts=draw.randint(2, 12), per_destination=draw.randint(1, 5), poll=60)

    async def a_while() -> None:
        for _ in range(draw.randrange(8)):
            await asyncio.sleep(0)

    async def answer(recipient: str, smarthost: str) -> Outcome:
        under_way = Counter(each.delivery.destination for each in queue.manager._tasks.values())
        assert under_way.total() <= limits.attempts and max(under_way.values()) <= limits.per_destination
        await a_while()
        return TAKEN

    queue = Queue(MemorySpool(clock=lambda: NOW), answer, limits=limits)
    claim = queue.spool.claim

    async def claimed(*given: Any, **which: Any) -> Any:
        await a_while()
        claims = await claim(*given, **which)
        await a_while()
        return claims

    async def accept(given: Message) -> None:
        take = queue.manager.reserve(given)
        await a_while()
        queue.manager.stored(given, take, (await queue.spool.store(given, take)).claims)

    queue.spool.claim = claimed  # type: ignore[method-assign]
    running = asyncio.create_task(queue.build().run())
    accepting = []
    for _ in range(60):
        given = mail(
            plan(*("c@d.example", "e@d.example")[: draw.randint(1, 2)], destination=draw.choice("aaab")), at=NOW
        )
        accepting.append(asyncio.create_task(accept(given)))
        await a_while()
    await asyncio.gather(*accepting)
    deliveries = len(await queue.spool.find(Query()))
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == deliveries)
    assert not queue.happened(EventName.DEFERRED)
    await queue.manager.drain(1)
    await running
    assert not queue.manager._reserved and not any(queue.manager._throttle._active.values())


async def test_a_message_that_finds_its_place_free_is_stored_as_claimed(queue: Queue) -> None:
    await settled_down(queue)
    given = mail(plan("a@agiris.example"), plan("b@agiris.example"), at=NOW)
    take = queue.manager.reserve(given)
    assert take is not None and take.room == {"agiris": 2}
    stored = await queue.spool.store(given, take)
    queue.manager.stored(given, take, stored.claims)
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 2)
    assert {ended.delivery.attempts for ended in queue.happened(EventName.DELIVERED)} == {1}
    assert queue.manager.reserve(given) == take, "its places are free again"


async def test_places_are_kept_for_no_more_than_a_destination_takes_and_never_twice() -> None:
    queue = Queue(MemorySpool(clock=lambda: NOW), takes, limits=Limits(attempts=6, per_destination=3, poll=0.01))
    manager = queue.build()
    running = asyncio.create_task(manager.run())
    await settled_down(queue)
    given = mail(plan("a@x", "b@x", destination="one"), at=NOW)
    room = [take.room if (take := manager.reserve(given)) else None for _ in range(3)]
    assert room == [{"one": 2}, {"one": 1}, {"one": 0}]
    other = mail(plan(*(f"{n}@x" for n in range(9)), destination="two"), at=NOW)
    take = manager.reserve(other)
    assert take is not None and take.room == {"two": 3} and manager.reserve(other) is None, "six attempts in all"
    manager.give_back(other, take)
    assert manager.reserve(other) == take
    await manager.drain(1)
    await running


async def test_a_claim_on_its_way_leaves_places_to_what_is_stored_meanwhile() -> None:
    """Else what came meanwhile would need the next claim, and so on for as long as messages come."""
    gate, asked = asyncio.Event(), asyncio.Event()

    async def answer(recipient: str, smarthost: str) -> Outcome:
        await gate.wait()
        return TAKEN

    queue = Queue(MemorySpool(clock=lambda: NOW), answer, limits=Limits(attempts=12, per_destination=6, poll=60))
    running = asyncio.create_task(queue.build().run())
    await settled_down(queue)
    real, inside = queue.spool.claim, []

    async def claim(now: float, lease: float, limit: int, *room: Any, **which: Any) -> tuple[Claim, ...]:
        claims = await real(now, lease, limit, *room, **which)
        if which:
            return claims
        inside.append((limit, len(claims)))
        asked.set()
        await gate.wait()
        return claims

    queue.spool.claim = claim  # type: ignore[method-assign]
    await queue.store(*(mail(at=NOW) for _ in range(9)))
    await asked.wait()
    assert inside == [(3, 3)]
    given = mail(at=NOW)
    takes = [queue.manager.reserve(given) for _ in range(4)]
    assert [take and take.room for take in takes] == [{"agiris": 1}] * 3 + [{"agiris": 0}]
    for take in takes:
        assert take is not None
        queue.manager.give_back(given, take)
    gate.set()
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 9)
    await queue.manager.drain(1)
    await running


async def test_what_waits_goes_before_what_is_new(queue: Queue) -> None:
    given = mail(plan("a@agiris.example"), at=NOW)
    queue.rates["agiris"] = 1
    await queue.store(given, mail(plan("b@agiris.example"), at=NOW))
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 1)
    queue.ticks = 61.0  # the next one may go; it is the one that waits
    take = queue.manager.reserve(given)
    assert take is None or not take.room["agiris"]


async def settled_down(queue: Queue) -> None:
    """Wait until the manager has looked and found nothing."""
    async with asyncio.timeout(5):
        while (take := queue.manager.reserve(given := mail(at=NOW))) is None:
            await asyncio.sleep(0)
    queue.manager.give_back(given, take)


async def test_a_plan_made_after_the_message_was_cached_is_read_from_the_spool(queue: Queue) -> None:
    whole = mail(plan("a@agiris.example"), plan("b@agiris.example"), at=NOW)
    await queue.spool.store(whole)
    queue.manager.stored(replace(whole, plans=whole.plans[:1]), None, ())
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 2)
    assert sorted(queue.sent) == ["a@agiris.example", "b@agiris.example"]


async def test_deferred_is_tried_again_when_due_and_not_before(queue: Queue) -> None:
    queue.answer = answers(BUSY, TAKEN)
    await queue.store(mail(at=NOW))
    await queue.until(lambda: bool(queue.happened(EventName.DEFERRED)))
    [delivery] = await queue.spool.find(Query())
    assert delivery.state is State.DEFERRED and delivery.next_attempt == NOW + 60
    queue.manager.notify()
    await asyncio.sleep(0)
    assert len(queue.sent) == 1
    queue.now = NOW + 60
    await queue.until(lambda: bool(queue.happened(EventName.DELIVERED)))
    assert len(queue.sent) == 2


async def test_refused_for_good_is_failed_and_its_report_is_stored_and_sent(queue: Queue) -> None:
    queue.answer = answers(NO, TAKEN)
    notice = mail(plan("firm@cabinet.example"), at=NOW, generated=True)
    queue.reports = [notice]
    await queue.store(mail(at=NOW))
    await queue.until(lambda: bool(queue.happened(EventName.DELIVERED)))
    assert queue.sent[-1] == "firm@cabinet.example"
    assert await queue.states() == {State.FAILED: 1, State.DELIVERED: 1}


async def test_a_report_that_cannot_be_written_does_not_keep_the_outcome_from_being_recorded(queue: Queue) -> None:
    queue.answer = answers(NO)
    queue.reports = None  # type: ignore[assignment]
    await queue.store(mail(at=NOW))
    await queue.until(lambda: bool(queue.happened(EventName.FAILED)))
    assert await queue.states() == {State.FAILED: 1}


async def test_late_is_reported_once(queue: Queue) -> None:
    queue.answer = answers(BUSY)
    queue.now = NOW + 5 * 3600
    await queue.store(mail(at=NOW))
    await queue.until(lambda: bool(queue.happened(EventName.DELAYED)))
    queue.now += 3600
    await queue.until(lambda: len(queue.happened(EventName.DEFERRED)) == 2)
    assert len(queue.happened(EventName.DELAYED)) == 1


async def test_an_order_given_in_the_spool_is_seen_without_notice(queue: Queue) -> None:
    queue.answer = answers(BUSY, TAKEN)
    stored = mail(at=NOW)
    await queue.store(stored)
    await queue.until(lambda: bool(queue.happened(EventName.DEFERRED)))
    await queue.spool.apply_action(stored.queue_id, None, OperatorAction("retry"), queue.now)
    await queue.until(lambda: bool(queue.happened(EventName.DELIVERED)))


async def test_nothing_is_read_from_the_spool_for_a_message_without_a_connection(queue: Queue) -> None:
    """48 attempts of 25 MB each would not fit; a next hop that is down holds no content at all."""
    read: list[str] = []
    load = queue.spool.load

    async def seen(queue_id: str) -> Message | None:
        read.append(queue_id)
        return await load(queue_id)

    async def down(route: Route, compose: MessageFactory) -> Any:
        raise Unreachable(failure(Stage.CONNECT, ErrorKind.UNREACHABLE, "refused"))

    queue.spool.load = seen  # type: ignore[method-assign]
    queue.manager._attempts = replace(
        queue.manager._attempts, ports=(ports := replace(queue.manager._ports, send=down))
    )
    await queue.store(mail(at=NOW), remember=False)
    await queue.until(lambda: bool(queue.happened(EventName.DEFERRED)))
    assert read == [] and queue.happened(EventName.DEFERRED)[0].outcome.stage is Stage.CONNECT
    queue.now += queue.retry.give_up + 1
    queue.retry = replace(queue.retry, attempts=1, give_up=1.0)
    queue.manager._attempts = replace(queue.manager._attempts, ports=ports)
    queue.reports = [mail(at=NOW, generated=True)]
    queue.manager.notify()
    await queue.until(lambda: bool(queue.happened(EventName.FAILED)))
    assert len(read) == 1, "but what is reported needs it"


async def test_a_message_that_cannot_be_read_is_deferred_with_an_alert(queue: Queue) -> None:
    async def lost(queue_id: str) -> None:
        return None

    queue.spool.load = lost  # type: ignore[method-assign]
    await queue.store(mail(at=NOW), remember=False)
    await queue.until(lambda: bool(queue.happened(EventName.DEFERRED)))
    [ended] = queue.happened(EventName.DEFERRED)
    assert ended.outcome.alert and "cannot be read" in ended.transition.reply and queue.sent == []


# What goes wrong in one attempt stays there.


def explode(*_: object) -> Any:
    raise ZeroDivisionError("a bug")


def unusable(*_: object) -> Any:
    raise RouteError("smarthost default: no password file")


@pytest.mark.parametrize(
    ("change", "enhanced"),
    [
        ({"render": explode}, "4.3.0"),
        ({"route": explode}, "4.3.0"),
        ({"route": unusable}, "4.3.5"),
        ({"answer": explode}, "4.3.0"),
    ],
)
async def test_a_bug_in_one_attempt_defers_it_with_an_alert(
    queue: Queue, change: dict[str, Any], enhanced: str
) -> None:
    before = {name: getattr(queue, name) for name in change}
    for name, value in change.items():
        setattr(queue, name, value)
    await queue.store(mail(at=NOW))
    await queue.until(lambda: bool(queue.happened(EventName.DEFERRED)))
    [ended] = queue.happened(EventName.DEFERRED)
    assert ended.outcome.alert and ended.outcome.reply.enhanced == enhanced and ended.outcome.stage is Stage.INTERNAL
    for name, value in before.items():
        setattr(queue, name, value)
    await queue.store(mail(at=NOW))
    await queue.until(lambda: bool(queue.happened(EventName.DELIVERED)))


async def test_an_observer_that_fails_keeps_nothing_from_leaving(queue: Queue) -> None:
    class Exploding:
        __getattr__ = explode

    observer = Observer(Exploding())  # type: ignore[arg-type]
    queue.manager._ports = replace(queue.manager._ports, observe=observer.observe)
    queue.manager._attempts = replace(queue.manager._attempts, ports=queue.manager._ports)
    await queue.store(mail(at=NOW))
    await queue.until(lambda: len(queue.sent) == 1)
    await queue.manager.drain(1)
    assert await queue.states() == {State.DELIVERED: 1}


async def test_a_spool_that_fails_once_is_asked_again(queue: Queue) -> None:
    real, failures = queue.spool.claim, [OSError("once")]

    async def claim(*arguments: Any, **which: Any) -> tuple[Claim, ...]:
        if failures and not which:
            raise failures.pop()
        return await real(*arguments, **which)

    queue.spool.claim = claim  # type: ignore[method-assign]
    await queue.store(mail(at=NOW))
    await queue.until(lambda: bool(queue.happened(EventName.DELIVERED)))


async def test_a_full_spool_is_waited_for_rather_than_the_outcome_lost(queue: Queue) -> None:
    real, failures = queue.spool.settle, [SpoolFull("no space"), SpoolFull("no space")]

    async def settle(*arguments: Any) -> bool:
        if failures:
            raise failures.pop()
        return await real(*arguments)

    queue.spool.settle = settle  # type: ignore[method-assign]
    await queue.store(mail(at=NOW))
    await queue.until(lambda: bool(queue.happened(EventName.DELIVERED)))
    assert len(queue.happened(EventName.SPOOL_FULL)) == 2
    assert len(queue.sent) == 1


async def test_an_outcome_is_recorded_though_the_lease_it_was_claimed_with_ended_while_the_spool_was_full(
    queue: Queue,
) -> None:
    real, failures = queue.spool.settle, [SpoolFull("no space"), SpoolFull("no space")]

    async def settle(*arguments: Any) -> bool:
        if failures:
            queue.now += queue.limits.lease  # the lease is renewed meanwhile
            raise failures.pop()
        return await real(*arguments)

    queue.spool.settle = settle  # type: ignore[method-assign]
    await queue.store(mail(at=NOW))
    await queue.until(lambda: bool(queue.happened(EventName.DELIVERED)))
    assert await queue.states() == {State.DELIVERED: 1}


@pytest.mark.parametrize("verb", ["claim", "next_due", "load", "settle"])
async def test_a_broken_spool_is_reported_to_the_daemon_and_ends_the_manager(queue: Queue, verb: str) -> None:
    async def broken(*_: Any, **which: Any) -> Any:
        raise SpoolBroken("fsync failed")

    await queue.spool.store(mail(at=NOW))
    setattr(queue.spool, verb, broken)
    queue.manager.notify()
    async with asyncio.timeout(5):
        await queue.manager._ended.wait()
        while queue.manager.under_way:
            await asyncio.sleep(0)
    assert queue.broken == ["fsync failed"]
    assert not queue.manager.alive()


async def test_a_lost_claim_is_reported_and_nothing_is_recorded(queue: Queue) -> None:
    async def settle(claim: Claim, transition: Transition, follow_ups: Sequence[Message] = ()) -> bool:
        return False

    queue.spool.settle = settle  # type: ignore[method-assign]
    await queue.store(mail(at=NOW))
    await queue.until(lambda: bool(queue.happened(EventName.ATTEMPT_UNCONFIRMED)))
    assert not queue.happened(EventName.DELIVERED)


# After a crash: what was claimed then is unconfirmed.

CRASHED = Reservation(-1.0, {"agiris": 48, "slow": 48})
"""Claimed in the commit that stored it, and its lease is over: as if the process had died since."""


async def restarted(queue: Queue) -> asyncio.Task[None]:
    return asyncio.create_task(queue.build().run())


async def crash(queue: Queue, running: asyncio.Task[None]) -> None:
    """The process is gone: what was under way is heard of no more, and every lease ends."""
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for entry in queue.spool._entries():
        entry.lease = 0.0


async def test_unconfirmed_deliveries_are_sent_one_at_a_time_and_new_messages_do_not_wait_for_them() -> None:
    throttle = {each: asyncio.Event() for each in ("a@x", "b@x", "c@x")}

    async def answer(recipient: str, smarthost: str) -> Outcome:
        if recipient in throttle:
            await throttle[recipient].wait()
        return TAKEN

    queue = Queue(MemorySpool(clock=lambda: queue.now), answer)
    for recipient in throttle:
        name = "slow" if recipient == "c@x" else "agiris"
        await queue.spool.store(mail(plan(recipient, destination=name), at=NOW), CRASHED)
    running = await restarted(queue)
    await queue.until(lambda: queue.sent == ["a@x"])
    await queue.store(mail(plan("new@x"), at=NOW))
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 1)
    assert queue.sent == ["a@x", "new@x"], "another destination's unconfirmed delivery waits too"
    for count, recipient in enumerate(("a@x", "c@x", "b@x"), 2):
        await queue.until(lambda recipient=recipient: queue.sent[-1] == recipient or recipient == "a@x")
        throttle[recipient].set()
        await queue.until(lambda count=count: len(queue.happened(EventName.DELIVERED)) == count)
    assert sorted(queue.sent) == ["a@x", "b@x", "c@x", "new@x"]
    assert {each.attempts for each in await queue.spool.find(Query())} == {1}
    await queue.manager.drain(1)
    await running


async def test_waiting_for_a_connection_does_not_count_as_begun() -> None:
    queue = Queue(MemorySpool(clock=lambda: queue.now), takes)
    await queue.spool.store(mail(at=NOW), CRASHED)
    asked = asyncio.Event()

    async def send(route: Route, compose: MessageFactory) -> Any:
        asked.set()
        await asyncio.Event().wait()

    queue._send = send  # type: ignore[method-assign]
    for _ in range(10):
        asked.clear()
        running = await restarted(queue)
        async with asyncio.timeout(5):
            await asked.wait()
        [found] = await queue.spool.find(Query())
        assert (found.state, found.unconfirmed_attempts) == (State.ACTIVE, 0)
        await crash(queue, running)


async def test_only_the_message_that_ends_the_process_by_itself_is_held() -> None:
    """Twenty messages were claimed; one of them ends the process whenever it is sent."""
    died = asyncio.Event()

    async def answer(recipient: str, smarthost: str) -> Outcome:
        if recipient == "bad@x":
            died.set()
            await asyncio.Event().wait()
        return TAKEN

    queue = Queue(MemorySpool(clock=lambda: queue.now), answer)
    for number in range(20):
        recipient = "bad@x" if number == 3 else f"{number}@x"
        await queue.spool.store(mail(plan(recipient), at=NOW), CRASHED)
    for _ in range(3):
        died.clear()
        running = await restarted(queue)
        async with asyncio.timeout(5):
            await died.wait()
        await crash(queue, running)
    running = await restarted(queue)
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 19)
    async with asyncio.timeout(5):
        while State.ACTIVE in await queue.states():
            await asyncio.sleep(0)
    assert await queue.states() == {State.DELIVERED: 19, State.HELD: 1}
    [held] = await queue.spool.find(Query(frozenset({State.HELD})))
    assert (held.recipient, held.reason, held.detail) == ("bad@x", Reason.UNSETTLED, "3")
    await queue.manager.drain(1)
    await running


async def test_a_start_that_fails_again_and_again_counts_nothing() -> None:
    """Started and stopped at once, as when a port is taken."""
    queue = Queue(MemorySpool(clock=lambda: queue.now), takes, rates={"agiris": 1})
    given = [mail(plan(f"{number}@x"), at=NOW) for number in range(5)]
    for each in given:
        await queue.spool.store(each)
    queue.rates["agiris"] = 1
    for _ in range(10):
        running = await restarted(queue)
        await queue.manager.drain(0)
        await running
    found = await queue.spool.find(Query())
    assert all(each.state in (State.QUEUED, State.DEFERRED, State.DELIVERED) for each in found)
    assert all(each.attempts <= 1 and each.unconfirmed_attempts == 0 for each in found)


async def test_a_stop_gives_an_unconfirmed_delivery_back_as_unconfirmed() -> None:
    queue = Queue(MemorySpool(clock=lambda: queue.now), takes, rates={"agiris": 1})
    await queue.spool.store(mail(at=NOW), CRASHED)
    await queue.spool.store(mail(at=NOW), CRASHED)
    running = await restarted(queue)
    await queue.until(lambda: bool(queue.happened(EventName.DELIVERED)))
    async with asyncio.timeout(5):
        while not queue.manager.under_way:
            await asyncio.sleep(0)
    await queue.manager.drain(1)
    await running
    assert await queue.states() == {State.DELIVERED: 1, State.ACTIVE: 1}
    [again] = await queue.spool.claim(NOW, 60, 1, unconfirmed=True)
    assert (again.delivery.attempts, again.delivery.unconfirmed_attempts) == (1, 0)


async def test_an_unconfirmed_delivery_that_the_spool_cannot_begin_is_deferred_with_an_alert() -> None:
    async def begin(claim: Claim) -> bool:
        raise SpoolFull("no space")

    queue = Queue(MemorySpool(clock=lambda: queue.now), takes)
    queue.spool.begin_attempt = begin  # type: ignore[method-assign]
    await queue.spool.store(mail(at=NOW), CRASHED)
    running = await restarted(queue)
    await queue.until(lambda: bool(queue.happened(EventName.DEFERRED)))
    [ended] = queue.happened(EventName.DEFERRED)
    assert ended.outcome.alert and not queue.sent
    await queue.manager.drain(1)
    await running


# Isolation and pace.


async def test_a_slow_destination_does_not_delay_another(queue: Queue) -> None:
    gate = asyncio.Event()

    async def answer(recipient: str, smarthost: str) -> Outcome:
        if recipient.startswith("slow"):
            await gate.wait()
        return TAKEN

    queue.answer = answer
    slow = [mail(plan(f"slow{n}@a.example", destination="slow"), at=NOW) for n in range(100)]
    await queue.store(*slow)
    await queue.until(lambda: len(queue.sent) == queue.limits.per_destination)
    await queue.store(mail(plan("quick@b.example", destination="quick"), at=NOW))
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 1)
    assert queue.sent[-1] == "quick@b.example"
    assert len(queue.sent) == queue.limits.per_destination + 1
    gate.set()
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 101)


async def test_never_more_under_way_than_a_destination_has_slots(queue: Queue) -> None:
    """What is claimed when the relay is killed is what may be sent twice."""
    most: Counter[str] = Counter()
    ends: list[asyncio.Future[None]] = []

    async def answer(recipient: str, smarthost: str) -> Outcome:
        for name, count in Counter(each.delivery.destination for each in queue.manager._tasks.values()).items():
            most[name] = max(most[name], count)
        ends.append(asyncio.get_running_loop().create_future())
        await ends[-1]
        return TAKEN

    queue.answer = answer
    await queue.store(*(mail(plan(f"a{n}@x.example", destination="a b"[2 * (n % 2)]), at=NOW) for n in range(120)))
    for done in range(0, 120, 3):
        await queue.until(lambda done=done: len(queue.sent) >= min(120, done + 2 * queue.limits.per_destination))
        for end in [each for each in ends if not each.done()][:3]:
            end.set_result(None)
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 120)
    assert most == {"a": queue.limits.per_destination, "b": queue.limits.per_destination}


async def test_no_more_messages_a_minute_than_the_destination_takes(queue: Queue) -> None:
    queue.rates = {"agiris": 3}
    await queue.store(*(mail(at=NOW) for _ in range(8)))
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 3)
    await queue.store(mail(plan("other@b.example", destination="other"), at=NOW))
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 4)
    assert queue.sent[-1] == "other@b.example"
    queue.ticks = 59.9
    queue.manager.notify()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(queue.sent) == 4
    queue.ticks = 60.0
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 7)
    queue.ticks = 120.0
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 9)


async def test_the_lease_is_renewed_while_an_attempt_lasts_and_given_up_once_lost() -> None:
    gate, renewed = asyncio.Event(), asyncio.Event()

    async def answer(recipient: str, smarthost: str) -> Outcome:
        await gate.wait()
        return TAKEN

    queue = Queue(MemorySpool(clock=lambda: queue.now), answer, limits=Limits(poll=0.01, lease=0.03))
    queue.build()
    left = [True, True, False]

    async def renew(claim: Claim, lease: float) -> bool:
        held = left.pop(0)
        if not held:
            renewed.set()
        return held

    queue.spool.renew = renew  # type: ignore[method-assign]
    running = asyncio.create_task(queue.manager.run())
    await queue.store(mail(at=NOW))
    async with asyncio.timeout(5):
        await renewed.wait()
    await queue.until(lambda: bool(queue.happened(EventName.OUTCOME_UNKNOWN)))
    await queue.manager.drain(0)
    await running


# Stopping.


async def test_a_stop_finishes_what_is_under_way_and_claims_nothing_more(queue: Queue) -> None:
    gate = asyncio.Event()

    async def answer(recipient: str, smarthost: str) -> Outcome:
        await gate.wait()
        return TAKEN

    queue.answer = answer
    await queue.store(mail(at=NOW))
    await queue.until(lambda: len(queue.sent) == 1)
    assert queue.manager.alive()
    draining = asyncio.create_task(queue.manager.drain(5))
    await queue.manager._ended.wait()
    await queue.spool.store(mail(at=NOW))
    gate.set()
    assert await draining == 0
    assert await queue.states() == {State.DELIVERED: 1, State.QUEUED: 1}
    assert not queue.manager.alive()


async def test_a_stop_that_cannot_wait_records_the_attempt_as_uncertain(queue: Queue) -> None:
    async def answer(recipient: str, smarthost: str) -> Outcome:
        await asyncio.Event().wait()
        return TAKEN

    queue.answer = answer
    await queue.store(mail(at=NOW))
    await queue.until(lambda: len(queue.sent) == 1)
    assert await queue.manager.drain(0.01) == 1
    assert await queue.states() == {State.DEFERRED: 1}
    assert queue.happened(EventName.OUTCOME_UNKNOWN)


async def test_a_stop_hands_back_what_waits_for_its_minute(queue: Queue) -> None:
    queue.rates = {"agiris": 1}
    await queue.store(*(mail(at=NOW) for _ in range(3)))
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 1)
    assert await queue.manager.drain(5) == 0
    left = [each for each in await queue.spool.find(Query()) if each.state is not State.DELIVERED]
    assert all(each.next_attempt is not None and each.next_attempt <= queue.now for each in left) and len(left) == 2
    assert len(queue.sent) == 1


async def test_a_stop_while_a_claim_is_on_its_way_loses_nothing(queue: Queue) -> None:
    real, asked, gate = queue.spool.claim, asyncio.Event(), asyncio.Event()

    async def claim(*arguments: Any, **which: Any) -> tuple[Claim, ...]:
        asked.set()
        await gate.wait()
        return await real(*arguments, **which)

    queue.spool.claim = claim  # type: ignore[method-assign]
    await queue.store(mail(at=NOW))
    await asked.wait()
    draining = asyncio.create_task(queue.manager.drain(5))
    await asyncio.sleep(0)
    gate.set()
    assert await draining == 0
    [delivery] = await queue.spool.find(Query())
    assert delivery.state is State.DEFERRED and delivery.next_attempt == queue.now
    assert queue.sent == []


# With a real next hop.


async def test_a_connection_lost_after_the_dot_is_outcome_unknown_and_sent_again() -> None:
    async with Peer() as peer:
        out = ConnectionPools()
        queue = Queue(MemorySpool(clock=lambda: queue.now), takes)
        queue.route = lambda delivery: Route(peer.host, peer.port, Tls.NONE)
        queue.build()
        ports = replace(queue.manager._ports, send=out.send)
        queue.manager = QueueManager(queue.spool, ports, queue.limits, clock=lambda: queue.now, jitter=lambda: 0.0)
        running = asyncio.create_task(queue.manager.run())
        peer.on("body", Drop(), times=1)
        await queue.store(mail(at=NOW))
        await queue.until(lambda: bool(queue.happened(EventName.OUTCOME_UNKNOWN)))
        assert await queue.states() == {State.DEFERRED: 1}
        queue.now += 60
        await queue.until(lambda: bool(queue.happened(EventName.DELIVERED)))
        assert peer.taken == 2 and peer.mails[0].content == peer.mails[1].content
        peer.on("rcpt", Say("550 5.1.1 unknown"))
        await queue.store(mail(at=NOW))
        await queue.until(lambda: bool(queue.happened(EventName.FAILED)))
        await queue.manager.drain(1)
        await running
        await out.close()


# The parts.


def test_the_throttle_counts_any_window_of_a_minute() -> None:
    now = [0.0]
    throttle = Throttle(lambda destination: 2, 10, lambda: now[0])
    for _ in range(3):
        throttle.enter("a")
    assert throttle.room() == {"a": 0}
    assert throttle.allow("a") == 0
    now[0] = 30.0
    assert throttle.allow("a") == 0
    assert throttle.allow("a") == 30.0
    now[0] = 60.0
    assert throttle.allow("a") == 0
    now[0] = 200.0
    assert throttle.room() == {"a": 2}


def test_the_cache_never_exceeds_its_limit() -> None:
    memory = MessageCache(VALUES_SIZE + 100)
    first, second, third = (mail(raw=b"x" * 60) for _ in range(3))
    memory.add(first, 1)
    memory.add(second, 1)
    assert memory.get(first.queue_id) is None and memory.get(second.queue_id) is second
    memory.add(mail(raw=b"x" * 101), 1)
    memory.attempted(second.queue_id)
    assert len(memory) == 0
    memory.add(third, 1)
    assert memory.get(third.queue_id) is third


def test_small_messages_are_bounded_too() -> None:
    memory = MessageCache(10 * VALUES_SIZE)
    for _ in range(100):
        memory.add(mail(raw=b"x"), 1)
    assert len(memory) == 9


def test_a_message_stored_twice_is_cached_once() -> None:
    memory = MessageCache(VALUES_SIZE + 100)
    one = mail(plan("a@x", "b@x"), raw=b"x" * 60)
    memory.add(one, 2)
    memory.add(one, 2)
    memory.attempted(one.queue_id)
    assert len(memory) == 1
    memory.attempted(one.queue_id)
    assert len(memory) == 0
    assert Stored(one.queue_id).duplicate is False


@pytest.mark.parametrize("remember", [True, False])
async def test_a_sender_who_asks_is_notified_of_success(queue: Queue, remember: bool) -> None:
    asking = Recipient("acme@export.relay.example", frozenset({"SUCCESS"}))
    envelope = Envelope("platform@jefacture.example", (asking,))
    queue.reports = [replace(mail(plan("platform@jefacture.example"), at=NOW), generated=True)]
    asked = mail(plan("a@x", answers=(asking.address,)), at=NOW, envelope=envelope)
    await queue.store(asked, mail(plan("b@x"), at=NOW), remember=remember)
    await queue.until(lambda: len(queue.happened(EventName.DELIVERED)) == 3)
    assert Counter(queue.sent) == {"a@x": 1, "b@x": 1, "platform@jefacture.example": 1}
    reported = {each.recipient: each.reported for each in await queue.spool.find(Query())}
    assert reported["a@x"] == {"delivered"} and reported["b@x"] == frozenset()


async def test_a_sender_who_asks_for_success_is_not_notified_of_it_after_a_failure(queue: Queue) -> None:
    queue.answer = refuses
    asking = Recipient("acme@export.relay.example", frozenset({"SUCCESS"}))
    envelope = Envelope("platform@jefacture.example", (asking,))
    await queue.store(mail(plan("a@x", answers=(asking.address,)), at=NOW, envelope=envelope))
    await queue.until(lambda: len(queue.happened(EventName.FAILED)) == 1)
    assert [each.reported for each in await queue.spool.find(Query())] == [{"failed"}]


async def refuses(recipient: str, smarthost: str) -> Outcome:
    return NO
