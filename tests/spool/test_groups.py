"""What waits together is written together, and each is as if it had come alone."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.lifecycle import step
from relay.model import Claim, OperatorAction, Retry, State
from relay.reasons import Reason
from relay.replies import Delivered, Failed, Reply, Stage
from relay.spool.open import open_spool
from relay.spool.port import Query, Reservation, SpoolError, Stored
from relay.spool.sqlite import rows
from relay.spool.sqlite.engine import SqliteSpool
from tests.support.spool_messages import facturx, mail, plan

NOW = 2_000_000.0
ROOM = Reservation(60, {"agiris": 99})


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[SqliteSpool]:
    opened = open_spool(f"sqlite://{tmp_path}/queue.db", clock=lambda: NOW)
    assert isinstance(opened, SqliteSpool)
    yield opened
    await opened.close()


async def in_one_commit(spool: SqliteSpool, *jobs: Coroutine[Any, Any, Any]) -> list[Any]:
    """What each gives or raises, the writer kept busy until all of them wait."""
    busy, go = threading.Event(), threading.Event()

    def wait(db: sqlite3.Connection) -> None:
        busy.set()
        go.wait(10)

    sizes, write = [], spool._writer._write

    def described(batch: Sequence[Any]) -> None:
        sizes.append(len(batch))
        write(batch)

    spool._writer._write = described  # type: ignore[method-assign]
    first = asyncio.create_task(spool._change(wait))
    await asyncio.to_thread(busy.wait, 10)
    tasks = [asyncio.create_task(each) for each in jobs]
    await asyncio.sleep(0)  # each of them is in the queue
    go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await first
    spool._writer._write = write  # type: ignore[method-assign]
    assert sizes == [1, len(jobs)]
    return results


async def states(spool: SqliteSpool, queue_id: str) -> list[State]:
    return [each.state for each in await spool.find(Query(queue_id=queue_id))]


async def stored(spool: SqliteSpool, count: int) -> list[Claim]:
    found: list[Stored] = [await spool.store(mail(), ROOM) for _ in range(count)]
    return [claim for each in found for claim in each.claims]


def done(spool: SqliteSpool, claim: Claim) -> Coroutine[Any, Any, bool]:
    return spool.settle(claim, step(claim.delivery, Delivered(Reply(250, "2.0.0", "ok")), NOW, Retry()))


class TestStore:
    @pytest.mark.parametrize(
        "count", [1, 2, rows.ROWS_PER_STATEMENT, rows.ROWS_PER_STATEMENT + 1, 3 * rows.ROWS_PER_STATEMENT]
    )
    async def test_each_has_what_it_would_have_alone(self, spool: SqliteSpool, count: int) -> None:
        before = await stored(spool, 1)
        given = [
            mail(plan("a@x", "b@x", documents=(facturx(f"G-{n}"),)), plan(detail="é\udce9"), raw=b"%d" % n)
            for n in range(count)
        ]
        results = await in_one_commit(spool, *(spool.store(each, ROOM) for each in given))
        assert [each.queue_id for each in results] == [each.queue_id for each in given]
        for n, (each, result) in enumerate(zip(given, results, strict=True)):
            record = await spool.show(each.queue_id)
            assert record is not None and (record.message.raw, record.message.envelope) == (each.raw, each.envelope)
            assert [(d.number, d.recipient, d.state) for d in record.deliveries] == [
                (1, "a@x", State.ACTIVE),
                (2, "b@x", State.ACTIVE),
                (3, None, State.HELD),
            ]
            assert [(event.number, event.what) for event in record.history] == [(0, "accepted"), (3, "held")]
            assert [claim.delivery for claim in result.claims] == list(record.deliveries[:2])
            assert {d.queue_id for d in await spool.find(Query(term=f"G-{n}"))} == {each.queue_id}
        assert await states(spool, before[0].delivery.queue_id) == [State.ACTIVE]

    async def test_a_copy_is_answered_with_the_first_of_the_same_commit(self, spool: SqliteSpool) -> None:
        other, *same = mail(), *(mail(fingerprint="same") for _ in range(3))
        results = await in_one_commit(spool, *(spool.store(each) for each in (same[0], other, *same[1:])))
        first = same[0].queue_id
        assert [(each.queue_id, each.duplicate) for each in results] == [
            (first, False),
            (other.queue_id, False),
            (first, True),
            (first, True),
        ]
        assert len(await spool.find(Query())) == 2

    async def test_a_document_is_held_when_another_of_the_same_commit_has_it(self, spool: SqliteSpool) -> None:
        wanted = plan("a@x", "b@x", documents=(facturx("F-77"),))
        given = [
            mail(plan("B@x", documents=wanted.documents)),
            mail(wanted, hold_duplicates=True),
            mail(wanted, hold_duplicates=True),
            mail(wanted),
        ]
        await in_one_commit(spool, *(spool.store(each) for each in given))
        found = [await spool.find(Query(queue_id=each.queue_id)) for each in given]
        held, queued = State.HELD, State.QUEUED
        assert [[d.state for d in each] for each in found] == [[queued], [queued, held], [held, held], [queued, queued]]
        assert {d.reason for each in found for d in each if d.state is held} == {Reason.DUPLICATE_DOCUMENT}
        first, second = given[0].queue_id, given[1].queue_id
        assert [found[1][1].detail, found[2][0].detail] == [first, second]
        assert found[2][1].detail in (first, second)  # both came at the same time

    async def test_who_was_given_up_does_not_stand_in_the_way_of_those_that_come_together(
        self, spool: SqliteSpool
    ) -> None:
        gone = mail(plan("a@x", documents=(facturx("F-1"),)), fingerprint="gone")
        await spool.store(gone)
        await spool.apply_action(gone.queue_id, None, OperatorAction("drop"), NOW)
        again = mail(plan("a@x", documents=(facturx("F-1"),)), fingerprint="gone", hold_duplicates=True)
        results = await in_one_commit(spool, spool.store(mail()), spool.store(again))
        assert [each.duplicate for each in results] == [False, False]
        assert await states(spool, again.queue_id) == [State.QUEUED]


class TestSettle:
    async def test_a_lost_claim_and_one_settled_twice_amid_others(self, spool: SqliteSpool) -> None:
        first, lost, last = await stored(spool, 3)
        forged, notice = replace(lost, token="guess"), mail(plan("operator@x"), generated=True)
        failed = step(lost.delivery, Failed(Reply(550, "5.1.1", "no"), Stage.RCPT), NOW, Retry())
        results = await in_one_commit(
            spool, done(spool, first), spool.settle(forged, failed, (notice,)), done(spool, last), done(spool, first)
        )
        assert results == [True, False, True, False]
        assert await spool.show(notice.queue_id) is None
        for claim, state, events in (
            (first, State.DELIVERED, ["accepted", "delivered"]),
            (lost, State.ACTIVE, ["accepted"]),
            (last, State.DELIVERED, ["accepted", "delivered"]),
        ):
            record = await spool.show(claim.delivery.queue_id)
            assert record is not None
            assert ([each.state for each in record.deliveries], [each.what for each in record.history]) == (
                [state],
                events,
            )


class TestTentativeClaims:
    async def test_a_commit_that_is_repeated_tells_its_claims_anew_and_one_that_fails_stores_nothing(
        self, spool: SqliteSpool
    ) -> None:
        told: dict[str, list[Claim]] = {"good": [], "clash": []}
        [old] = await stored(spool, 1)
        room = {name: Reservation(60, {"agiris": 1}, told[name].extend) for name in told}
        clash = mail(queue_id=old.delivery.queue_id)
        good, failed = await in_one_commit(spool, spool.store(mail(), room["good"]), spool.store(clash, room["clash"]))
        assert isinstance(failed, SpoolError) and not told["clash"]
        assert told["good"][-1] == good.claims[0]

    async def test_claims_are_told_before_the_octets_are_durable(
        self, spool: SqliteSpool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told, go, synced = asyncio.Event(), threading.Event(), threading.Event()
        sync = spool._appender.sync

        def sync_when_allowed() -> None:
            go.wait(10)
            sync()
            synced.set()

        monkeypatch.setattr(spool._appender, "sync", sync_when_allowed)
        storing = asyncio.create_task(spool.store(mail(), Reservation(60, {"agiris": 1}, lambda _: told.set())))
        await told.wait()
        assert not synced.is_set() and not storing.done()
        go.set()
        assert len((await storing).claims) == 1

    async def test_who_does_not_wait_any_more_is_told_nothing(
        self, spool: SqliteSpool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entered, go = threading.Event(), threading.Event()
        begin = spool._appender.begin

        def begin_when_allowed() -> None:
            entered.set()
            go.wait(10)
            begin()

        monkeypatch.setattr(spool._appender, "begin", begin_when_allowed)
        told: list[Claim] = []
        storing = asyncio.create_task(spool.store(mail(), Reservation(60, {"agiris": 1}, told.extend)))
        await asyncio.to_thread(entered.wait, 10)
        storing.cancel()
        await asyncio.gather(storing, return_exceptions=True)
        go.set()
        assert len(await spool.find(Query())) <= 1
        await spool.store(mail())
        assert not told


class TestOneSpoilsIt:
    async def test_who_fails_in_a_commit_of_all_kinds_fails_alone(self, spool: SqliteSpool) -> None:
        one, other = await stored(spool, 2)
        clash, good = mail(queue_id=one.delivery.queue_id), [mail(raw=b"x" * 9000) for _ in range(2)]
        results = await in_one_commit(
            spool,
            done(spool, one),
            spool.store(good[0]),
            spool.store(clash),
            spool.apply_action(other.delivery.queue_id, None, OperatorAction("hold"), NOW),
            spool.store(good[1]),
            done(spool, other),
        )
        assert isinstance(results[2], SpoolError)
        assert (results[0], results[3], results[5]) == (True, (), True)
        assert [results[1].queue_id, results[4].queue_id] == [each.queue_id for each in good]
        assert [await spool.load(each.queue_id) for each in good] == good
        for claim in (one, other):
            record = await spool.show(claim.delivery.queue_id)
            assert record is not None and [each.what for each in record.history] == ["accepted", "delivered"]
