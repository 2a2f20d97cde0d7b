"""Who is told of what waits: each thing once, grouped, and never another firm's."""

from dataclasses import replace

from relay.daemon.notices import QUIET, Notices
from relay.export.terms import Firm, Terms
from relay.lifecycle import Transition
from relay.model import Disposition, State
from relay.reason import Reason
from relay.settings.settings import Settings
from relay.spool.memory import MemorySpool
from relay.spool.port import Query
from tests.support.spooled import CLIENT, mail, plan


class Told:
    def __init__(self) -> None:
        self.counts: list[int] = []

    def told(self, about: str, queue_id: str, deliveries: int) -> None:
        self.counts.append(deliveries)


class Desk:
    """Two firms, one clock, one spool."""

    def __init__(self, *firms: Firm) -> None:
        self.now = 2_000_000.0
        known = firms or (Firm("a", "Cabinet A", "op@a.example"), Firm("b", "Cabinet B", "op@b.example"))
        terms = Terms("relay.example", ("*@export.example",), firms={firm.key: firm for firm in known})
        self.spool = MemorySpool(clock=lambda: self.now)
        self.witness = Told()
        self.woken = 0
        settings = Settings(terms)
        self.notices = Notices(self.spool, lambda: settings, self.witness, self._wake, lambda: self.now)

    def _wake(self) -> None:
        self.woken += 1

    async def hold(self, firm: str | None, count: int = 1) -> None:
        for _ in range(count):
            held = plan(CLIENT, disposition=Disposition.HOLD, reason=Reason.WRONG_CLIENT, firm=firm, dossier="1")
            await self.spool.store(mail(held))

    async def addressed(self) -> list[str | None]:
        return sorted(str(each.recipient) for each in await self.spool.find(Query(frozenset({State.QUEUED}))))


async def test_a_thousand_held_mails_are_one_notice_and_told_once() -> None:
    desk = Desk()
    await desk.hold("a", 1000)
    assert await desk.notices.tell() == 1
    assert await desk.notices.tell() == 0
    assert (await desk.addressed(), desk.witness.counts, desk.woken) == (["op@a.example"], [1000], 1)


async def test_each_firm_is_told_of_its_own_only() -> None:
    desk = Desk()
    await desk.hold("a")
    await desk.hold("b", 2)
    assert await desk.notices.tell() == 2
    assert await desk.addressed() == ["op@a.example", "op@b.example"]
    assert sorted(desk.witness.counts) == [1, 2]


async def test_what_comes_soon_after_waits_for_the_quiet_to_end() -> None:
    desk = Desk()
    await desk.hold("a")
    await desk.notices.tell()
    await desk.hold("a", 3)
    desk.now += QUIET - 1
    assert await desk.notices.tell() == 0
    desk.now += 1
    assert await desk.notices.tell() == 1
    assert desk.witness.counts == [1, 3]


async def test_a_clock_set_back_silences_nobody() -> None:
    desk = Desk()
    await desk.hold("a")
    await desk.notices.tell()
    await desk.hold("a")
    desk.now -= 86400
    assert await desk.notices.tell() == 1


async def test_a_mail_of_no_known_client_is_told_only_where_there_is_one_firm() -> None:
    many = Desk()
    await many.hold(None)
    assert await many.notices.tell() == 0
    one = Desk(Firm("a", "Cabinet A", "op@a.example"))
    await one.hold(None)
    assert await one.notices.tell() == 1
    other_has_no_operator = Desk(Firm("a", "Cabinet A", "op@a.example"), Firm("b", "Cabinet B"))
    await other_has_no_operator.hold(None)
    assert await other_has_no_operator.notices.tell() == 0


async def test_late_and_failed_are_told_and_notices_themselves_are_not() -> None:
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
    assert await desk.notices.tell() == 1
    assert desk.witness.counts == [2]
