"""W1: a worker that dies, stops, hangs or lies costs a document its verdict at worst, and no one else anything."""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from relay.checker import CheckerOverloaded, CheckerPool, dispatcher, process
from relay.demo import samples
from relay.inspection import Candidate, Kind, Options, Verdict
from relay.observability.events import Event, Restart, WorkerReplaced, WorkerStarted

GOOD = samples.facturx_pdf(samples.invoice_xml())
PLAIN = samples.plain_pdf("Votre facture FA-2026-0001")
STRUCTURE = Options(level="structure")


class Log(list[Event]):
    def causes(self) -> list[Restart]:
        return [event.cause for event in self if isinstance(event, WorkerReplaced)]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest_asyncio.fixture
async def pool(log: Log) -> AsyncIterator[CheckerPool]:
    made = CheckerPool(1, 60, observe=log.append)
    await made.start()
    yield made
    await made.close()


def pids(log: Log) -> list[int]:
    return [event.pid for event in log if isinstance(event, WorkerStarted)]


async def test_the_engine_tests_itself_at_the_start(pool: CheckerPool) -> None:
    assert pool.self_test is None


async def test_reports_come_in_order_and_plain_pdfs_tell_the_number_they_name(pool: CheckerPool) -> None:
    facturx, plain = await pool.inspect([Candidate(GOOD), Candidate(PLAIN)], Options())
    assert (facturx.verdict, facturx.kind, facturx.number) == (Verdict.VALID, Kind.FACTURX, "FA-2026-0001")
    assert (plain.verdict, plain.mentions, plain.has_text) == (Verdict.NOT_FACTURX, ("FA-2026-0001",), True)
    assert facturx.sha256 == hashlib.sha256(GOOD).hexdigest()
    assert facturx.ms > 0


async def test_nothing_to_inspect_needs_no_worker(pool: CheckerPool) -> None:
    assert await pool.inspect([], Options()) == ()


async def test_an_idle_worker_killed_from_outside_is_replaced(pool: CheckerPool, log: Log) -> None:
    os.kill(pids(log)[0], signal.SIGKILL)
    (report,) = await pool.inspect([Candidate(GOOD)], Options())
    assert report.verdict is Verdict.VALID
    assert log.causes() == ["crashed"]
    assert pool.restarts == 1


async def test_a_worker_killed_at_work_costs_nothing(pool: CheckerPool, log: Log) -> None:
    os.kill(pids(log)[0], signal.SIGSTOP)
    asked = asyncio.create_task(pool.inspect([Candidate(GOOD), Candidate(PLAIN)], STRUCTURE))
    while not pool.busy:
        await asyncio.sleep(0)
    os.kill(pids(log)[0], signal.SIGKILL)
    facturx, plain = await asked
    assert (facturx.verdict, plain.verdict) == (Verdict.VALID, Verdict.NOT_FACTURX)
    assert plain.mentions == ("FA-2026-0001",)
    assert log.causes() == ["crashed"]


async def test_a_stopped_worker_is_killed_in_time_and_the_message_is_checked(log: Log) -> None:
    def relent(event: Event) -> None:
        log.append(event)
        pool.configure(1, 60)  # the second try gets all the time it needs

    pool = CheckerPool(1, 60, observe=relent)
    await pool.start()
    pool.configure(1, 0.2)
    first = pids(log)[0]
    os.kill(first, signal.SIGSTOP)
    try:
        (report,) = await pool.inspect([Candidate(PLAIN)], STRUCTURE)
    finally:
        await pool.close()
    assert report.verdict is Verdict.NOT_FACTURX
    assert log.causes() == ["timeout"]
    assert not Path(f"/proc/{first}").exists()


@pytest.mark.parametrize(
    ("how", "rule"),
    [("exit", "CHECK-CRASHED"), ("nonsense", "CHECK-CRASHED"), ("short", "CHECK-CRASHED"), ("hang", "CHECK-TIMEOUT")],
)
async def test_twice_failed_is_undetermined_with_its_sha256(
    monkeypatch: pytest.MonkeyPatch, how: str, rule: str
) -> None:
    monkeypatch.setattr(process, "CHILD", f"tests.support.bad_child_{how}")
    pool = CheckerPool(1, 60)
    await pool.start()
    pool.configure(1, 0.5 if how == "hang" else 60)
    try:
        reports = await pool.inspect([Candidate(GOOD), Candidate(b"hello")], Options())
    finally:
        await pool.close()
    assert [report.verdict for report in reports] == [Verdict.UNDETERMINED] * 2
    assert [report.findings[0].rule for report in reports] == [rule] * 2
    assert reports[0].sha256 == hashlib.sha256(GOOD).hexdigest()
    assert [report.kind for report in reports] == [Kind.PDF, Kind.OTHER]


async def test_others_are_not_delayed_by_one_that_hangs(log: Log) -> None:
    pool = CheckerPool(2, 60, observe=log.append)
    await pool.start()
    try:
        stopped = pids(log)[0]
        os.kill(stopped, signal.SIGSTOP)
        asked = [asyncio.create_task(pool.inspect([Candidate(PLAIN)], STRUCTURE)) for _ in range(2)]
        done, pending = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        assert len(done) == 1
        (report,) = await pool.inspect([Candidate(PLAIN)], STRUCTURE)
        assert report.verdict is Verdict.NOT_FACTURX
        os.kill(stopped, signal.SIGCONT)
        assert (await pending.pop())[0].verdict is Verdict.NOT_FACTURX
        assert pool.restarts == 0
    finally:
        await pool.close()


async def test_too_many_waiting_is_busy_and_the_rest_is_served(
    pool: CheckerPool, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "MAX_WAITING", 2)
    os.kill(pids(log)[0], signal.SIGSTOP)
    asked = [asyncio.create_task(pool.inspect([Candidate(PLAIN)], STRUCTURE)) for _ in range(3)]
    while pool.waiting < 2:
        await asyncio.sleep(0)
    with pytest.raises(CheckerOverloaded):
        await pool.inspect([Candidate(PLAIN)], STRUCTURE)
    os.kill(pids(log)[0], signal.SIGCONT)
    assert len(await asyncio.gather(*asked)) == 3
    assert (pool.busy, pool.waiting) == (0, 0)


async def test_nobody_waits_for_a_worker_for_ever(pool: CheckerPool, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "MAX_WAIT_SECONDS", 0.05)
    os.kill(pids(log)[0], signal.SIGSTOP)
    served = asyncio.create_task(pool.inspect([Candidate(PLAIN)], STRUCTURE))
    await asyncio.sleep(0)
    with pytest.raises(CheckerOverloaded):
        await pool.inspect([Candidate(PLAIN)], STRUCTURE)
    assert pool.waiting == 0
    os.kill(pids(log)[0], signal.SIGCONT)
    assert len(await served) == 1
    assert (pool.busy, pool.waiting) == (0, 0)


async def test_octets_that_wait_are_bounded_too(pool: CheckerPool, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "MAX_WAITING_OCTETS", len(PLAIN) + 1)
    os.kill(pids(log)[0], signal.SIGSTOP)
    asked = [asyncio.create_task(pool.inspect([Candidate(PLAIN)], STRUCTURE)) for _ in range(2)]
    while not pool.waiting:
        await asyncio.sleep(0)
    with pytest.raises(CheckerOverloaded):
        await pool.inspect([Candidate(PLAIN)], STRUCTURE)
    os.kill(pids(log)[0], signal.SIGCONT)
    await asyncio.gather(*asked)


async def test_a_cancelled_request_leaves_the_pool_in_step(pool: CheckerPool, log: Log) -> None:
    os.kill(pids(log)[0], signal.SIGSTOP)
    asked = asyncio.create_task(pool.inspect([Candidate(GOOD)], Options()))
    waiting = asyncio.create_task(pool.inspect([Candidate(PLAIN)], STRUCTURE))
    while not pool.waiting:
        await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    os.kill(pids(log)[0], signal.SIGCONT)
    assert (await waiting)[0].kind is Kind.PDF
    assert pool.busy == 0


async def test_a_cancelled_waiter_gives_its_turn_away(pool: CheckerPool, log: Log) -> None:
    os.kill(pids(log)[0], signal.SIGSTOP)
    first, second, third = (asyncio.create_task(pool.inspect([Candidate(PLAIN)], STRUCTURE)) for _ in range(3))
    while pool.waiting < 2:
        await asyncio.sleep(0)
    second.cancel()
    os.kill(pids(log)[0], signal.SIGCONT)
    await asyncio.gather(first, third)
    assert (pool.busy, pool.waiting) == (0, 0)


async def test_workers_that_end_before_they_answer_anything_are_not_started_for_ever(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "CHILD", "tests.support.no_such_module")
    pool = CheckerPool(2, 60, observe=log.append)
    await pool.start()
    assert pool.self_test == "no worker could be asked"
    with pytest.raises(CheckerOverloaded):
        await pool.inspect([Candidate(PLAIN)], STRUCTURE)
    await pool.close()
    assert len(pids(log)) < 20


async def test_a_worker_killed_before_it_began_is_no_failure_of_the_message(pool: CheckerPool, log: Log) -> None:
    """However often: a message is only given up when it did harm itself."""
    for number in range(4):
        os.kill(pids(log)[number], signal.SIGSTOP)
        asked = asyncio.create_task(pool.inspect([Candidate(GOOD)], Options()))
        while not pool.busy:
            await asyncio.sleep(0)
        os.kill(pids(log)[number], signal.SIGKILL)
        (report,) = await asked
        assert report.verdict is Verdict.VALID


async def test_the_pool_grows_and_shrinks_at_once(pool: CheckerPool, log: Log) -> None:
    pool.configure(3, 60)
    await asyncio.gather(*(pool.inspect([Candidate(PLAIN)], STRUCTURE) for _ in range(3)))
    assert len(pids(log)) == 3
    pool.configure(1, 60)
    await pool.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids(log))


async def test_workers_stay_while_there_is_work(log: Log) -> None:
    pool = CheckerPool(2, 60, observe=log.append)
    await pool.start()
    await asyncio.gather(*(pool.inspect([Candidate(PLAIN)], STRUCTURE) for _ in range(40)))
    await pool.close()
    assert (len(pids(log)), pool.restarts) == (2, 0)


async def test_an_engine_that_failed_its_test_makes_nothing_valid(pool: CheckerPool) -> None:
    pool.self_test = "BR-CO-15 is blind"
    (report,) = await pool.inspect([Candidate(GOOD)], Options())
    assert report.verdict is Verdict.UNDETERMINED
    assert report.findings[-1].rule == "ENGINE-FAILED"


async def test_a_worker_has_no_secret_no_file_of_ours_and_strict_limits(
    log: Log, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SMARTHOST_PASSWORD", "hunter2")
    spool = (tmp_path / "spool.db").open("wb")
    os.set_inheritable(spool.fileno(), True)
    pool = CheckerPool(1, 60, observe=log.append)
    await pool.start()
    try:
        proc = Path(f"/proc/{pids(log)[0]}")
        assert b"hunter2" not in (proc / "environ").read_bytes()
        assert str(tmp_path) not in " ".join(str(fd.readlink()) for fd in (proc / "fd").iterdir())
        limits = {line[:26].strip(): line[26:].split()[0] for line in (proc / "limits").read_text().splitlines()}
        assert limits["Max data size"] == str(1 << 30)
        assert limits["Max core file size"] == "0"
        assert limits["Max file size"] == "0"
        assert limits["Max cpu time"] != "unlimited"
    finally:
        await pool.close()
        spool.close()


async def test_workers_die_with_their_parent() -> None:
    script = (
        "import asyncio, sys\n"
        "from relay.checker.pool import CheckerPool as Pool\n"
        "async def main():\n"
        "    pool = Pool(1, 60, observe=lambda event: print(event.pid, flush=True))\n"
        "    await pool.start()\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.sleep(3600)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        process.sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=process.SOURCE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    await parent.stdout.readline()
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(60):
        while _runs(pid):
            await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_large_parent_does_not_make_its_workers_look_large() -> None:
    """ru_maxrss of a child begins with the peak of its parent: no worker would last longer than one request."""
    emergency_reserve = bytearray(800 * 1024 * 1024)
    pool = CheckerPool(1, 60)
    await pool.start()
    try:
        for _ in range(3):
            await pool.inspect([Candidate(samples.plain_pdf("x"))], Options(level="structure"))
        assert pool.restarts == 0
    finally:
        await pool.close()
    assert emergency_reserve
