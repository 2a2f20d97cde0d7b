"""Whole messages in the pool: several in one frame, beside one that hangs, dies, lies or is large; and by which
directory."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from relay.checker import CheckerPool, CheckFailed, Evaluation, EvaluationRequest, process
from relay.demo import samples
from relay.inspection import Verdict
from relay.mime.line_ends import LineFlaw
from relay.model import Disposition, Envelope, Plan, Recipient, new_queue_id
from relay.observability.events import Event, Restart, WorkerReplaced, WorkerStarted
from relay.reasons import Reason
from relay.routing.directory import Directory
from relay.routing.policy import Addresses, Check, Client, Level, Policy, Terms
from tests.support import mails
from tests.support.worker_that_obeys import LIAR

FACTURX = mails.pdf(samples.facturx_pdf(samples.invoice_xml()), "f.pdf")


def order(words: str) -> bytes:
    return mails.part(words, "application/pdf", encoding="7bit", filename="o.pdf")


def message(*parts: bytes, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    return mails.mail([mails.text("Bonjour"), *parts], to="c@export.example", headers=headers)


GOOD = message(FACTURX)


def directory(address: str = "c@agiris.example", more: int = 0, **check: Policy) -> Directory:
    addresses = Addresses(address, address, address, address)
    clients = [Client("cabinet", "1", addresses=addresses, recipients=("c@export.example",))]
    clients += [Client("cabinet", f"{number}", addresses=addresses) for number in range(2, more + 2)]
    terms = Terms(
        "relay.example",
        ("*@export.example",),
        check=Check(Level.STRUCTURE, workers=1, **check),
        clients={client.key: client for client in clients},
    )
    return Directory(terms)


DIRECTORY = directory()


class Log(list[Event]):
    def causes(self) -> list[Restart]:
        return [event.cause for event in self if isinstance(event, WorkerReplaced)]

    def pids(self) -> list[int]:
        ended = {event.pid for event in self if isinstance(event, WorkerReplaced)}
        return [event.pid for event in self if isinstance(event, WorkerStarted) and event.pid not in ended]

    def send(self, number: int) -> None:
        for pid in self.pids():
            os.kill(pid, number)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest_asyncio.fixture
async def pool(log: Log, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CheckerPool]:
    monkeypatch.setattr(process, "CHILD", "tests.support.worker_that_obeys")
    made = CheckerPool(2, 60, observe=log.append)
    await made.start()
    yield made
    await made.close()


def ask(pool: CheckerPool, raw: bytes, by: Directory = DIRECTORY) -> "asyncio.Task[Evaluation]":
    envelope = Envelope("p@platform.example", (Recipient("c@export.example"),))
    return asyncio.create_task(pool.evaluate(EvaluationRequest(envelope, new_queue_id(), 1.0), raw, by))


async def together(pool: CheckerPool, log: Log, raws: list[bytes]) -> "list[asyncio.Task[Evaluation]]":
    """Have them evaluated, in frames of eight: all wait before a worker is free."""
    await pool.load(DIRECTORY)
    pool.use(DIRECTORY)
    log.send(signal.SIGSTOP)
    first = [ask(pool, GOOD) for _ in range(pool.size)]
    await turns()
    rest = [ask(pool, raw) for raw in raws]
    await turns()
    assert pool.waiting == len(raws)
    log.send(signal.SIGCONT)
    await asyncio.gather(*first)
    return rest


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def plan(evaluation: Evaluation) -> Plan:
    (only,) = evaluation.decision.plans
    return only


async def test_a_message_is_evaluated_whole(pool: CheckerPool) -> None:
    found = await ask(pool, GOOD)
    assert (plan(found).disposition, plan(found).to) == (Disposition.RELAY, ("c@agiris.example",))
    assert [report.verdict for report in found.reports] == [Verdict.VALID]
    assert found.reports[0] is plan(found).documents[0].report, "a report is read once"
    assert len(found.fingerprint) == 64 and found.message_id.startswith("<")


async def test_what_cannot_be_accepted_is_said_by_the_worker(pool: CheckerPool) -> None:
    assert (await ask(pool, GOOD.replace(b"Bonjour", b"Bon\njour"))).flaw is LineFlaw.BARE
    loop = b"Received: from x by relay.example; Mon, 02 Nov 2026 10:00:00 +0100\r\n" + GOOD
    refusal = (await ask(pool, loop)).decision.refusal
    assert refusal is not None and refusal.reason is Reason.LOOP


async def test_one_that_ends_its_worker_costs_the_others_nothing(pool: CheckerPool, log: Log) -> None:
    raws = [GOOD] * 16
    raws[3] = message(FACTURX, order("DIE"))
    found = await asyncio.gather(*await together(pool, log, raws))
    assert [plan(each).disposition for each in found] == [Disposition.RELAY] * 16
    assert log.causes() == [Restart.CRASHED] * 2, "with the others, and by itself"
    verdicts = [report.verdict for report in found[3].reports]
    assert verdicts == [Verdict.VALID, Verdict.UNDETERMINED], "the document that did it, and no other"
    assert found[3].reports[1].findings[0].rule == "CHECK-CRASHED"


async def test_one_that_hangs_holds_up_no_other(pool: CheckerPool, log: Log) -> None:
    raws = [GOOD] * 16
    raws[2] = message(FACTURX, order("HANG"))
    asked = await together(pool, log, raws)
    hanging = asked.pop(2)
    found = await asyncio.gather(*asked)
    assert not hanging.done(), "all others are answered while it hangs"
    log.send(signal.SIGUSR1)
    assert [plan(each).disposition for each in found] == [Disposition.RELAY] * 15
    assert [report.verdict for report in (await hanging).reports] == [Verdict.VALID, Verdict.UNDETERMINED]
    assert pool.restarts == 0


async def test_one_that_hangs_too_long_is_given_up_and_no_other(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "CHILD", "tests.support.worker_that_obeys")
    pool = CheckerPool(1, 60, observe=log.append)
    await pool.start()
    pool.configure(1, 1.0)
    try:
        raws = [GOOD] * 7 + [message(FACTURX, order("HANG"))]
        found = await asyncio.gather(*await together(pool, log, raws))
    finally:
        await pool.close()
    assert [plan(each).disposition for each in found] == [Disposition.RELAY] * 8
    assert log.causes() == [Restart.TIMEOUT] * 2
    assert [report.verdict for report in found[7].reports] == [Verdict.VALID, Verdict.UNDETERMINED]
    assert found[7].reports[1].findings[0].rule == "CHECK-TIMEOUT"


async def test_a_large_message_travels_by_itself(pool: CheckerPool, log: Log) -> None:
    large = message(mails.pdf(b"%PDF-1.7\n" + bytes(18_000_000), "large.pdf"), order("HANG"))
    asked = await together(pool, log, [GOOD] * 4 + [large] + [GOOD] * 4)
    found = await asyncio.gather(*asked[:4], *asked[5:])
    assert [plan(each).disposition for each in found] == [Disposition.RELAY] * 8
    assert not asked[4].done()
    log.send(signal.SIGUSR1)
    assert len((await asked[4]).reports) == 2


async def test_a_worker_that_lies_is_killed_and_believed_by_nobody(pool: CheckerPool, log: Log) -> None:
    raws = [GOOD] * 16
    raws[5] = message(FACTURX, headers=(("X-Lie", "yes"),))
    asked = await together(pool, log, raws)
    liar = asked.pop(5)
    with pytest.raises(CheckFailed) as failure:
        await liar
    assert failure.value.cause is Restart.FALSE_ANSWER
    found = await asyncio.gather(*asked)
    assert [plan(each).to for each in found] == [("c@agiris.example",)] * 15
    assert LIAR not in {each.message_id for each in found}, "nothing that it says after a lie is believed"
    assert log.causes() == [Restart.FALSE_ANSWER] * 2
    why = {event.why for event in log if isinstance(event, WorkerReplaced)}
    assert why == {"not the client's address for this role"}


async def test_where_nobody_knows_which_worker_lied_all_are_replaced(pool: CheckerPool, log: Log) -> None:
    before = set(log.pids())
    asked = ask(pool, GOOD)
    await turns()
    pool.distrust("the fingerprint of another message")
    assert plan(await asked).disposition is Disposition.RELAY
    assert log.causes() == [Restart.FALSE_ANSWER] * 2 and before.isdisjoint(log.pids())


# By which directory


async def test_each_message_goes_by_the_directory_it_came_under(pool: CheckerPool, log: Log) -> None:
    moved = directory("moved@agiris.example", more=1000)
    await pool.load(DIRECTORY)
    pool.use(DIRECTORY)
    before = [ask(pool, GOOD) for _ in range(30)]
    loading = asyncio.create_task(pool.load(moved))
    during = [ask(pool, GOOD) for _ in range(30)]
    await loading
    pool.use(moved)
    after = [ask(pool, GOOD, moved) for _ in range(30)]
    found = await asyncio.gather(*before, *during, *after)
    assert [plan(each).to[0] for each in found] == ["c@agiris.example"] * 60 + ["moved@agiris.example"] * 30
    assert pool.restarts == 0, "an answer by half of each would be a lie"


async def test_messages_go_on_while_a_directory_is_loaded(pool: CheckerPool) -> None:
    await pool.load(DIRECTORY)
    pool.use(DIRECTORY)
    loading = asyncio.create_task(pool.load(directory("moved@agiris.example", more=20_000)))
    answered = 0
    while not loading.done():
        await asyncio.gather(ask(pool, GOOD), ask(pool, GOOD))
        answered += 2
    assert answered > 10


async def test_a_new_worker_knows_the_directory_in_force(pool: CheckerPool, log: Log) -> None:
    moved = directory("moved@agiris.example")
    await pool.load(DIRECTORY)
    await pool.load(moved)
    pool.use(moved)
    log.send(signal.SIGKILL)
    assert plan(await ask(pool, GOOD, moved)).to == ("moved@agiris.example",)


async def test_a_directory_nobody_goes_by_is_forgotten(pool: CheckerPool) -> None:
    for number in range(5):
        next_one = directory(f"a{number}@agiris.example")
        await pool.load(next_one)
        pool.use(next_one)
        assert plan(await ask(pool, GOOD, next_one)).to == (f"a{number}@agiris.example",)
    assert len(pool._directories._sent) == 1


async def test_settings_count_as_they_are_in_the_directory(pool: CheckerPool) -> None:
    plain = message(mails.pdf(samples.plain_pdf("x"), "x.pdf"))
    assert plan(await ask(pool, plain, directory(on_missing=Policy.HOLD))).reason is Reason.NO_FACTURX
    assert plan(await ask(pool, plain, directory(on_missing=Policy.RELAY))).disposition is Disposition.RELAY
    off = directory()
    off = Directory(replace(off.terms, check=replace(off.terms.check, level=Level.OFF)))
    assert [report.verdict for report in (await ask(pool, GOOD, off)).reports] == [Verdict.UNDETERMINED]
