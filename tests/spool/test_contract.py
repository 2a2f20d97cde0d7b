"""What every engine promises, verb by verb."""

import asyncio
from dataclasses import replace

import pytest

from relay.inspection import Kind, Party
from relay.lifecycle import Transition, return_unattempted, step
from relay.model import Claim, Disposition, HistoryEntry, OperatorAction, Retry, State
from relay.reasons import Reason, copy_of, describe
from relay.replies import Deferred, Delivered, Failed, Reply, Stage
from relay.spool.port import Query, Reservation, Spool, SpoolError
from tests.spool.conftest import Clock
from tests.support.spool_messages import CLIENT, facturx, mail, plan

OK = Reply(250, "2.0.0", "taken")
NO = Reply(550, "5.1.1", "no such user")
BUSY = Reply(451, "4.3.0", "busy")
RETRY = Retry()


async def deliver(spool: Spool, clock: Clock, outcome: object = None, count: int = 1) -> None:
    for claim in await spool.claim(clock.now, 60, count):
        made = step(claim.delivery, outcome or Delivered(OK), clock.now, RETRY)  # type: ignore[arg-type]
        assert await spool.settle(claim, made)


async def states(spool: Spool, queue_id: str) -> list[State]:
    return [each.state for each in await spool.find(Query(queue_id=queue_id))]


class TestStore:
    async def test_a_message_comes_back_as_it_was_given(self, spool: Spool) -> None:
        given = mail(raw=bytes(range(256)) * 50)
        assert (await spool.store(given)).queue_id == given.queue_id
        assert await spool.load(given.queue_id) == given

    async def test_undecodable_octets_of_names_do_not_keep_a_message_out(self, spool: Spool) -> None:
        odd = plan(CLIENT, documents=(replace(facturx("F\udce9"), filename="re\udce7u.pdf"),), detail="\udce9")
        given = mail(odd, message_id="<\udce9@x>")
        await spool.store(given)
        loaded = await spool.load(given.queue_id)
        assert loaded is not None and loaded.plans == given.plans

    async def test_each_disposition_has_its_first_state(self, spool: Spool) -> None:
        given = mail(
            plan("a@x", "b@x"),
            plan("c@x", disposition=Disposition.HOLD, reason=Reason.WRONG_CLIENT, detail="123"),
            plan(disposition=Disposition.HOLD, reason=Reason.UNKNOWN_CLIENT),
            plan("d@x", disposition=Disposition.WITHHOLD, reason=Reason.NOT_SHARED),
            plan(),
        )
        await spool.store(given)
        found = await spool.find(Query(queue_id=given.queue_id))
        assert [(each.number, each.plan, each.recipient, each.state, each.reason) for each in found] == [
            (1, 0, "a@x", State.QUEUED, None),
            (2, 0, "b@x", State.QUEUED, None),
            (3, 1, "c@x", State.HELD, Reason.WRONG_CLIENT),
            (4, 2, None, State.HELD, Reason.UNKNOWN_CLIENT),
            (5, 3, "d@x", State.WITHHELD, Reason.NOT_SHARED),
            (6, 4, None, State.HELD, Reason.NO_ADDRESS),
        ]
        assert await spool.next_due() == given.arrived

    async def test_what_is_taken_at_once_is_claimed_in_the_same_commit(self, spool: Spool, clock: Clock) -> None:
        given = mail(plan("a@x", "b@x"), plan("c@x", destination="other"), plan("d@x", destination="slow"))
        stored = await spool.store(given, Reservation(60, {"agiris": 1, "other": 5}))
        assert [(each.delivery.recipient, each.lease) for each in stored.claims] == [
            ("a@x", clock.now + 60),
            ("c@x", clock.now + 60),
        ]
        assert {(each.delivery.attempts, each.delivery.unconfirmed_attempts) for each in stored.claims} == {(1, 0)}
        assert await states(spool, given.queue_id) == [State.ACTIVE, State.QUEUED, State.ACTIVE, State.QUEUED]
        others = await spool.claim(clock.now, 60, 10)
        assert sorted(each.delivery.recipient or "" for each in others) == ["b@x", "d@x"]
        for claim in stored.claims:
            assert await spool.settle(claim, step(claim.delivery, Delivered(OK), clock.now, RETRY))
        assert not await spool.settle(
            stored.claims[0], step(others[0].delivery, Failed(NO, Stage.RCPT), clock.now, RETRY)
        )
        assert await states(spool, given.queue_id) == [State.DELIVERED, State.ACTIVE, State.DELIVERED, State.ACTIVE]

    async def test_the_claims_of_a_commit_under_way_are_told_before_it_ends_and_none_of_a_copy(
        self, spool: Spool
    ) -> None:
        told: list[tuple[Claim, ...]] = []
        room = Reservation(60, {"agiris": 2}, lambda claims: told.append(tuple(claims)))
        given = mail(plan("a@x", "b@x"))
        stored = await spool.store(given, room)
        assert told == [stored.claims] and len(stored.claims) == 2
        assert (await spool.store(replace(given, queue_id="again"), room)).duplicate
        assert not (await spool.store(mail(plan("c@x", destination="full")), room)).claims
        assert len(told) == 1

    async def test_what_was_taken_and_never_settled_is_due_when_its_lease_ends(
        self, spool: Spool, clock: Clock
    ) -> None:
        await spool.store(mail(plan("a@x")), Reservation(60, {"agiris": 1}))
        assert await spool.next_due() is None and not await spool.claim(clock.now, 60, 1, unconfirmed=True)
        clock.now += 61
        [again] = await spool.claim(clock.now, 60, 1, unconfirmed=True)
        assert (again.delivery.attempts, again.delivery.unconfirmed_attempts, again.unconfirmed) == (1, 0, True)

    async def test_only_what_is_queued_and_due_is_taken(self, spool: Spool, clock: Clock) -> None:
        room = Reservation(60, {"agiris": 9})
        first = mail(plan("a@x", documents=(facturx("F1"),)), hold_duplicates=True)
        assert len((await spool.store(first, room)).claims) == 1
        again = await spool.store(mail(fingerprint=first.fingerprint), room)
        assert (again.duplicate, again.claims) == (True, ())
        held = mail(plan("a@x", documents=(facturx("F1"),)), hold_duplicates=True)
        assert (await spool.store(held, room)).claims == ()
        assert (await spool.store(mail(plan("b@x", disposition=Disposition.WITHHOLD)), room)).claims == ()
        assert (await spool.store(mail(plan("c@x"), at=clock.now + 5), room)).claims == ()

    async def test_the_same_message_again_answers_with_the_first_queue_id(self, spool: Spool, clock: Clock) -> None:
        first = mail()
        await spool.store(first)
        await deliver(spool, clock)
        clock.now += 6 * 86400
        again = await spool.store(mail(fingerprint=first.fingerprint))
        assert (again.queue_id, again.duplicate) == (first.queue_id, True)
        assert len(await spool.find(Query())) == 1
        clock.now += 2 * 86400
        assert not (await spool.store(mail(fingerprint=first.fingerprint))).duplicate

    async def test_the_same_message_again_is_taken_when_the_first_was_given_up(
        self, spool: Spool, clock: Clock
    ) -> None:
        first = mail()
        await spool.store(first)
        await spool.apply_action(first.queue_id, None, OperatorAction("drop"), clock.now)
        assert not (await spool.store(mail(fingerprint=first.fingerprint))).duplicate

    async def test_the_same_document_to_the_same_address_is_held(self, spool: Spool, clock: Clock) -> None:
        document = facturx("F-77")
        first = mail(plan(CLIENT, documents=(document,)), hold_duplicates=True)
        second = mail(plan(CLIENT.upper(), "other@x", documents=(document,)), hold_duplicates=True)
        assert (await spool.store(first)).held == ()
        stored = await spool.store(second)
        held, free = await spool.find(Query(queue_id=second.queue_id))
        assert (held.state, held.reason, held.detail) == (State.HELD, Reason.DUPLICATE_DOCUMENT, first.queue_id)
        assert free.state is State.QUEUED
        assert stored.held == (held,)

    @pytest.mark.parametrize(
        ("change", "shared"),
        [
            ({}, "xml"),
            ({"number": None, "seller": Party()}, "xml"),
            ({"issued": "2026-12-24"}, "xml"),
            ({"xml_sha256": "0" * 64}, "number"),
            ({"xml_sha256": "0" * 64, "number": " F-77 "}, "number"),
            ({"xml_sha256": "0" * 64, "issued": "2026-12-24"}, "number"),
            ({"xml_sha256": "0" * 64, "type_code": "384"}, "number"),
            ({"xml_sha256": "0" * 64, "kind": Kind.XRECHNUNG}, "number"),
            ({"xml_sha256": None}, "number"),
            ({"xml_sha256": "0" * 64, "number": "F-78"}, ""),
            ({"xml_sha256": "0" * 64, "seller": Party(siren="356000000")}, ""),
            ({"xml_sha256": "0" * 64, "seller": Party()}, ""),
            ({"xml_sha256": "0" * 64, "number": None}, ""),
            ({"xml_sha256": "0" * 64, "type_code": "381"}, ""),
            ({"xml_sha256": "0" * 64, "issued": "2027-11-24"}, ""),
            ({"xml_sha256": "0" * 64, "kind": Kind.ORDERX}, ""),
        ],
        ids=str,
    )
    async def test_the_same_invoice_in_another_pdf_is_held(
        self, spool: Spool, change: dict[str, object], shared: str
    ) -> None:
        document = facturx("F-77")
        seller = Party("Menuiserie Dupont", siren="732829320")
        report = replace(document.report, xml_sha256="f" * 64, seller=seller, issued="2026-11-24")
        made_anew = replace(report, **{"sha256": "a" * 64, **change})  # type: ignore[arg-type]
        first = mail(plan(CLIENT, documents=(replace(document, report=report),)), hold_duplicates=True)
        second = mail(plan(CLIENT, "other@x", documents=(replace(document, report=made_anew),)), hold_duplicates=True)
        await spool.store(first)
        await spool.store(second)
        [found, elsewhere] = await spool.find(Query(queue_id=second.queue_id))
        assert elsewhere.state is State.QUEUED
        assert found.state is (State.HELD if shared else State.QUEUED)
        assert found.detail == (copy_of(first.queue_id, shared) if shared else "")

    async def test_the_surest_of_what_is_shared_with_the_first_message_is_said(
        self, spool: Spool, clock: Clock
    ) -> None:
        document = facturx("F-77")
        report = replace(document.report, xml_sha256="f" * 64, seller=Party(siren="732829320"))
        anew = replace(document, report=replace(report, sha256="a" * 64))
        first, second, third = (
            mail(plan(CLIENT, documents=(each,)), hold_duplicates=True)
            for each in (replace(document, report=report), anew, anew)
        )
        for each in (first, second, third):
            await spool.store(each)
            clock.now += 1
        [found] = await spool.find(Query(queue_id=third.queue_id))
        assert found.detail == copy_of(first.queue_id, "xml")
        await spool.apply_action(first.queue_id, 1, OperatorAction("drop"), clock.now)
        fourth = mail(plan(CLIENT, documents=(anew,)), hold_duplicates=True)
        await spool.store(fourth)
        [found] = await spool.find(Query(queue_id=fourth.queue_id))
        assert found.detail == second.queue_id

    async def test_the_same_document_is_relayed_when_the_setting_says_so(self, spool: Spool) -> None:
        document = facturx("F-77")
        for _ in range(2):
            await spool.store(mail(plan(CLIENT, documents=(document,))))
        assert {each.state for each in await spool.find(Query())} == {State.QUEUED}

    @pytest.mark.parametrize("end", ["failed", "dropped"])
    async def test_a_document_that_did_not_arrive_is_no_duplicate(self, spool: Spool, clock: Clock, end: str) -> None:
        document = facturx("F-77")
        first = mail(plan(CLIENT, documents=(document,)), hold_duplicates=True)
        await spool.store(first)
        if end == "failed":
            await deliver(spool, clock, Failed(NO, Stage.RCPT))
        else:
            await spool.apply_action(first.queue_id, 1, OperatorAction("drop"), clock.now)
        second = mail(plan(CLIENT, documents=(document,)), hold_duplicates=True)
        await spool.store(second)
        assert await states(spool, second.queue_id) == [State.QUEUED]

    async def test_many_at_once_are_all_there(self, spool: Spool) -> None:
        mails = [mail() for _ in range(50)]
        await asyncio.gather(*(spool.store(each) for each in mails))
        assert {each.queue_id for each in await spool.find(Query())} == {each.queue_id for each in mails}


class TestClaim:
    async def test_oldest_due_first_and_each_once(self, spool: Spool, clock: Clock) -> None:
        mails = [mail(at=clock.now - 30 + n) for n in range(3)]
        for each in reversed(mails):
            await spool.store(each)
        first = await spool.claim(clock.now, 60, 2)
        rest = await spool.claim(clock.now, 60, 9)
        assert [each.delivery.queue_id for each in (*first, *rest)] == [each.queue_id for each in mails]
        assert await spool.claim(clock.now, 60, 9) == ()

    async def test_a_claim_counts_an_attempt_and_is_active(self, spool: Spool, clock: Clock) -> None:
        given = mail()
        await spool.store(given)
        (claim,) = await spool.claim(clock.now, 60, 1)
        (found,) = await spool.find(Query(queue_id=given.queue_id))
        assert found == claim.delivery
        assert (found.state, found.attempts, found.unconfirmed_attempts, found.next_attempt) == (
            State.ACTIVE,
            1,
            0,
            None,
        )
        assert (found.first_attempt, claim.lease, claim.unconfirmed) == (clock.now, clock.now + 60, False)
        assert await spool.next_due() is None

    async def test_a_destination_that_takes_nothing_is_passed_over(self, spool: Spool, clock: Clock) -> None:
        await spool.store(mail(plan("a@x", destination="slow")))
        await spool.store(mail(plan("b@x", destination="agiris")))
        claims = await spool.claim(clock.now, 60, 9, {"slow": 0})
        assert [each.delivery.recipient for each in claims] == ["b@x"]
        assert await spool.next_due() == clock.now and await spool.next_due(["slow"]) is None
        assert await spool.next_due(["slow", "agiris"]) is None

    async def test_no_destination_gets_more_than_its_room(self, spool: Spool, clock: Clock) -> None:
        for number in range(12):
            name = "slow" if number < 9 else "agiris"
            await spool.store(mail(plan(f"{number}@x", destination=name), at=clock.now - 100 + number))
        claims = await spool.claim(clock.now, 60, 6, {"slow": 2})
        # One of the six is for the newest arrival; the two oldest have all the room there is at "slow".
        assert sorted(int((each.delivery.recipient or "")[:-2]) for each in claims) == [0, 1, 9, 10, 11]
        assert len(await spool.claim(clock.now, 60, 3, {"slow": 1, "agiris": 5})) == 1
        assert len(await spool.claim(clock.now, 60, 9)) == 6

    async def test_one_in_four_is_for_the_newest_arrival(self, spool: Spool, clock: Clock) -> None:
        for number in range(20):
            await spool.store(mail(plan(f"{number}@x"), at=clock.now + number))
        claims = await spool.claim(clock.now + 20, 60, 4)
        assert sorted(each.delivery.recipient or "" for each in claims) == ["0@x", "19@x", "1@x", "2@x"]

    async def test_a_lease_that_ran_out_is_claimed_anew_and_the_old_token_is_void(
        self, spool: Spool, clock: Clock
    ) -> None:
        await spool.store(mail())
        (old,) = await spool.claim(clock.now, 60, 1)
        assert await spool.claim(clock.now + 59, 60, 1, unconfirmed=True) == ()
        (new,) = await spool.claim(clock.now + 60, 60, 1, unconfirmed=True)
        assert new.token != old.token
        made = step(old.delivery, Delivered(OK), clock.now, RETRY)
        assert not await spool.settle(old, made)
        assert not await spool.renew(old, clock.now + 999)
        assert await spool.settle(new, made)
        assert not await spool.settle(new, made)

    async def test_a_settlement_is_carried_out_though_the_one_who_asked_is_cut_off(
        self, spool: Spool, clock: Clock
    ) -> None:
        given = mail(at=clock.now)
        await spool.store(given)
        [claim] = await spool.claim(clock.now, 60, 1)
        settling = asyncio.create_task(spool.settle(claim, step(claim.delivery, Delivered(OK), clock.now, RETRY)))
        await asyncio.sleep(0)
        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)
        assert not await spool.renew(claim, clock.now + 120), "it waits in line behind the settlement"
        assert await states(spool, given.queue_id) == [State.DELIVERED]

    async def test_a_renewed_lease_holds(self, spool: Spool, clock: Clock) -> None:
        await spool.store(mail())
        (claim,) = await spool.claim(clock.now, 60, 1)
        assert await spool.renew(claim, clock.now + 600)
        assert await spool.claim(clock.now + 599, 60, 1, unconfirmed=True) == ()
        assert len(await spool.claim(clock.now + 600, 60, 1, unconfirmed=True)) == 1

    async def test_unconfirmed_claims_that_never_began_are_not_counted(self, spool: Spool, clock: Clock) -> None:
        given = mail(plan("a@x", "b@x"))
        await spool.store(given, Reservation(60, {"agiris": 1}))
        assert len(await spool.claim(clock.now, 60, 1)) == 1
        for _ in range(30):
            clock.now += 60
            assert len(await spool.claim(clock.now, 60, 9, unconfirmed=True)) == 2
        found = await spool.find(Query(queue_id=given.queue_id))
        assert [(each.state, each.attempts, each.unconfirmed_attempts) for each in found] == [(State.ACTIVE, 1, 0)] * 2

    async def test_an_unconfirmed_delivery_begun_alone_three_times_is_held(self, spool: Spool, clock: Clock) -> None:
        given = mail()
        await spool.store(given, Reservation(60, {"agiris": 1}))
        for count in range(1, 4):
            clock.now += 60
            (claim,) = await spool.claim(clock.now, 60, 1, unconfirmed=True)
            assert await spool.begin_attempt(claim)
            (found,) = await spool.find(Query(queue_id=given.queue_id))
            assert (found.state, found.unconfirmed_attempts, found.attempts) == (State.ACTIVE, count, 1)
        clock.now += 60
        assert await spool.claim(clock.now, 60, 1, unconfirmed=True) == ()
        (found,) = await spool.find(Query(queue_id=given.queue_id))
        assert (found.state, found.reason, found.detail) == (State.HELD, Reason.UNSETTLED, "3")
        assert not await spool.begin_attempt(claim) and await spool.next_due() is None

    async def test_the_least_often_begun_goes_first_and_what_is_held_takes_no_place(
        self, spool: Spool, clock: Clock
    ) -> None:
        for recipient in ("a@x", "b@x", "c@x"):
            await spool.store(mail(plan(recipient)), Reservation(60, {"agiris": 1}))
        order = []
        for _ in range(10):
            clock.now += 60
            for claim in await spool.claim(clock.now, 60, 1, unconfirmed=True):
                assert await spool.begin_attempt(claim)
                order.append(claim.delivery.recipient)
                clock.now += 60  # as after a crash
        assert order == ["a@x", "b@x", "c@x"] * 3

    async def test_unconfirmed_and_waiting_deliveries_are_claimed_apart_and_within_the_room(
        self, spool: Spool, clock: Clock
    ) -> None:
        await spool.store(
            mail(plan("a@x", "b@x"), plan("c@x", destination="slow")), Reservation(60, {"agiris": 2, "slow": 1})
        )
        clock.now += 60
        await spool.store(mail(plan("new@x"), at=clock.now))
        assert [each.delivery.recipient for each in await spool.claim(clock.now, 60, 9)] == ["new@x"]
        only = await spool.claim(clock.now, 60, 9, {"agiris": 0}, unconfirmed=True)
        assert [each.delivery.recipient for each in only] == ["c@x"]
        rest = await spool.claim(clock.now, 60, 9, {"agiris": 1}, unconfirmed=True)
        assert [each.delivery.recipient for each in rest] == ["a@x"]

    async def test_a_claim_given_back_is_no_attempt(self, spool: Spool, clock: Clock) -> None:
        await spool.store(mail())
        for _ in range(3):
            (claim,) = await spool.claim(clock.now, 60, 1)
            assert claim.delivery.attempts == 1
            assert await spool.settle(claim, return_unattempted(claim.delivery, clock.now, BUSY))
        (found,) = await spool.find(Query())
        assert (found.state, found.attempts, found.next_attempt) == (State.DEFERRED, 0, clock.now)

    async def test_settling_ends_the_count_of_unsettled_attempts(self, spool: Spool, clock: Clock) -> None:
        await spool.store(mail())
        await spool.claim(clock.now, 60, 1)
        clock.now += 60
        (claim,) = await spool.claim(clock.now, 60, 1, unconfirmed=True)
        assert await spool.begin_attempt(claim)
        assert await spool.settle(claim, step(claim.delivery, Deferred(BUSY, Stage.DATA), clock.now, RETRY))
        clock.now += 7200
        (claim,) = await spool.claim(clock.now, 60, 1)
        assert (claim.delivery.attempts, claim.delivery.unconfirmed_attempts, claim.unconfirmed) == (2, 0, False)

    async def test_a_clock_set_back_a_day_delays_by_the_ceiling_at_most(self, spool: Spool, clock: Clock) -> None:
        await spool.store(mail())
        await deliver(spool, clock, Deferred(BUSY, Stage.CONNECT))
        clock.now -= 86400
        assert await spool.next_due() == clock.now
        assert await spool.claim(clock.now, 60, 1) == ()
        assert await spool.next_due() == clock.now + spool.ceiling
        assert len(await spool.claim(clock.now + spool.ceiling, 60, 1)) == 1


class TestSettle:
    async def test_the_history_holds_each_answer(self, spool: Spool, clock: Clock) -> None:
        given = mail()
        await spool.store(given)
        await deliver(spool, clock, Deferred(BUSY, Stage.DATA))
        clock.now += 100
        await deliver(spool, clock)
        record = await spool.show(given.queue_id)
        assert record is not None
        assert [(each.number, each.what, each.text) for each in record.history] == [
            (0, "accepted", ""),
            (1, "deferred", "451 4.3.0 busy"),
            (1, "delivered", "250 2.0.0 taken"),
        ]
        assert record.deliveries[0].state is State.DELIVERED
        assert await spool.next_due() is None

    async def test_what_was_reported_during_the_attempt_stays(self, spool: Spool, clock: Clock) -> None:
        given = mail()
        await spool.store(given)
        (claim,) = await spool.claim(clock.now, 60, 1)
        await spool.store_notifications([(claim.delivery, "late")], (), clock.now)
        assert await spool.settle(claim, step(claim.delivery, Failed(NO, Stage.RCPT), clock.now, RETRY))
        (found,) = await spool.find(Query())
        assert found.reported == frozenset({"late", "failed"})

    async def test_a_notice_is_stored_in_the_same_commit(self, spool: Spool, clock: Clock) -> None:
        given, notice = mail(), mail(plan("operator@x"), generated=True)
        await spool.store(given)
        (claim,) = await spool.claim(clock.now, 60, 1)
        made = step(claim.delivery, Failed(NO, Stage.RCPT), clock.now, RETRY)
        assert await spool.settle(claim, made, (notice,))
        (failed,) = await spool.find(Query(queue_id=given.queue_id))
        (sent,) = await spool.find(Query(queue_id=notice.queue_id))
        assert failed.reported == frozenset({"failed"})
        assert (sent.state, sent.generated) == (State.QUEUED, True)

    async def test_without_the_right_nothing_is_done_and_no_notice_stored(self, spool: Spool, clock: Clock) -> None:
        await spool.store(mail())
        (claim,) = await spool.claim(clock.now, 60, 1)
        forged = replace(claim, token="guess")
        assert not await spool.settle(forged, Transition(State.FAILED, None, "", "failed"), (mail(),))
        assert [each.state for each in await spool.find(Query())] == [State.ACTIVE]


class TestOrders:
    async def test_hold_and_release(self, spool: Spool, clock: Clock) -> None:
        given = mail()
        await spool.store(given)
        (held,) = await spool.apply_action(
            given.queue_id, None, OperatorAction("hold", "anne", "wait for Bob"), clock.now
        )
        assert (held.state, held.reason, describe(held.detail)) == (State.HELD, Reason.BY_OPERATOR, ": wait for Bob")
        assert await spool.claim(clock.now, 60, 9) == ()
        (free,) = await spool.apply_action(given.queue_id, 1, OperatorAction("release", "anne"), clock.now)
        assert (free.state, free.reason, free.next_attempt) == (State.QUEUED, None, clock.now)
        record = await spool.show(given.queue_id)
        assert record is not None
        assert [(each.what, each.by) for each in record.history[1:]] == [("held", "anne"), ("released", "anne")]

    async def test_only_the_number_asked_for(self, spool: Spool, clock: Clock) -> None:
        given = mail(plan("a@x", "b@x"))
        await spool.store(given)
        assert [
            each.number for each in await spool.apply_action(given.queue_id, 2, OperatorAction("drop"), clock.now)
        ] == [2]
        assert await states(spool, given.queue_id) == [State.QUEUED, State.DROPPED]

    async def test_an_active_delivery_is_left_alone(self, spool: Spool, clock: Clock) -> None:
        given = mail()
        await spool.store(given)
        (claim,) = await spool.claim(clock.now, 60, 1)
        for verb in ("hold", "release", "retry", "drop"):
            assert await spool.apply_action(given.queue_id, None, OperatorAction(verb), clock.now) == ()
        assert await spool.settle(claim, step(claim.delivery, Delivered(OK), clock.now, RETRY))

    async def test_an_unknown_message_or_order(self, spool: Spool, clock: Clock) -> None:
        assert await spool.apply_action("NOSUCH", None, OperatorAction("hold"), clock.now) == ()
        given = mail()
        await spool.store(given)
        with pytest.raises(ValueError, match="burn"):
            await spool.apply_action(given.queue_id, None, OperatorAction("burn"), clock.now)


class TestLists:
    @pytest.mark.parametrize(
        ("query", "found", "matching"),
        [
            (Query(), "abcd", 4),
            (Query(limit=2), "ab", 4),
            (Query(limit=2, newest=True), "cd", 4),
            (Query(generated=False), "abd", 3),
            (Query(generated=False, newest=True, limit=2), "bd", 3),
            (Query(generated=True), "c", 1),
            (Query(states=frozenset({State.HELD}), limit=1), "b", 1),
            (Query(states=frozenset({State.QUEUED}), generated=False, newest=True, limit=1), "d", 2),
            (Query(states=frozenset({State.FAILED}), newest=True), "", 0),
        ],
    )
    async def test_the_oldest_or_the_newest_within_the_limit_and_how_many_there_are(
        self, spool: Spool, query: Query, found: str, matching: int
    ) -> None:
        mails = {
            "a": mail(at=1.0),
            "b": mail(plan("b@x", disposition=Disposition.HOLD), at=2.0),
            "c": mail(plan("operator@x"), at=3.0, generated=True),
            "d": mail(at=4.0),
        }
        for each in reversed(mails.values()):
            await spool.store(each)
        assert [each.queue_id for each in await spool.find(query)] == [mails[name].queue_id for name in found]
        assert await spool.count(query) == matching


class TestOperatorActions:
    async def test_what_operators_did_waits_to_be_logged_and_nothing_else(self, spool: Spool, clock: Clock) -> None:
        first, second = mail(plan("a@x", "b@x")), mail()
        await spool.store(first)
        await spool.store(second)
        await spool.claim(clock.now, 60, 1)
        await spool.apply_action(first.queue_id, 2, OperatorAction("hold", "anne", "wait for Bob"), clock.now)
        await spool.apply_action(
            first.queue_id, 1, OperatorAction("release", "anne"), clock.now
        )  # does not apply: it is active
        await spool.apply_action(second.queue_id, 1, OperatorAction("drop"), clock.now)  # by nobody
        clock.now += 1
        await spool.replan(first.queue_id, [plan("c@x")], OperatorAction("replan", "bob", "new address"), clock.now)
        held, replanned = await spool.operator_actions()
        assert held.queue_id == replanned.queue_id == first.queue_id
        assert held.event == HistoryEntry(clock.now - 1, 2, "held", "wait for Bob", "anne")
        assert replanned.event == HistoryEntry(clock.now, 0, "replanned", "new address", "bob")

    async def test_each_is_logged_once_also_of_a_message_that_is_forgotten_meanwhile(
        self, spool: Spool, clock: Clock
    ) -> None:
        mails = [mail() for _ in range(3)]
        for each in mails:
            await spool.store(each)
            await spool.apply_action(each.queue_id, None, OperatorAction("drop", "anne", "twice"), clock.now)
        (first,) = await spool.operator_actions(1)
        assert first.queue_id == mails[0].queue_id
        await spool.operator_actions_logged([first.id])
        clock.now += 1
        assert await spool.purge(clock.now) == 3
        left = await spool.operator_actions()
        assert [each.queue_id for each in left] == [each.queue_id for each in mails[1:]]
        await spool.operator_actions_logged([each.id for each in left])
        assert await spool.operator_actions() == ()


class TestReplan:
    async def test_what_waits_is_replaced_and_the_history_stays(self, spool: Spool, clock: Clock) -> None:
        given = mail(plan(disposition=Disposition.HOLD, reason=Reason.NO_ADDRESS))
        await spool.store(given)
        made = await spool.replan(given.queue_id, (plan("new@x"),), OperatorAction("replan", "anne"), clock.now)
        assert [(each.number, each.plan, each.recipient, each.state) for each in made] == [
            (2, 1, "new@x", State.QUEUED)
        ]
        assert [each.number for each in await spool.find(Query(queue_id=given.queue_id))] == [2]
        loaded, record = await spool.load(given.queue_id), await spool.show(given.queue_id)
        assert loaded is not None and record is not None
        assert loaded.plans[made[0].plan].to == ("new@x",)
        assert [each.what for each in record.history] == ["accepted", "held", "replanned"]

    async def test_what_is_delivered_under_way_or_dropped_does_not_start_again(
        self, spool: Spool, clock: Clock
    ) -> None:
        given = mail(plan("done@x"), plan("active@x"), plan("dropped@x"), plan("waits@x"))
        await spool.store(given)
        await deliver(spool, clock)
        (active,) = await spool.claim(clock.now, 60, 1)
        await spool.apply_action(given.queue_id, 3, OperatorAction("drop"), clock.now)
        made = await spool.replan(given.queue_id, given.plans, OperatorAction("replan"), clock.now)
        assert [(each.number, each.recipient) for each in made] == [(5, "waits@x")]
        loaded = await spool.load(given.queue_id)
        assert loaded is not None and loaded.plans[active.delivery.plan].to == ("active@x",)
        assert await spool.settle(active, step(active.delivery, Delivered(OK), clock.now, RETRY))

    async def test_a_replan_to_nothing_changes_nothing(self, spool: Spool, clock: Clock) -> None:
        given = mail()
        await spool.store(given)
        assert await spool.replan(given.queue_id, (), OperatorAction("replan"), clock.now) == ()
        assert await states(spool, given.queue_id) == [State.QUEUED]
        assert await spool.replan("NOSUCH", given.plans, OperatorAction("replan"), clock.now) == ()


class TestReading:
    async def test_a_message_is_found_by_each_of_its_names(self, spool: Spool) -> None:
        document = facturx("2026/0042")
        given = mail(plan("a@x", documents=(document,), dossier="D9"), plan("b@x", dossier="D8"))
        await spool.store(mail())
        await spool.store(given)
        for term, numbers in {
            given.queue_id: [1, 2],
            given.message_id: [1, 2],
            given.message_id.strip("<>"): [1, 2],
            "2026/0042": [1],
            document.report.sha256: [1],
            "D8": [2],
            "nothing": [],
        }.items():
            assert [each.number for each in await spool.find(Query(term=term))] == numbers, term

    async def test_conditions_hold_together(self, spool: Spool, clock: Clock) -> None:
        for dossier in ("A", "B", "A"):
            await spool.store(mail(plan("a@x", dossier=dossier)))
        await deliver(spool, clock)
        assert len(await spool.find(Query(dossier="A", states=frozenset({State.QUEUED})))) == 1
        assert len(await spool.find(Query(firm="cabinet", limit=2))) == 2
        assert await spool.find(Query(firm="other")) == ()

    async def test_figures(self, spool: Spool, clock: Clock) -> None:
        await spool.store(mail(at=500.0))
        await spool.store(mail(plan(disposition=Disposition.HOLD, reason=Reason.NO_ADDRESS), at=100.0))
        await spool.store(mail())
        figures = await spool.stats()
        assert figures.by_state == {State.QUEUED: 2, State.HELD: 1}
        assert figures.held == {"no_address": 1}
        assert (figures.oldest, figures.corrupt) == (500.0, 0)
        assert spool.unhealthy() is None

    async def test_what_is_not_there(self, spool: Spool) -> None:
        assert await spool.load("NOSUCH") is None
        assert await spool.show("NOSUCH") is None
        assert await spool.next_due() is None


class TestPurge:
    async def test_what_ended_is_forgotten_with_its_history_and_nothing_else(self, spool: Spool, clock: Clock) -> None:
        done, half = mail(at=clock.now - 1), mail(plan("a@x", "b@x"), at=clock.now - 1)
        held = mail(plan(disposition=Disposition.HOLD), at=clock.now - 1)
        for each in (done, half, held):
            await spool.store(each)
        await deliver(spool, clock, count=2)
        clock.now += 10
        assert await spool.purge(clock.now - 20) == 0
        assert await spool.purge(clock.now) == 1
        assert await spool.show(done.queue_id) is None
        assert await spool.load(done.queue_id) is None
        assert await spool.find(Query(term=done.message_id)) == ()
        assert {each.queue_id for each in await spool.find(Query())} == {half.queue_id, held.queue_id}

    async def test_withheld_only_when_asked(self, spool: Spool, clock: Clock) -> None:
        await spool.store(mail(plan("a@x", disposition=Disposition.WITHHOLD), at=clock.now - 1))
        clock.now += 10
        assert await spool.purge(clock.now) == 0
        assert await spool.purge(clock.now - 100, withheld=clock.now) == 1

    async def test_what_was_withheld_and_forgotten_stands_in_nobodys_way(self, spool: Spool, clock: Clock) -> None:
        document = facturx("F-77")
        withheld = plan(CLIENT, documents=(document,), disposition=Disposition.WITHHOLD, reason=Reason.NOT_SHARED)
        first = mail(withheld, at=clock.now)
        await spool.store(first)
        clock.now += 10
        assert await spool.purge(clock.now, withheld=clock.now) == 1
        assert not (await spool.store(mail(fingerprint=first.fingerprint))).duplicate
        again = mail(plan(CLIENT, documents=(document,)), hold_duplicates=True)
        await spool.store(again)
        assert await states(spool, again.queue_id) == [State.QUEUED]

    async def test_forgetting_what_was_given_up_leaves_what_came_in_its_place(self, spool: Spool, clock: Clock) -> None:
        first, second = mail(fingerprint="same"), mail(fingerprint="same", at=2_000_000.0)
        await spool.store(first)
        await spool.apply_action(first.queue_id, None, OperatorAction("drop"), clock.now)
        await spool.store(second)
        assert await spool.purge(clock.now + 1) == 1
        again = await spool.store(mail(fingerprint="same"))
        assert (again.queue_id, again.duplicate) == (second.queue_id, True)

    async def test_duplicates_are_known_after_the_message_is_forgotten(self, spool: Spool, clock: Clock) -> None:
        document = facturx("F-99")
        first = mail(plan(CLIENT, documents=(document,)), hold_duplicates=True)
        await spool.store(first)
        await deliver(spool, clock)
        clock.now += 10
        assert await spool.purge(clock.now) == 1
        assert (await spool.store(mail(fingerprint=first.fingerprint))).duplicate
        again = mail(plan(CLIENT, documents=(document,)), hold_duplicates=True)
        await spool.store(again)
        assert await states(spool, again.queue_id) == [State.HELD]
        clock.now += 366 * 86400
        late = mail(plan(CLIENT, documents=(document,)), hold_duplicates=True)
        await spool.apply_action(again.queue_id, None, OperatorAction("drop"), clock.now)
        await spool.store(late)
        assert await states(spool, late.queue_id) == [State.QUEUED]


async def test_a_closed_spool_says_so(spool: Spool) -> None:
    await spool.close()
    await spool.close()
    if type(spool).__name__ != "MemorySpool":
        with pytest.raises(SpoolError, match="closed"):
            await spool.store(mail())


class TestReports:
    async def test_what_was_reported_is_found_no_more_and_its_notice_leaves(self, spool: Spool, clock: Clock) -> None:
        held = mail(plan(CLIENT, disposition=Disposition.HOLD, reason=Reason.WRONG_CLIENT))
        other = mail(plan(CLIENT, disposition=Disposition.HOLD, reason=Reason.WRONG_CLIENT))
        await spool.store(held)
        await spool.store(other)
        wanted = Query(frozenset({State.HELD}), unreported="notice-held")
        first, second = await spool.find(wanted)
        notice = mail(generated=True)
        await spool.store_notifications([(first, "notice-held")], [notice], clock.now)
        assert [each.id for each in await spool.find(wanted)] == [second.id]
        assert await states(spool, notice.queue_id) == [State.QUEUED]
        record = await spool.show(first.queue_id)
        assert record is not None and record.history[-1] == HistoryEntry(
            clock.now, 1, "notification_queued", "notice-held"
        )

    async def test_a_kind_is_distinguished_from_one_that_begins_alike(self, spool: Spool, clock: Clock) -> None:
        given = mail()
        await spool.store(given)
        (delivery,) = await spool.find(Query(queue_id=given.queue_id))
        await spool.store_notifications([(delivery, "late-again")], [], clock.now)
        assert len(await spool.find(Query(unreported="late"))) == 1
        assert len(await spool.find(Query(unreported="late-again"))) == 0

    async def test_a_bounce_fails_what_was_delivered(self, spool: Spool, clock: Clock) -> None:
        given = mail()
        await spool.store(given)
        await deliver(spool, clock)
        assert await spool.record_bounce(given.queue_id, 1, "failed 5.2.2 mailbox full", clock.now, failed=True)
        record = await spool.show(given.queue_id)
        assert record is not None
        assert (record.deliveries[0].state, record.deliveries[0].last_reply) == (
            State.FAILED,
            "failed 5.2.2 mailbox full",
        )
        assert record.history[-1].what == "bounce_received"

    async def test_a_bounce_takes_no_claim_from_an_attempt_under_way(self, spool: Spool, clock: Clock) -> None:
        """One attempt was uncertain, the next is under way, and the report about the first comes home."""
        given = mail()
        await spool.store(given)
        (claim,) = await spool.claim(clock.now, 60, 1)
        assert await spool.record_bounce(given.queue_id, 1, "failed 5.2.2 mailbox full", clock.now, failed=True)
        assert await spool.next_due() is None
        assert await spool.renew(claim, clock.now + 90)
        assert await spool.settle(claim, step(claim.delivery, Delivered(OK), clock.now, RETRY))

    async def test_an_automatic_reply_is_noted_and_changes_nothing(self, spool: Spool, clock: Clock) -> None:
        given = mail()
        await spool.store(given)
        assert await spool.record_bounce(given.queue_id, 1, "automatic reply", clock.now, failed=False)
        assert await states(spool, given.queue_id) == [State.QUEUED]
        assert not await spool.record_bounce(given.queue_id, 7, "x", clock.now, failed=True)
        assert not await spool.record_bounce("NOSUCH", 1, "x", clock.now, failed=True)

    async def test_the_secret_stays(self, spool: Spool) -> None:
        secret = await spool.secret()
        assert len(secret) == 32
        assert await spool.secret() == secret


class TestTally:
    async def test_each_firm_has_its_own_figures(self, spool: Spool, clock: Clock) -> None:
        broken = facturx("F-9")
        await spool.store(mail(plan("a@x", documents=(broken, facturx("F-8"))), at=clock.now))
        await spool.store(mail(plan("b@x", "c@x"), plan("d@y", firm="other"), at=clock.now + 1))
        await spool.store(mail(plan(disposition=Disposition.HOLD, reason=Reason.UNKNOWN_CLIENT, firm=None)))
        await spool.store(mail(generated=True))
        clock.now += 10
        await deliver(spool, clock)
        found = await spool.period_statistics(1_000_000.0, 1_000_002.0)
        assert set(found) == {"cabinet", "other", None}
        mine = found["cabinet"]
        assert (mine.messages, sum(mine.states.values()), mine.states[State.DELIVERED], mine.late) == (2, 3, 1, 0)
        assert (dict(mine.invalid), dict(mine.held)) == ({"BR-CO-15": 2}, {})
        assert (found["other"].messages, dict(found["other"].states)) == (1, {State.QUEUED: 1})
        assert dict(found[None].held) == {"unknown_client": 1}

    async def test_the_period_ends_before_its_end_and_what_is_held_knows_no_period(self, spool: Spool) -> None:
        held = plan(disposition=Disposition.HOLD, reason=Reason.NO_ADDRESS)
        await spool.store(mail(plan("a@x"), held, at=5.0))
        assert (await spool.period_statistics(0.0, 5.0))["cabinet"].messages == 0
        assert (await spool.period_statistics(5.0, 6.0))["cabinet"].messages == 1
        assert dict((await spool.period_statistics(6.0, 9.0))["cabinet"].held) == {"no_address": 1}

    async def test_a_delivery_settled_late_counts(self, spool: Spool, clock: Clock) -> None:
        await spool.store(mail(at=clock.now))
        clock.now += 5 * 3600
        await deliver(spool, clock, Deferred(BUSY, Stage.DATA))
        (period_statistics,) = (await spool.period_statistics(0.0, clock.now)).values()
        assert period_statistics.late == 1

    async def test_many_messages_are_counted_once_each(self, spool: Spool) -> None:
        for _ in range(1201):
            await spool.store(mail(plan("a@x")))
        assert (await spool.period_statistics(0.0, 2e6))["cabinet"].messages == 1201


class TestQueriesByFirm:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            (Query(firms=frozenset({"a", "b"})), ["a", "b"]),
            (Query(firms=frozenset({"a", "it's"})), ["a", "it's"]),
            (Query(firms=frozenset()), []),
            (Query(other_firms=frozenset({"a", "b"})), ["it's"]),
            (Query(other_firms=frozenset()), ["a", "b", "it's"]),
            (Query(no_firm=True), [None, None]),
            (Query(no_firm=True, generated=False), [None]),
            (Query(generated=True), [None]),
            (Query(firms=frozenset({"a", "b"}), limit=1), ["a"]),
        ],
    )
    async def test_of_which_firm(self, spool: Spool, query: Query, found: list[str | None]) -> None:
        for at, firm in enumerate(("a", "b", "it's", None)):
            await spool.store(mail(plan(CLIENT, firm=firm), at=float(at)))
        await spool.store(mail(plan("op@x", firm=None, dossier=None), at=9.0, generated=True))
        assert [each.firm for each in await spool.find(query)] == found

    async def test_reported_finds_what_that_report_was_sent_of(self, spool: Spool, clock: Clock) -> None:
        late, other = mail(plan("a@x")), mail(plan("b@x"))
        await spool.store(late)
        (claim,) = await spool.claim(clock.now, 60, 1)
        await spool.settle(claim, Transition(State.DEFERRED, clock.now + 60, "451", "deferred", report="late"))
        await spool.store(other)
        assert [each.queue_id for each in await spool.find(Query(reported="late"))] == [late.queue_id]
        assert [each.queue_id for each in await spool.find(Query(unreported="late"))] == [other.queue_id]
