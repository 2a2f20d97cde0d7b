"""Who is told of what waits: each thing once, grouped, and never another firm's."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from relay.daemon.notices import _LIMIT as LIMIT
from relay.daemon.notices import QUIET_SECONDS, Notices
from relay.lifecycle import Transition
from relay.model import Disposition, Message, State
from relay.reasons import Reason
from relay.routing.policy import Firm, Terms
from relay.settings.settings import Settings, Smarthost
from relay.spool.port import Query
from tests.support.memory_spool import MemorySpool
from tests.support.spool_messages import CLIENT, mail, plan


class Desk:
    """Two firms, one clock, one spool."""

    def __init__(self, *firms: Firm, operator: str | None = None, smarthosts: Sequence[str] = ("default",)) -> None:
        self.now = 2_000_000.0
        known = firms or (Firm("a", "Cabinet A", "op@a.example"), Firm("b", "Cabinet B", "op@b.example"))
        self.firms = known
        terms = Terms("relay.example", ("*@export.example",), firms={firm.key: firm for firm in known})
        self.spool = MemorySpool(clock=lambda: self.now)
        self.queued: list[Any] = []
        self.woken = 0
        hops = {name: Smarthost(name, f"{name}.example") for name in smarthosts}
        settings = Settings(terms, smarthosts=hops, operator=operator)
        self.notices = Notices(self.spool, lambda: settings, self.queued.append, self._wake, lambda: self.now)

    @property
    def counts(self) -> list[int]:
        """Of how many deliveries each notice told."""
        return [event.deliveries for event in self.queued]

    def _wake(self) -> None:
        self.woken += 1

    async def hold(self, firm: str | None, count: int = 1) -> None:
        for _ in range(count):
            held = plan(CLIENT, disposition=Disposition.HOLD, reason=Reason.WRONG_CLIENT, firm=firm, dossier="1")
            await self.spool.store(mail(held))

    async def addressed(self) -> list[str | None]:
        return sorted(str(each.recipient) for each in await self.spool.find(Query(frozenset({State.QUEUED}))))


async def test_a_thousand_held_messages_are_one_notice_and_reported_once() -> None:
    desk = Desk()
    await desk.hold("a", 1000)
    assert await desk.notices.send() == 1
    assert await desk.notices.send() == 0
    assert (await desk.addressed(), desk.counts, desk.woken) == (["op@a.example"], [1000], 1)


async def test_each_firm_is_notified_of_its_own_only() -> None:
    desk = Desk()
    await desk.hold("a")
    await desk.hold("b", 2)
    assert await desk.notices.send() == 2
    assert await desk.addressed() == ["op@a.example", "op@b.example"]
    assert sorted(desk.counts) == [1, 2]


async def test_what_comes_soon_after_waits_for_the_quiet_to_end() -> None:
    desk = Desk()
    await desk.hold("a")
    await desk.notices.send()
    await desk.hold("a", 3)
    desk.now += QUIET_SECONDS - 1
    assert await desk.notices.send() == 0
    desk.now += 1
    assert await desk.notices.send() == 1
    assert desk.counts == [1, 3]


async def test_a_clock_set_back_silences_nobody() -> None:
    desk = Desk()
    await desk.hold("a")
    await desk.notices.send()
    await desk.hold("a")
    desk.now -= 86400
    assert await desk.notices.send() == 1


async def test_a_message_of_no_known_client_is_notified_only_where_there_is_one_firm() -> None:
    many = Desk()
    await many.hold(None)
    assert await many.notices.send() == 0
    one = Desk(Firm("a", "Cabinet A", "op@a.example"))
    await one.hold(None)
    assert await one.notices.send() == 1
    other_has_no_operator = Desk(Firm("a", "Cabinet A", "op@a.example"), Firm("b", "Cabinet B"))
    await other_has_no_operator.hold(None)
    assert await other_has_no_operator.notices.send() == 0


async def test_late_and_failed_are_reported_and_notices_themselves_are_not() -> None:
    desk = Desk()
    for transition in (
        Transition(State.DEFERRED, desk.now + 60, "451 busy", "deferred", report="late"),
        Transition(State.FAILED, None, "550 no", "failed", report="failed"),
        Transition(State.DEFERRED, desk.now + 60, "451 busy", "deferred"),
    ):
        await desk.spool.store(mail(plan(CLIENT, firm="a"), at=desk.now))
        (claim,) = await desk.spool.claim(desk.now, 60, 1)
        await desk.spool.settle(claim, transition)
    own = replace(mail(plan("op@a.example", firm="a"), at=desk.now), generated=True)
    await desk.spool.store(own)
    (claim,) = await desk.spool.claim(desk.now, 60, 1)
    await desk.spool.settle(claim, Transition(State.FAILED, None, "550 no", "failed"))
    assert await desk.notices.send() == 1
    assert desk.counts == [2]


def many(count: int, firm: str | None) -> Message:
    """One message with so many held deliveries, older than those of `Desk.hold`."""
    held = plan(disposition=Disposition.HOLD, reason=Reason.UNKNOWN_CLIENT, firm=firm, dossier=None)
    return mail(*[held] * count, at=1.0)


@pytest.mark.parametrize("firm", [None, "c", "removed"], ids=["no client", "firm without operator", "removed firm"])
async def test_what_nobody_can_be_notified_of_stops_no_other_notice(firm: str | None) -> None:
    desk = Desk(Firm("a", "Cabinet A", "op@a.example"), Firm("b", "Cabinet B", "op@b.example"), Firm("c", "Cabinet C"))
    await desk.spool.store(many(LIMIT + 1, firm))
    await desk.hold("a")
    await desk.hold("b")
    assert await desk.notices.send() == 2
    assert await desk.addressed() == ["op@a.example", "op@b.example"]


async def test_a_firm_notified_lately_and_one_with_too_much_for_a_notice_stop_no_other() -> None:
    desk = Desk()
    await desk.hold("a")
    assert await desk.notices.send() == 1
    await desk.spool.store(many(LIMIT + 1, "a"))
    await desk.hold("b")
    assert await desk.notices.send() == 1
    desk.now += QUIET_SECONDS
    await desk.hold("b")
    assert await desk.notices.send() == 2
    assert desk.counts == [1, 1, LIMIT, 1]


async def test_deferred_deliveries_that_are_not_late_stop_no_notice_of_late_ones() -> None:
    desk = Desk()
    queued = plan(*[f"c{number}@agiris.example" for number in range(LIMIT + 1)], firm="a")
    await desk.spool.store(mail(queued, at=1.0))
    for claim in await desk.spool.claim(desk.now, 60, LIMIT + 1):
        await desk.spool.settle(claim, Transition(State.DEFERRED, desk.now + 60, "451 busy", "deferred"))
    await desk.spool.store(mail(plan(CLIENT, firm="a"), at=desk.now))
    (claim,) = await desk.spool.claim(desk.now, 60, 1)
    await desk.spool.settle(claim, Transition(State.DEFERRED, desk.now + 60, "451 busy", "deferred", report="late"))
    assert await desk.notices.send() == 1
    assert desk.counts == [1]


async def test_undeliverable_notices_stop_no_notice() -> None:
    desk = Desk(operator="ops@host.example")
    to = [f"o{number}@a.example" for number in range(LIMIT + 1)]
    await desk.spool.store(replace(mail(plan(*to, firm=None, dossier=None), at=1.0), generated=True))
    for claim in await desk.spool.claim(desk.now, 60, LIMIT + 1):
        await desk.spool.settle(claim, Transition(State.FAILED, None, "550 no", "failed"))
    await desk.spool.store(mail(plan(CLIENT, firm=None, dossier=None), at=desk.now))
    (claim,) = await desk.spool.claim(desk.now, 60, 1)
    await desk.spool.settle(claim, Transition(State.FAILED, None, "550 no", "failed", report="failed"))
    assert await desk.notices.send() == 1
    assert await desk.addressed() == ["ops@host.example"]


@pytest.mark.parametrize(
    ("firms", "held", "reported"),
    [
        (2, None, "ops@host.example"),
        (2, "removed", "ops@host.example"),
        (2, "a", "op@a.example"),
        (1, None, "op@a.example"),
        (1, "removed", "ops@host.example"),
    ],
)
async def test_the_hosts_operator_is_notified_of_what_is_of_no_firm(
    firms: int, held: str | None, reported: str
) -> None:
    known = [Firm("a", "Cabinet A", "op@a.example"), Firm("b", "Cabinet B", "op@b.example")][:firms]
    desk = Desk(*known, operator="ops@host.example")
    await desk.hold(held)
    assert await desk.notices.send() == 1
    assert await desk.addressed() == [reported]
    assert await desk.notices.send() == 0


@pytest.mark.parametrize(
    ("smarthosts", "used"),
    [(("other", "default"), "default"), (("default", "other"), "default"), (("other",), "other"), ((), "default")],
)
async def test_a_notice_leaves_by_the_smarthost_default(smarthosts: Sequence[str], used: str) -> None:
    desk = Desk(smarthosts=smarthosts)
    await desk.hold("a")
    await desk.notices.send()
    (made,) = await desk.spool.find(Query(frozenset({State.QUEUED})))
    assert made.smarthost == used
