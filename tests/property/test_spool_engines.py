"""Both engines through the same random life: they agree in every answer, lose nothing and settle no token twice.

Beyond agreement: no delivery has two live claims, what was delivered is not claimed again, and whatever may move does
come to its end. A crash is the SQLite engine left as it stands and opened anew by another that takes over: no lease
survives it. The memory engine plays it by ending all leases.
"""

import asyncio
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.lifecycle import step
from relay.model import Claim, Delivery, Disposition, Message, OperatorAction, Retry, State
from relay.replies import Deferred, Delivered, Failed, OutcomeUnknown, Reply, Stage
from relay.spool.open import open_spool
from relay.spool.port import Query, Record, Reservation, RetentionWindows, Spool
from tests.support.memory_spool import MemorySpool
from tests.support.spool_messages import facturx, mail, plan

WINDOWS = RetentionWindows(resubmission=5000.0, documents=20000.0)
BUSY = Reply(451, "4.3.0", "busy")
OUTCOMES = st.sampled_from(
    [
        Delivered(Reply(250, "2.0.0", "ok")),
        Deferred(BUSY, Stage.RCPT),
        OutcomeUnknown(BUSY),
        Failed(Reply(550, "5.1.1", "no"), Stage.RCPT),
    ]
)
WAITING = (State.QUEUED, State.ACTIVE, State.DEFERRED)
RETRY = Retry(first=60, ceiling=600, warn_after=1000, give_up=3000, attempts=3)
PLANS = st.lists(
    st.builds(
        lambda to, disposition, number, destination: plan(
            *to, disposition=disposition, documents=(facturx(number),), destination=destination
        ),
        st.lists(st.sampled_from(["a@x", "b@x"]), max_size=2, unique=True),
        st.sampled_from([Disposition.RELAY, Disposition.RELAY, Disposition.HOLD, Disposition.WITHHOLD]),
        st.sampled_from(["F-1", "F-2", "F-3"]),
        st.sampled_from(["agiris", "slow"]),
    ),
    min_size=1,
    max_size=2,
).map(tuple)


class Engines(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1_000_000.0
        self.serial = count(1)
        self.memory = MemorySpool(clock=lambda: self.now, windows=WINDOWS, ceiling=RETRY.ceiling)
        self.sqlite = self.reopen()
        self.answered: dict[str, Message] = {}
        self.claims: list[tuple[Claim, Claim]] = []
        self.spent: set[str] = set()
        self.live: dict[tuple[str, int], float] = {}
        self.delivered: set[tuple[str, int]] = set()

    def reopen(self) -> Spool:
        url = f"sqlite://{self.folder}/queue.db"
        return open_spool(url, clock=lambda: self.now, windows=WINDOWS, ceiling=RETRY.ceiling)

    def both(self, verb: Callable[[Spool], Awaitable[Any]]) -> tuple[Any, Any]:
        async def run(spool: Spool) -> Any:
            return await verb(spool)

        return self.loop.run_until_complete(run(self.memory)), self.loop.run_until_complete(run(self.sqlite))

    def agreed(self, verb: Callable[[Spool], Awaitable[Any]]) -> Any:
        ours, theirs = self.both(verb)
        assert ours == theirs
        return ours

    def mail(self, *plans: Any, **fields: Any) -> Message:
        """Its names depend on nothing but the steps before: a run can be played again."""
        serial = next(self.serial)
        names = {"queue_id": f"Q{serial:05}", "fingerprint": f"fingerprint-{serial}", "raw": b"raw-%d" % serial}
        return mail(*plans, **{"at": self.now, **names, **fields})

    @rule(seconds=st.sampled_from([1.0, 60.0, 700.0, 4000.0, 30000.0, -90000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(plans=PLANS, hold=st.booleans(), generated=st.booleans(), waited=st.sampled_from([0.0, 5.0, 500.0]))
    def store(self, plans: tuple[Any, ...], hold: bool, generated: bool, waited: float) -> None:
        given = self.mail(*plans, at=self.now - waited, hold_duplicates=hold, generated=generated)
        stored = self.agreed(lambda spool: spool.store(given))
        assert not stored.duplicate
        self.answered[given.queue_id] = given

    @rule(plans=PLANS, room=st.dictionaries(st.sampled_from(["agiris", "slow"]), st.integers(0, 3), max_size=2))
    def store_and_take(self, plans: tuple[Any, ...], room: dict[str, int]) -> None:
        given = self.mail(*plans)
        ours, theirs = self.both(lambda spool: spool.store(given, Reservation(120.0, room)))
        self.answered[given.queue_id] = given
        self.claimed(ours.claims, theirs.claims)
        taken = Counter(each.delivery.destination for each in ours.claims)
        assert all(count <= room.get(name, 0) for name, count in taken.items())

    @rule(data=st.data())
    def submit_again(self, data: st.DataObject) -> None:
        if not self.answered:
            return
        first = data.draw(st.sampled_from(sorted(self.answered)))
        given = self.mail(fingerprint=self.answered[first].fingerprint)
        stored = self.agreed(lambda spool: spool.store(given))
        if not stored.duplicate:
            self.answered[given.queue_id] = given

    @rule(
        limit=st.integers(1, 6),
        room=st.dictionaries(st.sampled_from(["agiris", "slow"]), st.integers(0, 3), max_size=2),
    )
    def claim(self, limit: int, room: dict[str, int]) -> None:
        full = [name for name, free in room.items() if not free]
        due = self.agreed(lambda spool: spool.next_due(full))
        ours, theirs = self.both(lambda spool: spool.claim(self.now, 120.0, limit, room))
        taken = Counter(each.delivery.destination for each in ours)
        assert all(count <= room.get(name, limit) for name, count in taken.items()) and taken.total() <= limit
        assert not ours or (due is not None and due <= self.now), "what is due for a destination with room is told"
        self.claimed(ours, theirs)

    @rule(
        limit=st.integers(1, 6),
        room=st.dictionaries(st.sampled_from(["agiris", "slow"]), st.integers(0, 3), max_size=2),
        begun=st.booleans(),
    )
    def claim_unconfirmed(self, limit: int, room: dict[str, int], begun: bool) -> None:
        ours, theirs = self.both(lambda spool: spool.claim(self.now, 120.0, limit, room, unconfirmed=True))
        taken = Counter(each.delivery.destination for each in ours)
        assert all(count <= room.get(name, limit) for name, count in taken.items()) and taken.total() <= limit
        assert all(each.unconfirmed for each in (*ours, *theirs))
        self.claimed(ours, theirs)
        for claims in zip(ours, theirs, strict=True):
            assert not begun or self.each_its_own(claims, lambda spool, claim: spool.begin_attempt(claim))

    def claimed(self, ours: tuple[Claim, ...], theirs: tuple[Claim, ...]) -> None:
        assert [(each.delivery, each.lease) for each in ours] == [(each.delivery, each.lease) for each in theirs]
        for each in ours:
            key = each.delivery.queue_id, each.delivery.number
            assert self.live.get(key, self.now) <= self.now, "claimed while another claim holds"
            assert key not in self.delivered, "claimed after it was delivered"
            self.live[key] = each.lease
        self.claims += zip(ours, theirs, strict=True)

    def each_its_own(self, claims: tuple[Claim, Claim], verb: Callable[[Spool, Claim], Awaitable[Any]]) -> Any:
        return self.agreed(lambda spool: verb(spool, claims[0] if spool is self.memory else claims[1]))

    @rule(data=st.data(), outcome=OUTCOMES, notice=st.booleans())
    def settle(self, data: st.DataObject, outcome: Any, notice: bool) -> None:
        if not self.claims:
            return
        claims = data.draw(st.sampled_from(self.claims))
        made = step(claims[0].delivery, outcome, self.now, RETRY)
        report = self.mail(plan("operator@x"), generated=True)
        done = self.each_its_own(
            claims, lambda spool, claim: spool.settle(claim, made, (report,) if notice and made.report else ())
        )
        if done:
            assert claims[1].token not in self.spent
            self.spent.add(claims[1].token)
            key = claims[0].delivery.queue_id, claims[0].delivery.number
            self.live.pop(key, None)
            if made.state is State.DELIVERED:
                self.delivered.add(key)
            if notice and made.report:
                self.answered[report.queue_id] = report

    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        if self.claims:
            claims = data.draw(st.sampled_from(self.claims))
            if self.each_its_own(claims, lambda spool, claim: spool.renew(claim, self.now + 500.0)):
                self.live[claims[0].delivery.queue_id, claims[0].delivery.number] = self.now + 500.0

    @rule(
        data=st.data(),
        outcome=OUTCOMES,
        stores=st.lists(st.tuples(PLANS, st.booleans(), st.sampled_from([None, "x", "y"])), max_size=4),
    )
    def all_at_once(self, data: st.DataObject, outcome: Any, stores: list[tuple[Any, bool, str | None]]) -> None:
        """What waits for one commit is carried out in the order it came, each for itself: also copies of each other."""
        given = [
            self.mail(*plans, hold_duplicates=hold, **({"fingerprint": same} if same else {}))
            for plans, hold, same in stores
        ]
        pairs = data.draw(st.lists(st.sampled_from(self.claims), max_size=3)) if self.claims else []
        made = [step(pair[0].delivery, outcome, self.now, RETRY) for pair in pairs]

        async def together() -> list[Any]:
            settling = [self.sqlite.settle(pair[1], each) for pair, each in zip(pairs, made, strict=True)]
            return await asyncio.gather(*map(self.sqlite.store, given), *settling)

        async def in_turn() -> list[Any]:
            stored = [await self.memory.store(each) for each in given]
            return stored + [await self.memory.settle(pair[0], each) for pair, each in zip(pairs, made, strict=True)]

        ours = self.loop.run_until_complete(in_turn())
        theirs = self.loop.run_until_complete(together())
        assert ours == theirs, (ours, theirs)
        answers = zip(given, ours[: len(given)], strict=True)
        self.answered |= {each.queue_id: each for each, stored in answers if not stored.duplicate}
        for (claim, other), transition, done in zip(pairs, made, ours[len(given) :], strict=True):
            if done:
                assert other.token not in self.spent
                self.spent.add(other.token)
                key = claim.delivery.queue_id, claim.delivery.number
                self.live.pop(key, None)
                if transition.state is State.DELIVERED:
                    self.delivered.add(key)

    @rule(data=st.data(), number=st.sampled_from([1, 2, 9]), failed=st.booleans())
    def a_bounce_comes_home(self, data: st.DataObject, number: int, failed: bool) -> None:
        if self.answered:
            queue_id = data.draw(st.sampled_from(sorted(self.answered)))
            self.agreed(lambda spool: spool.record_bounce(queue_id, number, "550 no", self.now, failed=failed))
            if failed:
                self.delivered.discard((queue_id, number))

    @rule(kind=st.sampled_from(["held", "late"]))
    def report(self, kind: str) -> None:
        about = self.agreed(lambda spool: spool.find(Query(unreported=kind, limit=3)))
        notice = self.mail(plan("operator@x"), generated=True)
        self.agreed(lambda spool: spool.store_notifications([(each, kind) for each in about], [notice], self.now))
        self.answered[notice.queue_id] = notice

    @precondition(lambda self: self.answered)
    @rule()
    def all_goes_well_from_now_on(self) -> None:
        """Nothing is stuck: every delivery that may move ends delivered, or is held for having gone unsettled."""
        for _ in range(100):
            self.now += 2 * RETRY.ceiling
            self.claim(6, {})
            self.claim_unconfirmed(6, {}, False)
            for claims in self.claims:
                made = step(claims[0].delivery, Delivered(Reply(250, "2.0.0", "ok")), self.now, RETRY)
                if self.each_its_own(claims, lambda spool, claim, made=made: spool.settle(claim, made)):
                    self.spent.add(claims[1].token)
                    key = claims[0].delivery.queue_id, claims[0].delivery.number
                    self.live.pop(key, None)
                    self.delivered.add(key)
            if self.agreed(lambda spool: spool.next_due()) is None:
                break
        left = self.agreed(lambda spool: spool.find(Query(states=frozenset(WAITING))))
        assert left == ()

    @rule(
        data=st.data(), verb=st.sampled_from(["hold", "release", "retry", "drop"]), number=st.sampled_from([None, 1, 2])
    )
    def order(self, data: st.DataObject, verb: str, number: int | None) -> None:
        if self.answered:
            queue_id = data.draw(st.sampled_from(sorted(self.answered)))
            self.agreed(
                lambda spool: spool.apply_action(queue_id, number, OperatorAction(verb, "anne", "why"), self.now)
            )

    @rule(data=st.data(), plans=PLANS)
    def replan(self, data: st.DataObject, plans: tuple[Any, ...]) -> None:
        if self.answered:
            queue_id = data.draw(st.sampled_from(sorted(self.answered)))
            self.agreed(lambda spool: spool.replan(queue_id, plans, OperatorAction("replan", "anne"), self.now))

    @rule(age=st.sampled_from([0.0, 5000.0]), limit=st.integers(1, 5), withheld=st.booleans())
    def purge(self, age: float, limit: int, withheld: bool) -> None:
        before = self.now - age
        self.agreed(lambda spool: spool.purge(before, limit, withheld=before if withheld else None))
        for queue_id, given in list(self.answered.items()):
            record = self.loop.run_until_complete(self.memory.show(queue_id))
            if record is None:
                assert given.arrived < before
                del self.answered[queue_id]

    @rule(orderly=st.booleans(), torn=st.binary(max_size=5000))
    def crash(self, orderly: bool, torn: bytes) -> None:
        """Kill -9 is a copy of the files as they stand; the copy is opened, the old engine is never heard of again.

        torn: what was on its way into the log and the segment, and not committed.
        """
        if not orderly:
            copy = Path(tempfile.mkdtemp())
            shutil.copytree(self.folder, copy, ignore=shutil.ignore_patterns("*-shm", "*.reserve"), dirs_exist_ok=True)
            for each in (copy / "queue.db-wal", *(copy / "queue.db.segments").iterdir()):
                with each.open("ab") as file:
                    file.write(torn)
        self.loop.run_until_complete(self.sqlite.close())
        if not orderly:
            shutil.rmtree(self.folder)
            self.folder = copy
        self.sqlite = self.reopen()
        for entry in self.memory._entries():
            entry.lease = 0.0
        self.live.clear()
        self.sqlite._turn = self.memory._turn  # type: ignore[attr-defined]

    @invariant()
    def they_agree_and_nothing_is_lost(self) -> None:
        found: tuple[Delivery, ...] = self.agreed(lambda spool: spool.find(Query()))
        assert {each.queue_id for each in found} == set(self.answered)
        self.agreed(lambda spool: spool.next_due())
        ours, theirs = self.both(lambda spool: spool.stats())
        assert {**ours.by_state} == {**theirs.by_state}
        assert (ours.held, ours.oldest) == (theirs.held, theirs.oldest)
        assert all(each.next_attempt is None for each in found if each.state.final or each.state is State.HELD)

    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        if self.answered:
            queue_id = data.draw(st.sampled_from(sorted(self.answered)))
            record: Record = self.agreed(lambda spool: spool.show(queue_id))
            assert record.message.raw == self.answered[queue_id].raw
            assert self.agreed(lambda spool: spool.load(queue_id)) == record.message
            self.agreed(lambda spool: spool.find(Query(term="F-2")))

    def teardown(self) -> None:
        self.loop.run_until_complete(self.sqlite.close())
        self.loop.close()
        with sqlite3.connect(self.folder / "queue.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        shutil.rmtree(self.folder)


Engines.TestCase.settings = settings(
    max_examples=30, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestEngines = Engines.TestCase
