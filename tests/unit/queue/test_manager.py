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
from relay.queue.message_cache import VALUES, MessageCache
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
class House:
    """A queue manager with a spool in memory, a clock set by hand and a next hop that is a function."""

    spool: MemorySpool
    answer: Callable[[str, str], Awaitable[Outcome]]
    rates: dict[str, int] = field(default_factory=dict)
    now: float = NOW
    ticks: float = 0.0
    sent: list[str] = field(default_factory=list)
    letters: list[OutgoingMessage] = field(default_factory=list)
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
        self.letters.append(letter)
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
async def house() -> AsyncIterator[House]:
    house = House(MemorySpool(clock=lambda: house.now), takes)
    house.build()
    running = asyncio.create_task(house.manager.run())
    yield house
    await house.manager.drain(1)
    await running


def answers(*outcomes: Outcome) -> Callable[[str, str], Awaitable[Outcome]]:
    left = list(outcomes)

    async def answer(recipient: str, smarthost: str) -> Outcome:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


async def test_a_stored_mail_leaves_at_once_and_is_settled(house: House) -> None:
    await house.store(mail(at=NOW))
    await house.until(lambda: bool(house.happened(EventName.DELIVERED)))
    assert await house.states() == {State.DELIVERED: 1}
    [ended] = house.happened(EventName.DELIVERED)
    assert ended.transition.reply == "250 2.0.0 taken" and ended.delivery.attempts == 1
    assert [logged_as(event) for event in house.events] == [EventName.ATTEMPT, EventName.DELIVERED]


async def test_each_attempt_has_its_number_and_the_same_octets_for_a_next_hop_of_seven_bits(house: House) -> None:
    house.answer = answers(BUSY, TAKEN)
    raw = b"Subject: x\r\n\r\n\xc3\xa9\r\n"
    recodings = (Recoding(Span(0, 0), Span(14, 18)),)
    await house.store(mail(plan("a@x", prepend=b"X-Top: 1\r\n", recodings=recodings), raw=raw, at=NOW))
    await house.until(lambda: bool(house.happened(EventName.DEFERRED)))
    house.now += 3600
    house.manager.notify()
    await house.until(lambda: bool(house.happened(EventName.DELIVERED)))
    assert [each.attempt for each in house.letters] == [1, 2]
    for letter in house.letters:
        assert letter.seven_bit is not None
        assert b"".join(await letter.seven_bit()) == (
            b"X-Top: 1\r\nContent-Transfer-Encoding: quoted-printable\r\nSubject: x\r\n\r\n=C3=A9\r\n"
        )
    await house.store(mail(at=NOW))
    await house.until(lambda: len(house.letters) == 3)
    assert house.letters[2].seven_bit is None


async def test_a_remembered_mail_is_not_read_again_and_is_forgotten_after_its_attempt(house: House) -> None:
    loads: list[str] = []
    real = house.spool.load

    async def load(queue_id: str) -> Message | None:
        loads.append(queue_id)
        return await real(queue_id)

    house.spool.load = load  # type: ignore[method-assign]
    await house.store(mail(at=NOW))
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 1)
    assert loads == []
    assert len(house.manager._remembered) == 0
    await house.store(mail(at=NOW), remember=False)
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 2)
    assert len(loads) == 1


async def test_the_spool_is_asked_no_more_than_there_is_to_know() -> None:
    house = House(MemorySpool(clock=lambda: NOW), takes, limits=Limits(poll=60))
    house.build()
    calls: list[str] = []
    due, claim = house.spool.next_due, house.spool.claim

    async def asked(full: Sequence[str] = ()) -> float | None:
        calls.append("due")
        return await due(full)

    async def claimed(*given: Any, **which: Any) -> Any:
        if not which:  # what is unconfirmed is asked for once, at the start
            calls.append("claim")
        return await claim(*given, **which)

    house.spool.next_due, house.spool.claim = asked, claimed  # type: ignore[method-assign]
    running = asyncio.create_task(house.manager.run())

    async def at_rest() -> None:
        async with asyncio.timeout(5):
            while not calls or house.manager._wake.is_set() or house.manager.under_way:
                await asyncio.sleep(0)

    await at_rest()
    for remember, expected in ((True, ["claim"]), (False, ["due", "claim"])):
        calls.clear()
        house.events.clear()
        await house.store(mail(at=NOW), remember=remember)
        await house.until(lambda: bool(house.happened(EventName.DELIVERED)))
        await at_rest()
        assert calls == expected
    await house.manager.drain(1)
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
    house = House(MemorySpool(clock=lambda: NOW), answer, limits=limits)
    claim = house.spool.claim

    async def claimed(*given: Any, **which: Any) -> Any:
        claims = await claim(*given, **which)
        await a_while()
        return claims

    house.spool.claim = claimed  # type: ignore[method-assign]
    running = asyncio.create_task(house.build().run())
    for number in range(40):
        await house.store(mail(plan("c@d.example", destination=draw.choice("aaab")), at=NOW), remember=number % 3 > 0)
        await a_while()
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 40)
    await house.manager.drain(1)
    await running


@pytest.mark.parametrize("seed", range(40))
async def test_nothing_has_more_than_its_slots_whether_it_is_stored_as_claimed_or_claimed_later(seed: int) -> None:
    draw = Random(seed)
    limits = Limits(attempts=draw.randint(2, 12), per_destination=draw.randint(1, 5), poll=60)

    async def a_while() -> None:
        for _ in range(draw.randrange(8)):
            await asyncio.sleep(0)

    async def answer(recipient: str, smarthost: str) -> Outcome:
        under_way = Counter(each.delivery.destination for each in house.manager._tasks.values())
        assert under_way.total() <= limits.attempts and max(under_way.values()) <= limits.per_destination
        await a_while()
        return TAKEN

    house = House(MemorySpool(clock=lambda: NOW), answer, limits=limits)
    claim = house.spool.claim

    async def claimed(*given: Any, **which: Any) -> Any:
        await a_while()
        claims = await claim(*given, **which)
        await a_while()
        return claims

    async def accept(given: Message) -> None:
        take = house.manager.reserve(given)
        await a_while()
        house.manager.stored(given, take, (await house.spool.store(given, take)).claims)

    house.spool.claim = claimed  # type: ignore[method-assign]
    running = asyncio.create_task(house.build().run())
    accepting = []
    for _ in range(60):
        given = mail(
            plan(*("c@d.example", "e@d.example")[: draw.randint(1, 2)], destination=draw.choice("aaab")), at=NOW
        )
        accepting.append(asyncio.create_task(accept(given)))
        await a_while()
    await asyncio.gather(*accepting)
    deliveries = len(await house.spool.find(Query()))
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == deliveries)
    assert not house.happened(EventName.DEFERRED)
    await house.manager.drain(1)
    await running
    assert not house.manager._reserved and not any(house.manager._gates._inside.values())


async def test_a_mail_that_finds_its_place_free_is_stored_as_claimed(house: House) -> None:
    await settled_down(house)
    given = mail(plan("a@agiris.example"), plan("b@agiris.example"), at=NOW)
    take = house.manager.reserve(given)
    assert take is not None and take.room == {"agiris": 2}
    stored = await house.spool.store(given, take)
    house.manager.stored(given, take, stored.claims)
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 2)
    assert {ended.delivery.attempts for ended in house.happened(EventName.DELIVERED)} == {1}
    assert house.manager.reserve(given) == take, "its places are free again"


async def test_places_are_kept_for_no_more_than_a_destination_takes_and_never_twice() -> None:
    house = House(MemorySpool(clock=lambda: NOW), takes, limits=Limits(attempts=6, per_destination=3, poll=0.01))
    manager = house.build()
    running = asyncio.create_task(manager.run())
    await settled_down(house)
    given = mail(plan("a@x", "b@x", destination="one"), at=NOW)
    room = [take.room if (take := manager.reserve(given)) else None for _ in range(3)]
    assert room == [{"one": 2}, {"one": 1}, {"one": 0}]
    other = mail(plan(*(f"{n}@x" for n in range(9)), destination="two"), at=NOW)
    take = manager.reserve(other)
    assert take is not None and take.room == {"two": 3} and manager.reserve(other) is None, "six attempts in all"
    manager.give_back(take)
    assert manager.reserve(other) == take
    await manager.drain(1)
    await running


async def test_a_claim_on_its_way_leaves_places_to_what_is_stored_meanwhile() -> None:
    """Else what came meanwhile would need the next claim, and so on for as long as messages come."""
    gate, asked = asyncio.Event(), asyncio.Event()

    async def answer(recipient: str, smarthost: str) -> Outcome:
        await gate.wait()
        return TAKEN

    house = House(MemorySpool(clock=lambda: NOW), answer, limits=Limits(attempts=12, per_destination=6, poll=60))
    running = asyncio.create_task(house.build().run())
    await settled_down(house)
    real, inside = house.spool.claim, []

    async def claim(now: float, lease: float, limit: int, *room: Any, **which: Any) -> tuple[Claim, ...]:
        claims = await real(now, lease, limit, *room, **which)
        if which:
            return claims
        inside.append((limit, len(claims)))
        asked.set()
        await gate.wait()
        return claims

    house.spool.claim = claim  # type: ignore[method-assign]
    await house.store(*(mail(at=NOW) for _ in range(9)))
    await asked.wait()
    assert inside == [(3, 3)]
    takes = [house.manager.reserve(mail(at=NOW)) for _ in range(4)]
    assert [take and take.room for take in takes] == [{"agiris": 1}] * 3 + [{"agiris": 0}]
    for take in takes:
        assert take is not None
        house.manager.give_back(take)
    gate.set()
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 9)
    await house.manager.drain(1)
    await running


async def test_what_waits_goes_before_what_is_new(house: House) -> None:
    given = mail(plan("a@agiris.example"), at=NOW)
    house.rates["agiris"] = 1
    await house.store(given, mail(plan("b@agiris.example"), at=NOW))
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 1)
    house.ticks = 61.0  # the next one may go; it is the one that waits
    take = house.manager.reserve(given)
    assert take is None or not take.room["agiris"]


async def settled_down(house: House) -> None:
    """Wait until the manager has looked and found nothing."""
    async with asyncio.timeout(5):
        while (take := house.manager.reserve(mail(at=NOW))) is None:
            await asyncio.sleep(0)
    house.manager.give_back(take)


async def test_a_plan_made_after_the_mail_was_remembered_is_read_from_the_spool(house: House) -> None:
    whole = mail(plan("a@agiris.example"), plan("b@agiris.example"), at=NOW)
    await house.spool.store(whole)
    house.manager.stored(replace(whole, plans=whole.plans[:1]), None, ())
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 2)
    assert sorted(house.sent) == ["a@agiris.example", "b@agiris.example"]


async def test_deferred_is_tried_again_when_due_and_not_before(house: House) -> None:
    house.answer = answers(BUSY, TAKEN)
    await house.store(mail(at=NOW))
    await house.until(lambda: bool(house.happened(EventName.DEFERRED)))
    [delivery] = await house.spool.find(Query())
    assert delivery.state is State.DEFERRED and delivery.next_attempt == NOW + 60
    house.manager.notify()
    await asyncio.sleep(0)
    assert len(house.sent) == 1
    house.now = NOW + 60
    await house.until(lambda: bool(house.happened(EventName.DELIVERED)))
    assert len(house.sent) == 2


async def test_refused_for_good_is_failed_and_its_report_is_stored_and_sent(house: House) -> None:
    house.answer = answers(NO, TAKEN)
    notice = mail(plan("firm@cabinet.example"), at=NOW, generated=True)
    house.reports = [notice]
    await house.store(mail(at=NOW))
    await house.until(lambda: bool(house.happened(EventName.DELIVERED)))
    assert house.sent[-1] == "firm@cabinet.example"
    assert await house.states() == {State.FAILED: 1, State.DELIVERED: 1}


async def test_a_report_that_cannot_be_written_does_not_keep_the_outcome_from_being_recorded(house: House) -> None:
    house.answer = answers(NO)
    house.reports = None  # type: ignore[assignment]
    await house.store(mail(at=NOW))
    await house.until(lambda: bool(house.happened(EventName.FAILED)))
    assert await house.states() == {State.FAILED: 1}


async def test_late_is_told_once(house: House) -> None:
    house.answer = answers(BUSY)
    house.now = NOW + 5 * 3600
    await house.store(mail(at=NOW))
    await house.until(lambda: bool(house.happened(EventName.DELAYED)))
    house.now += 3600
    await house.until(lambda: len(house.happened(EventName.DEFERRED)) == 2)
    assert len(house.happened(EventName.DELAYED)) == 1


async def test_an_order_given_in_the_spool_is_seen_without_notice(house: House) -> None:
    house.answer = answers(BUSY, TAKEN)
    stored = mail(at=NOW)
    await house.store(stored)
    await house.until(lambda: bool(house.happened(EventName.DEFERRED)))
    await house.spool.apply_action(stored.queue_id, None, OperatorAction("retry"), house.now)
    await house.until(lambda: bool(house.happened(EventName.DELIVERED)))


async def test_nothing_is_read_from_the_spool_for_a_mail_without_a_connection(house: House) -> None:
    """48 attempts of 25 MB each would not fit; a next hop that is down holds no content at all."""
    read: list[str] = []
    load = house.spool.load

    async def seen(queue_id: str) -> Message | None:
        read.append(queue_id)
        return await load(queue_id)

    async def down(route: Route, compose: MessageFactory) -> Any:
        raise Unreachable(failure(Stage.CONNECT, ErrorKind.UNREACHABLE, "refused"))

    house.spool.load = seen  # type: ignore[method-assign]
    house.manager._attempts = replace(
        house.manager._attempts, ports=(ports := replace(house.manager._ports, send=down))
    )
    await house.store(mail(at=NOW), remember=False)
    await house.until(lambda: bool(house.happened(EventName.DEFERRED)))
    assert read == [] and house.happened(EventName.DEFERRED)[0].outcome.stage is Stage.CONNECT
    house.now += house.retry.give_up + 1
    house.retry = replace(house.retry, attempts=1, give_up=1.0)
    house.manager._attempts = replace(house.manager._attempts, ports=ports)
    house.reports = [mail(at=NOW, generated=True)]
    house.manager.notify()
    await house.until(lambda: bool(house.happened(EventName.FAILED)))
    assert len(read) == 1, "but what is reported needs it"


async def test_a_mail_that_cannot_be_read_is_deferred_with_an_alert(house: House) -> None:
    async def lost(queue_id: str) -> None:
        return None

    house.spool.load = lost  # type: ignore[method-assign]
    await house.store(mail(at=NOW), remember=False)
    await house.until(lambda: bool(house.happened(EventName.DEFERRED)))
    [ended] = house.happened(EventName.DEFERRED)
    assert ended.outcome.alert and "cannot be read" in ended.transition.reply and house.sent == []


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
    house: House, change: dict[str, Any], enhanced: str
) -> None:
    before = {name: getattr(house, name) for name in change}
    for name, value in change.items():
        setattr(house, name, value)
    await house.store(mail(at=NOW))
    await house.until(lambda: bool(house.happened(EventName.DEFERRED)))
    [ended] = house.happened(EventName.DEFERRED)
    assert ended.outcome.alert and ended.outcome.reply.enhanced == enhanced and ended.outcome.stage is Stage.INTERNAL
    for name, value in before.items():
        setattr(house, name, value)
    await house.store(mail(at=NOW))
    await house.until(lambda: bool(house.happened(EventName.DELIVERED)))


async def test_an_observer_that_fails_keeps_nothing_from_leaving(house: House) -> None:
    class Exploding:
        __getattr__ = explode

    observer = Observer(Exploding())  # type: ignore[arg-type]
    house.manager._ports = replace(house.manager._ports, observe=observer.observe)
    house.manager._attempts = replace(house.manager._attempts, ports=house.manager._ports)
    await house.store(mail(at=NOW))
    await house.until(lambda: len(house.sent) == 1)
    await house.manager.drain(1)
    assert await house.states() == {State.DELIVERED: 1}


async def test_a_spool_that_fails_once_is_asked_again(house: House) -> None:
    real, failures = house.spool.claim, [OSError("once")]

    async def claim(*arguments: Any, **which: Any) -> tuple[Claim, ...]:
        if failures and not which:
            raise failures.pop()
        return await real(*arguments, **which)

    house.spool.claim = claim  # type: ignore[method-assign]
    await house.store(mail(at=NOW))
    await house.until(lambda: bool(house.happened(EventName.DELIVERED)))


async def test_a_full_spool_is_waited_for_rather_than_the_outcome_lost(house: House) -> None:
    real, failures = house.spool.settle, [SpoolFull("no space"), SpoolFull("no space")]

    async def settle(*arguments: Any) -> bool:
        if failures:
            raise failures.pop()
        return await real(*arguments)

    house.spool.settle = settle  # type: ignore[method-assign]
    await house.store(mail(at=NOW))
    await house.until(lambda: bool(house.happened(EventName.DELIVERED)))
    assert len(house.happened(EventName.SPOOL_FULL)) == 2
    assert len(house.sent) == 1


async def test_an_outcome_is_recorded_though_the_lease_it_was_claimed_with_ended_while_the_spool_was_full(
    house: House,
) -> None:
    real, failures = house.spool.settle, [SpoolFull("no space"), SpoolFull("no space")]

    async def settle(*arguments: Any) -> bool:
        if failures:
            house.now += house.limits.lease  # the lease is renewed meanwhile
            raise failures.pop()
        return await real(*arguments)

    house.spool.settle = settle  # type: ignore[method-assign]
    await house.store(mail(at=NOW))
    await house.until(lambda: bool(house.happened(EventName.DELIVERED)))
    assert await house.states() == {State.DELIVERED: 1}


@pytest.mark.parametrize("verb", ["claim", "next_due", "load", "settle"])
async def test_a_broken_spool_is_told_to_the_daemon_and_ends_the_manager(house: House, verb: str) -> None:
    async def broken(*_: Any, **which: Any) -> Any:
        raise SpoolBroken("fsync failed")

    await house.spool.store(mail(at=NOW))
    setattr(house.spool, verb, broken)
    house.manager.notify()
    async with asyncio.timeout(5):
        await house.manager._ended.wait()
        while house.manager.under_way:
            await asyncio.sleep(0)
    assert house.broken == ["fsync failed"]
    assert not house.manager.alive()


async def test_a_lost_claim_is_told_and_nothing_is_recorded(house: House) -> None:
    async def settle(claim: Claim, transition: Transition, follow_ups: Sequence[Message] = ()) -> bool:
        return False

    house.spool.settle = settle  # type: ignore[method-assign]
    await house.store(mail(at=NOW))
    await house.until(lambda: bool(house.happened(EventName.ATTEMPT_UNCONFIRMED)))
    assert not house.happened(EventName.DELIVERED)


# After a crash: what was claimed then is unconfirmed.

CRASHED = Reservation(-1.0, {"agiris": 48, "slow": 48})
"""Claimed in the commit that stored it, and its lease is over: as if the process had died since."""


async def restarted(house: House) -> asyncio.Task[None]:
    return asyncio.create_task(house.build().run())


async def crash(house: House, running: asyncio.Task[None]) -> None:
    """The process is gone: what was under way is heard of no more, and every lease ends."""
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for entry in house.spool._entries():
        entry.lease = 0.0


async def test_unconfirmed_deliveries_are_sent_one_at_a_time_and_new_messages_do_not_wait_for_them() -> None:
    gates = {each: asyncio.Event() for each in ("a@x", "b@x", "c@x")}

    async def answer(recipient: str, smarthost: str) -> Outcome:
        if recipient in gates:
            await gates[recipient].wait()
        return TAKEN

    house = House(MemorySpool(clock=lambda: house.now), answer)
    for recipient in gates:
        name = "slow" if recipient == "c@x" else "agiris"
        await house.spool.store(mail(plan(recipient, destination=name), at=NOW), CRASHED)
    running = await restarted(house)
    await house.until(lambda: house.sent == ["a@x"])
    await house.store(mail(plan("new@x"), at=NOW))
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 1)
    assert house.sent == ["a@x", "new@x"], "another destination's unconfirmed delivery waits too"
    for count, recipient in enumerate(("a@x", "c@x", "b@x"), 2):
        await house.until(lambda recipient=recipient: house.sent[-1] == recipient or recipient == "a@x")
        gates[recipient].set()
        await house.until(lambda count=count: len(house.happened(EventName.DELIVERED)) == count)
    assert sorted(house.sent) == ["a@x", "b@x", "c@x", "new@x"]
    assert {each.attempts for each in await house.spool.find(Query())} == {1}
    await house.manager.drain(1)
    await running


async def test_waiting_for_a_connection_does_not_count_as_begun() -> None:
    house = House(MemorySpool(clock=lambda: house.now), takes)
    await house.spool.store(mail(at=NOW), CRASHED)
    asked = asyncio.Event()

    async def send(route: Route, compose: MessageFactory) -> Any:
        asked.set()
        await asyncio.Event().wait()

    house._send = send  # type: ignore[method-assign]
    for _ in range(10):
        asked.clear()
        running = await restarted(house)
        async with asyncio.timeout(5):
            await asked.wait()
        [found] = await house.spool.find(Query())
        assert (found.state, found.unconfirmed_attempts) == (State.ACTIVE, 0)
        await crash(house, running)


async def test_only_the_message_that_ends_the_process_by_itself_is_held() -> None:
    """Twenty messages were claimed; one of them ends the process whenever it is sent."""
    died = asyncio.Event()

    async def answer(recipient: str, smarthost: str) -> Outcome:
        if recipient == "bad@x":
            died.set()
            await asyncio.Event().wait()
        return TAKEN

    house = House(MemorySpool(clock=lambda: house.now), answer)
    for number in range(20):
        recipient = "bad@x" if number == 3 else f"{number}@x"
        await house.spool.store(mail(plan(recipient), at=NOW), CRASHED)
    for _ in range(3):
        died.clear()
        running = await restarted(house)
        async with asyncio.timeout(5):
            await died.wait()
        await crash(house, running)
    running = await restarted(house)
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 19)
    async with asyncio.timeout(5):
        while State.ACTIVE in await house.states():
            await asyncio.sleep(0)
    assert await house.states() == {State.DELIVERED: 19, State.HELD: 1}
    [held] = await house.spool.find(Query(frozenset({State.HELD})))
    assert (held.recipient, held.reason, held.detail) == ("bad@x", Reason.UNSETTLED, "3")
    await house.manager.drain(1)
    await running


async def test_a_start_that_fails_again_and_again_counts_nothing() -> None:
    """Started and stopped at once, as when a port is taken."""
    house = House(MemorySpool(clock=lambda: house.now), takes, rates={"agiris": 1})
    given = [mail(plan(f"{number}@x"), at=NOW) for number in range(5)]
    for each in given:
        await house.spool.store(each)
    house.rates["agiris"] = 1
    for _ in range(10):
        running = await restarted(house)
        await house.manager.drain(0)
        await running
    found = await house.spool.find(Query())
    assert all(each.state in (State.QUEUED, State.DEFERRED, State.DELIVERED) for each in found)
    assert all(each.attempts <= 1 and each.unconfirmed_attempts == 0 for each in found)


async def test_a_stop_gives_an_unconfirmed_delivery_back_as_unconfirmed() -> None:
    house = House(MemorySpool(clock=lambda: house.now), takes, rates={"agiris": 1})
    await house.spool.store(mail(at=NOW), CRASHED)
    await house.spool.store(mail(at=NOW), CRASHED)
    running = await restarted(house)
    await house.until(lambda: bool(house.happened(EventName.DELIVERED)))
    async with asyncio.timeout(5):
        while not house.manager.under_way:
            await asyncio.sleep(0)
    await house.manager.drain(1)
    await running
    assert await house.states() == {State.DELIVERED: 1, State.ACTIVE: 1}
    [again] = await house.spool.claim(NOW, 60, 1, unconfirmed=True)
    assert (again.delivery.attempts, again.delivery.unconfirmed_attempts) == (1, 0)


async def test_an_unconfirmed_delivery_that_the_spool_cannot_begin_is_deferred_with_an_alert() -> None:
    async def begin(claim: Claim) -> bool:
        raise SpoolFull("no space")

    house = House(MemorySpool(clock=lambda: house.now), takes)
    house.spool.begin_attempt = begin  # type: ignore[method-assign]
    await house.spool.store(mail(at=NOW), CRASHED)
    running = await restarted(house)
    await house.until(lambda: bool(house.happened(EventName.DEFERRED)))
    [ended] = house.happened(EventName.DEFERRED)
    assert ended.outcome.alert and not house.sent
    await house.manager.drain(1)
    await running


# Isolation and pace.


async def test_a_slow_destination_does_not_delay_another(house: House) -> None:
    gate = asyncio.Event()

    async def answer(recipient: str, smarthost: str) -> Outcome:
        if recipient.startswith("slow"):
            await gate.wait()
        return TAKEN

    house.answer = answer
    slow = [mail(plan(f"slow{n}@a.example", destination="slow"), at=NOW) for n in range(100)]
    await house.store(*slow)
    await house.until(lambda: len(house.sent) == house.limits.per_destination)
    await house.store(mail(plan("quick@b.example", destination="quick"), at=NOW))
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 1)
    assert house.sent[-1] == "quick@b.example"
    assert len(house.sent) == house.limits.per_destination + 1
    gate.set()
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 101)


async def test_never_more_under_way_than_a_destination_has_slots(house: House) -> None:
    """What is claimed when the relay is killed is what may be sent twice."""
    most: Counter[str] = Counter()
    ends: list[asyncio.Future[None]] = []

    async def answer(recipient: str, smarthost: str) -> Outcome:
        for name, count in Counter(each.delivery.destination for each in house.manager._tasks.values()).items():
            most[name] = max(most[name], count)
        ends.append(asyncio.get_running_loop().create_future())
        await ends[-1]
        return TAKEN

    house.answer = answer
    await house.store(*(mail(plan(f"a{n}@x.example", destination="a b"[2 * (n % 2)]), at=NOW) for n in range(120)))
    for done in range(0, 120, 3):
        await house.until(lambda done=done: len(house.sent) >= min(120, done + 2 * house.limits.per_destination))
        for end in [each for each in ends if not each.done()][:3]:
            end.set_result(None)
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 120)
    assert most == {"a": house.limits.per_destination, "b": house.limits.per_destination}


async def test_no_more_mails_a_minute_than_the_destination_takes(house: House) -> None:
    house.rates = {"agiris": 3}
    await house.store(*(mail(at=NOW) for _ in range(8)))
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 3)
    await house.store(mail(plan("other@b.example", destination="other"), at=NOW))
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 4)
    assert house.sent[-1] == "other@b.example"
    house.ticks = 59.9
    house.manager.notify()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(house.sent) == 4
    house.ticks = 60.0
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 7)
    house.ticks = 120.0
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 9)


async def test_the_lease_is_renewed_while_an_attempt_lasts_and_given_up_once_lost() -> None:
    gate, renewed = asyncio.Event(), asyncio.Event()

    async def answer(recipient: str, smarthost: str) -> Outcome:
        await gate.wait()
        return TAKEN

    house = House(MemorySpool(clock=lambda: house.now), answer, limits=Limits(poll=0.01, lease=0.03))
    house.build()
    left = [True, True, False]

    async def renew(claim: Claim, lease: float) -> bool:
        held = left.pop(0)
        if not held:
            renewed.set()
        return held

    house.spool.renew = renew  # type: ignore[method-assign]
    running = asyncio.create_task(house.manager.run())
    await house.store(mail(at=NOW))
    async with asyncio.timeout(5):
        await renewed.wait()
    await house.until(lambda: bool(house.happened(EventName.OUTCOME_UNKNOWN)))
    await house.manager.drain(0)
    await running


# Stopping.


async def test_a_stop_finishes_what_is_under_way_and_claims_nothing_more(house: House) -> None:
    gate = asyncio.Event()

    async def answer(recipient: str, smarthost: str) -> Outcome:
        await gate.wait()
        return TAKEN

    house.answer = answer
    await house.store(mail(at=NOW))
    await house.until(lambda: len(house.sent) == 1)
    assert house.manager.alive()
    draining = asyncio.create_task(house.manager.drain(5))
    await house.manager._ended.wait()
    await house.spool.store(mail(at=NOW))
    gate.set()
    assert await draining == 0
    assert await house.states() == {State.DELIVERED: 1, State.QUEUED: 1}
    assert not house.manager.alive()


async def test_a_stop_that_cannot_wait_records_the_attempt_as_uncertain(house: House) -> None:
    async def answer(recipient: str, smarthost: str) -> Outcome:
        await asyncio.Event().wait()
        return TAKEN

    house.answer = answer
    await house.store(mail(at=NOW))
    await house.until(lambda: len(house.sent) == 1)
    assert await house.manager.drain(0.01) == 1
    assert await house.states() == {State.DEFERRED: 1}
    assert house.happened(EventName.OUTCOME_UNKNOWN)


async def test_a_stop_hands_back_what_waits_for_its_minute(house: House) -> None:
    house.rates = {"agiris": 1}
    await house.store(*(mail(at=NOW) for _ in range(3)))
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 1)
    assert await house.manager.drain(5) == 0
    left = [each for each in await house.spool.find(Query()) if each.state is not State.DELIVERED]
    assert all(each.next_attempt is not None and each.next_attempt <= house.now for each in left) and len(left) == 2
    assert len(house.sent) == 1


async def test_a_stop_while_a_claim_is_on_its_way_loses_nothing(house: House) -> None:
    real, asked, gate = house.spool.claim, asyncio.Event(), asyncio.Event()

    async def claim(*arguments: Any, **which: Any) -> tuple[Claim, ...]:
        asked.set()
        await gate.wait()
        return await real(*arguments, **which)

    house.spool.claim = claim  # type: ignore[method-assign]
    await house.store(mail(at=NOW))
    await asked.wait()
    draining = asyncio.create_task(house.manager.drain(5))
    await asyncio.sleep(0)
    gate.set()
    assert await draining == 0
    [delivery] = await house.spool.find(Query())
    assert delivery.state is State.DEFERRED and delivery.next_attempt == house.now
    assert house.sent == []


# With a real next hop.


async def test_lost_after_the_dot_is_uncertain_and_sent_again() -> None:
    async with Peer() as peer:
        out = ConnectionPools()
        house = House(MemorySpool(clock=lambda: house.now), takes)
        house.route = lambda delivery: Route(peer.host, peer.port, Tls.NONE)
        house.build()
        ports = replace(house.manager._ports, send=out.send)
        house.manager = QueueManager(house.spool, ports, house.limits, clock=lambda: house.now, jitter=lambda: 0.0)
        running = asyncio.create_task(house.manager.run())
        peer.on("body", Drop(), times=1)
        await house.store(mail(at=NOW))
        await house.until(lambda: bool(house.happened(EventName.OUTCOME_UNKNOWN)))
        assert await house.states() == {State.DEFERRED: 1}
        house.now += 60
        await house.until(lambda: bool(house.happened(EventName.DELIVERED)))
        assert peer.taken == 2 and peer.mails[0].content == peer.mails[1].content
        peer.on("rcpt", Say("550 5.1.1 unknown"))
        await house.store(mail(at=NOW))
        await house.until(lambda: bool(house.happened(EventName.FAILED)))
        await house.manager.drain(1)
        await running
        await out.close()


# The parts.


def test_gates_count_any_window_of_a_minute() -> None:
    now = [0.0]
    gates = Throttle(lambda destination: 2, 10, lambda: now[0])
    for _ in range(3):
        gates.enter("a")
    assert gates.room() == {"a": 0}
    assert gates.allow("a") == 0
    now[0] = 30.0
    assert gates.allow("a") == 0
    assert gates.allow("a") == 30.0
    now[0] = 60.0
    assert gates.allow("a") == 0
    now[0] = 200.0
    assert gates.room() == {"a": 2}


def test_remembered_never_exceeds_its_limit() -> None:
    memory = MessageCache(VALUES + 100)
    first, second, third = (mail(raw=b"x" * 60) for _ in range(3))
    memory.add(first, 1)
    memory.add(second, 1)
    assert memory.get(first.queue_id) is None and memory.get(second.queue_id) is second
    memory.add(mail(raw=b"x" * 101), 1)
    memory.attempted(second.queue_id)
    assert len(memory) == 0
    memory.add(third, 1)
    assert memory.get(third.queue_id) is third


def test_small_mails_are_bounded_too() -> None:
    memory = MessageCache(10 * VALUES)
    for _ in range(100):
        memory.add(mail(raw=b"x"), 1)
    assert len(memory) == 9


def test_stored_twice_is_remembered_once() -> None:
    memory = MessageCache(VALUES + 100)
    one = mail(plan("a@x", "b@x"), raw=b"x" * 60)
    memory.add(one, 2)
    memory.add(one, 2)
    memory.attempted(one.queue_id)
    assert len(memory) == 1
    memory.attempted(one.queue_id)
    assert len(memory) == 0
    assert Stored(one.queue_id).duplicate is False


@pytest.mark.parametrize("remember", [True, False])
async def test_a_sender_who_asks_is_told_of_success(house: House, remember: bool) -> None:
    asking = Recipient("acme@export.relay.example", frozenset({"SUCCESS"}))
    envelope = Envelope("platform@jefacture.example", (asking,))
    house.reports = [replace(mail(plan("platform@jefacture.example"), at=NOW), generated=True)]
    asked = mail(plan("a@x", answers=(asking.address,)), at=NOW, envelope=envelope)
    await house.store(asked, mail(plan("b@x"), at=NOW), remember=remember)
    await house.until(lambda: len(house.happened(EventName.DELIVERED)) == 3)
    assert Counter(house.sent) == {"a@x": 1, "b@x": 1, "platform@jefacture.example": 1}
    reported = {each.recipient: each.reported for each in await house.spool.find(Query())}
    assert reported["a@x"] == {"delivered"} and reported["b@x"] == frozenset()


async def test_a_sender_who_asks_for_success_is_not_told_of_it_after_a_failure(house: House) -> None:
    house.answer = refuses
    asking = Recipient("acme@export.relay.example", frozenset({"SUCCESS"}))
    envelope = Envelope("platform@jefacture.example", (asking,))
    await house.store(mail(plan("a@x", answers=(asking.address,)), at=NOW, envelope=envelope))
    await house.until(lambda: len(house.happened(EventName.FAILED)) == 1)
    assert [each.reported for each in await house.spool.find(Query())] == [{"failed"}]


async def refuses(recipient: str, smarthost: str) -> Outcome:
    return NO
