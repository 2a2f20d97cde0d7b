"""What is particular to the SQLite engine: files, locks, crashes, damage and failing disks."""

import asyncio
import hashlib
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from relay.inspection import Party
from relay.lifecycle import step
from relay.model import OperatorAction, Retry, State
from relay.reasons import Reason, copy_of
from relay.replies import Delivered, Reply
from relay.spool.open import open_spool
from relay.spool.port import Query, SpoolBroken, SpoolBusy, SpoolDamaged, SpoolError, SpoolFull, SpoolNewer
from relay.spool.sqlite import database, disk_space, spool_folder, transactions, writer_thread
from relay.spool.sqlite.engine import SqliteSpool
from relay.spool.sqlite.segments import folder_of
from tests.support.spool_messages import facturx, mail, overwrite, plan

DONE = Delivered(Reply(250, "2.0.0", "ok"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "queue.db"


def opened(path: Path, exclusive: bool = True, **options: float) -> SqliteSpool:
    spool = open_spool(f"sqlite://{path}", exclusive, **options)  # type: ignore[arg-type]
    assert isinstance(spool, SqliteSpool)
    return spool


def vandalise(path: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement, values)
    connection.close()


def scribble(path: Path, name: str) -> None:
    """Damage the first page of a table or an index."""
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * database.PAGE)
        file.write(b"\xa5" * database.PAGE)


class TestPlace:
    async def test_nobody_else_may_read_it(self, path: Path) -> None:
        spool = opened(path)
        await spool.store(mail())
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
        assert modes.pop("queue.db.segments") == 0o700
        assert modes == dict.fromkeys(
            ("queue.db", "queue.db-wal", "queue.db-shm", "queue.db.lock", "queue.db.reserve"), 0o600
        )
        (segment,) = folder_of(path).iterdir()
        assert stat.S_IMODE(segment.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        await spool.close()

    async def test_a_second_daemon_is_given_the_pid_of_the_first(self, path: Path) -> None:
        spool = opened(path)
        with pytest.raises(SpoolBusy, match=rf"spool .*queue\.db is used by pid {os.getpid()}"):
            opened(path)
        await spool.close()
        await opened(path).close()

    async def test_commands_work_beside_the_daemon_and_without_it(self, path: Path) -> None:
        daemon, given = opened(path), mail()
        await daemon.store(given)
        command = opened(path, exclusive=False)
        assert len(await command.apply_action(given.queue_id, None, OperatorAction("hold"), 1.0)) == 1
        assert await daemon.next_due() is None
        await command.apply_action(given.queue_id, None, OperatorAction("release"), 2.0)
        assert await daemon.next_due() == 2.0
        await command.close()
        await daemon.close()
        alone = opened(path, exclusive=False)
        assert len(await alone.find(Query())) == 1
        await alone.close()

    def test_a_command_makes_no_spool(self, path: Path) -> None:
        with pytest.raises(SpoolError, match="no spool at"):
            opened(path, exclusive=False)
        assert not path.parent.exists()

    @pytest.mark.parametrize("url", ["sqlite:", "postgresql://x/y", "queue.db", "sqlite:///", "memory:"])
    def test_a_url_of_no_known_kind(self, url: str) -> None:
        with pytest.raises(ValueError, match="is no spool"):
            open_spool(url)

    @pytest.mark.parametrize(
        ("kind", "remote"), [("nfs4", True), ("fuse.sshfs", True), ("cifs", True), ("ext4", False)]
    )
    def test_network_file_systems_are_refused(
        self, tmp_path: Path, kind: str, remote: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mounts = tmp_path / "mounts"
        mounts.write_text(f"/dev/x / ext4 rw 0 0\nserver:/x {tmp_path} {kind} rw 0 0\n")
        assert spool_folder.filesystem(tmp_path / "deep" / "er", mounts) == kind
        monkeypatch.setattr(spool_folder, "filesystem", lambda _: kind)
        if remote:
            with pytest.raises(SpoolError, match="network file system"):
                spool_folder.refuse_remote(tmp_path)
        else:
            spool_folder.refuse_remote(tmp_path)

    def test_a_newer_spool_is_refused(self, path: Path) -> None:
        asyncio.run(_open_and_close(path))
        vandalise(path, "PRAGMA user_version = 99")
        with pytest.raises(SpoolNewer, match="newer agiris-relay"):
            opened(path)
        vandalise(path, f"PRAGMA user_version = {max(number for number, _ in database.migrations())}")
        asyncio.run(_open_and_close(path))

    def test_a_forked_child_does_not_hold_the_spool(self, tmp_path: Path) -> None:
        lock = spool_folder.Lock(tmp_path / "q.db.lock")
        ready, says_ready = os.pipe()
        ending, says_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(says_ready, b".")
            os.close(says_end)
            os.read(ending, 1)
            os._exit(0)
        os.read(ready, 1)
        lock.release()
        spool_folder.Lock(tmp_path / "q.db.lock").release()
        for each in (ready, says_ready, ending, says_end):
            os.close(each)
        os.waitpid(child, 0)


async def _open_and_close(path: Path) -> None:
    await opened(path).close()


CHILD = """
import asyncio, secrets, sys, time
sys.path.insert(0, {root!r})
from relay.spool.open import open_spool
from tests.support.spool_messages import mail
async def main():
    spool = open_spool("sqlite://{path}")
    async def one():
        while True:
            given = mail(raw=b"x" * 50000, at=time.time(), fingerprint=secrets.token_hex())
            stored = await spool.store(given)
            print(stored.queue_id, flush=True)
            for claim in await spool.claim(time.time(), 3600, 1):
                pass
    await asyncio.gather(*(one() for _ in range(8)))
asyncio.run(main())
"""


class TestCrash:
    async def test_kill_9_loses_nothing_that_was_answered(self, path: Path) -> None:
        answered: set[str] = set()
        for _ in range(3):
            script = CHILD.format(root=str(Path(__file__).parents[2]), path=path)
            child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
            assert child.stdout is not None
            answered |= {child.stdout.readline().strip() for _ in range(40)}
            child.send_signal(signal.SIGKILL)
            # Only whole lines are answers: what the kill cut in two is none.
            answered |= {line.strip() for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")}
            child.wait()
            child.stdout.close()
        spool = opened(path)
        found = {each.queue_id for each in await spool.find(Query(limit=100_000))}
        assert len(answered) >= 120
        assert answered <= found
        for queue_id in list(answered)[:20]:
            loaded = await spool.load(queue_id)
            assert loaded is not None and loaded.raw == b"x" * 50000
        await spool.close()

    async def test_what_was_active_is_unconfirmed_at_once_for_the_next_daemon(self, path: Path) -> None:
        first = opened(path)
        await first.store(mail(at=time.time()))
        (old,) = await first.claim(time.time(), 3600, 1)
        await first.close()
        second = opened(path)
        assert await second.claim(time.time(), 3600, 1) == ()
        (new,) = await second.claim(time.time(), 3600, 1, unconfirmed=True)
        assert (new.delivery.attempts, new.delivery.unconfirmed_attempts, new.unconfirmed) == (1, 0, True)
        assert not await second.settle(old, step(old.delivery, DONE, time.time(), Retry()))
        await second.close()

    async def test_a_command_does_not_end_the_leases_of_the_daemon(self, path: Path) -> None:
        daemon = opened(path)
        await daemon.store(mail(at=time.time()))
        (claim,) = await daemon.claim(time.time(), 3600, 1)
        await opened(path, exclusive=False).close()
        assert await daemon.claim(time.time(), 3600, 1, unconfirmed=True) == ()
        assert await daemon.settle(claim, step(claim.delivery, DONE, time.time(), Retry()))
        await daemon.close()


class TestDamage:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE mails SET start = start + 1",
            "UPDATE mails SET segment = 99",
            "UPDATE mails SET segment = NULL",
            "UPDATE mails SET size = 1",
            "UPDATE mails SET plans = x'7b'",
            "UPDATE mails SET envelope = x'ff'",
        ],
    )
    async def test_a_damaged_message_is_held_and_counted_and_the_rest_goes_on(self, path: Path, statement: str) -> None:
        spool, bad, good = opened(path), mail(), mail()
        await spool.store(bad)
        vandalise(path, statement)
        await spool.store(good)
        assert await spool.load(bad.queue_id) is None
        assert await spool.load(bad.queue_id) is None
        (held,) = await spool.find(Query(queue_id=bad.queue_id))
        assert (held.state, held.reason) == (State.HELD, Reason.MALFORMED_MAIL)
        assert (await spool.stats()).corrupt == 1
        assert await spool.show(bad.queue_id) is not None
        assert await spool.load(good.queue_id) == good
        await spool.close()

    @pytest.mark.parametrize("garbage", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
    async def test_a_damaged_file_is_kept_aside_and_service_goes_on(self, path: Path, garbage: bytes) -> None:
        path.parent.mkdir(parents=True)
        path.write_bytes(garbage)
        spool = opened(path)
        await spool.store(mail())
        (notice,) = spool.notices
        (kept,) = (path.parent / "corrupt").glob("*/queue.db")
        assert kept.read_bytes() == garbage
        assert str(kept.parent) in notice
        assert (await spool.stats()).corrupt == 1
        await spool.close()

    @pytest.mark.parametrize("table", ["deliveries", "deliveries_due", "deliveries_by_state"])
    async def test_what_can_be_read_of_a_damaged_queue_goes_on(self, path: Path, table: str) -> None:
        spool, mails = opened(path), [mail(raw=b"x" * 20_000) for _ in range(50)]
        for each in mails:
            await spool.store(each)
        await spool.close()
        scribble(path, table)
        spool = opened(path)
        found = await spool.find(Query())
        assert {each.queue_id for each in found} == {each.queue_id for each in mails}
        lost = table == "deliveries"
        assert {each.state for each in found} == {State.HELD if lost else State.QUEUED}
        assert f"50 messages could be read and are in the new one, {50 if lost else 0} of them held" in spool.notices[0]
        assert await spool.load(mails[7].queue_id) == mails[7]
        await spool.close()

    async def test_what_operators_did_before_the_damage_is_logged_by_the_next_daemon(self, path: Path) -> None:
        spool, mails = opened(path), [mail(raw=b"x" * 20_000) for _ in range(50)]
        for each in mails:
            await spool.store(each)
        for each in mails[:2]:
            await spool.apply_action(each.queue_id, None, OperatorAction("drop", "anne"), 1.0)
        logged, transactions = await spool.operator_actions()
        await spool.operator_actions_logged([logged.id])
        await spool.close()
        scribble(path, "deliveries_by_state")
        spool = opened(path)
        assert spool.notices
        assert await spool.operator_actions() == (transactions,)
        await spool.close()

    async def test_a_folder_in_its_place(self, path: Path) -> None:
        path.mkdir(parents=True)
        spool = opened(path)
        await spool.store(mail())
        assert len(spool.notices) == 1
        await spool.close()

    async def test_a_damaged_file_is_left_to_the_daemon_by_commands(self, path: Path) -> None:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"garbage" * 1000)
        with pytest.raises(SpoolError, match="damaged"):
            opened(path, exclusive=False)
        assert path.read_bytes() == b"garbage" * 1000

    async def test_a_document_stored_before_invoices_had_digests_is_known_again(self, path: Path) -> None:
        """Such a spool holds one digest for each document: of its sha256 and the address."""
        document = facturx("F-1")
        document = replace(
            document, report=replace(document.report, xml_sha256="f" * 64, seller=Party(siren="732829320"))
        )
        first, again, anew = (mail(plan("a@x", documents=(document,)), hold_duplicates=True) for _ in range(3))
        anew = replace(
            anew, plans=(plan("a@x", documents=(replace(document, report=replace(document.report, sha256="a" * 64)),)),)
        )
        spool = opened(path)
        await spool.store(replace(first, arrived=time.time()))
        await spool.close()
        known = hashlib.sha256(f"{document.report.sha256}\0a@x".encode()).hexdigest()
        vandalise(path, "DELETE FROM documents WHERE digest <> ?", known)
        spool = opened(path)
        await spool.store(again)
        [found] = await spool.find(Query(queue_id=again.queue_id))
        assert (found.reason, found.detail) == (Reason.DUPLICATE_DOCUMENT, first.queue_id)
        await spool.store(anew)
        [found] = await spool.find(Query(queue_id=anew.queue_id))
        assert found.detail == copy_of(again.queue_id, "xml")
        await spool.close()

    @pytest.mark.parametrize("noticed", [True, False])
    async def test_a_damaged_message_that_comes_again_is_taken_anew(self, path: Path, noticed: bool) -> None:
        """Answered with the first queue id it would be lost: nobody has its octets any more."""
        spool = opened(path)
        first, again = (
            mail(plan("a@x", documents=(facturx("F-1"),)), fingerprint="same", hold_duplicates=True, at=time.time())
            for _ in range(2)
        )
        await spool.store(first)
        assert (await spool.store(again)).duplicate
        overwrite(path, first.queue_id, bytes(10))
        if noticed:
            assert await spool.load(first.queue_id) is None
        stored = await spool.store(again)
        assert (stored.queue_id, stored.duplicate) == (again.queue_id, False)
        states = {each.queue_id: each.state for each in await spool.find(Query())}
        assert states == {first.queue_id: State.HELD, again.queue_id: State.QUEUED}
        assert (await spool.store(mail(fingerprint="same"))).queue_id == again.queue_id
        await spool.close()

    async def test_damage_met_while_running_is_looked_for_at_the_next_start(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A page of the fingerprints would otherwise fail every new message for ever, and no start would see it."""
        monkeypatch.setattr(database, "WHOLE", 0)
        spool, first = opened(path), mail(raw=b"x" * 20_000)
        await spool.store(first)
        await spool.close()
        scribble(path, "fingerprints")
        spool = opened(path)
        assert spool.notices == ()
        with pytest.raises(SpoolDamaged):
            await spool.store(mail())
        with pytest.raises(SpoolDamaged):
            await spool.claim(2_000_000, 60, 1)
        await spool.close()
        spool = opened(path)
        assert "1 messages could be read" in spool.notices[0]
        assert [each.delivery.queue_id for each in await spool.claim(2_000_000, 60, 1)] == [first.queue_id]
        await spool.store(mail())
        await spool.close()
        spool = opened(path)
        assert spool.notices == ()
        await spool.close()

    async def test_an_empty_file_with_a_log_is_kept_aside_with_it(self, path: Path) -> None:
        """SQLite by itself takes it for a new database and deletes the log: what is in there would be gone untold."""
        await _open_and_close(path)
        log = path.with_name("queue.db-wal")
        path.write_bytes(b"")
        log.write_bytes(b"what was not copied back")
        spool = opened(path)
        await spool.store(mail())
        assert "it is empty, but its log is not" in spool.notices[0]
        (kept,) = (path.parent / "corrupt").glob("*/queue.db-wal")
        assert kept.read_bytes() == b"what was not copied back"
        await spool.close()

    async def test_an_empty_file_is_a_new_spool(self, path: Path) -> None:
        path.parent.mkdir(parents=True)
        path.touch()
        spool = opened(path)
        await spool.store(mail())
        assert spool.notices == ()
        await spool.close()


class TestFailingDisk:
    async def test_little_space_refuses_messages_but_settles_what_is_queued(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool = opened(path)
        monkeypatch.setattr(disk_space, "free_octets", lambda _: disk_space.PLENTY - 1)
        await spool.store(mail())
        monkeypatch.setattr(disk_space, "free_octets", lambda _: disk_space.MIN_FREE - 1)
        with pytest.raises(SpoolFull):
            await spool.store(mail())
        assert spool.unhealthy()
        (claim,) = await spool.claim(2_000_000, 60, 1)
        assert await spool.settle(claim, step(claim.delivery, DONE, 2_000_000, Retry()))
        monkeypatch.undo()
        assert spool.unhealthy() is None
        await spool.store(mail())
        await spool.close()

    async def test_the_emergency_reserve_lets_a_settlement_through_on_a_full_disk(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool = opened(path)
        await spool.store(mail(at=1.0))
        emergency_reserve = path.with_name("queue.db.reserve")
        assert emergency_reserve.stat().st_blocks * 512 >= disk_space.EMERGENCY_RESERVE
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        real = spool._writer._connection
        full = _FailingCommit(real, error, emergency_reserve.exists)
        monkeypatch.setattr(spool._writer, "_connection", full)
        (claim,) = await spool.claim(2.0, 60, 1)
        assert not emergency_reserve.exists()
        assert await spool.settle(claim, step(claim.delivery, DONE, 2.0, Retry()))
        await spool.purge(0.0)
        assert emergency_reserve.exists()
        await spool.close()

    async def test_a_file_size_limit_refuses_and_recovers(self, path: Path) -> None:
        spool, small = opened(path), mail()
        await spool.store(small)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        try:
            results = await asyncio.gather(
                *(spool.store(mail(raw=b"x" * 1_000_000)) for _ in range(3)), return_exceptions=True
            )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert {type(each) for each in results} == {SpoolFull}
        again = mail(raw=b"x" * 1_000_000)
        await spool.store(again)
        assert {each.queue_id for each in await spool.find(Query())} == {small.queue_id, again.queue_id}
        await spool.close()

    async def test_a_job_that_fails_does_not_spoil_its_neighbours(self, path: Path) -> None:
        spool, twin = opened(path), mail()
        await spool.store(twin)
        clash = mail(queue_id=twin.queue_id)
        results = await asyncio.gather(
            spool.store(mail()), spool.store(clash), spool.store(mail()), return_exceptions=True
        )
        assert [isinstance(each, SpoolError) for each in results] == [False, True, False]
        assert len(await spool.find(Query())) == 3
        await spool.close()

    async def test_after_a_failed_fsync_nothing_is_promised_any_more(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool = opened(path)
        await spool.store(mail())
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        monkeypatch.setattr(spool._writer, "_connection", _FailingCommit(spool._writer._connection, error))
        results = await asyncio.gather(*(spool.store(mail()) for _ in range(5)), return_exceptions=True)
        assert {type(each) for each in results} == {SpoolBroken}
        assert spool.unhealthy()
        with pytest.raises(SpoolBroken):
            await spool.store(mail())
        await spool.close()

    async def test_a_writer_that_ends_answers_everybody_and_breaks_the_spool(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool = opened(path)

        def fault(batch: object) -> None:
            raise RuntimeError("a bug of ours")

        monkeypatch.setattr(spool._writer, "_write", fault)
        async with asyncio.timeout(10):
            results = await asyncio.gather(*(spool.store(mail()) for _ in range(5)), return_exceptions=True)
        assert {type(each) for each in results} == {SpoolBroken}
        assert "a bug of ours" in str(spool.unhealthy())
        with pytest.raises(SpoolBroken):
            await spool.store(mail())
        await spool.close()


class TestGroups:
    async def test_many_wait_for_more_and_one_alone_for_nobody(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool, waited = opened(path), []
        monkeypatch.setattr(writer_thread, "select", SimpleNamespace(select=lambda *waits: waited.append(waits[-1])))
        for _ in range(3):
            await spool.store(mail())
        assert waited == []
        for _ in range(3):
            await asyncio.gather(*(spool.store(mail()) for _ in range(50)))
        await spool.close()
        assert waited and set(waited) == {writer_thread.GATHER}


class _FailingCommit:
    """A connection whose COMMIT fails with `error` as long as `when` holds."""

    def __init__(
        self, connection: sqlite3.Connection, error: Exception, when: Callable[[], bool] = lambda: True
    ) -> None:
        self._connection = connection
        self._error = error
        self._when = when

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        if statement == "COMMIT" and self._when():
            raise self._error
        return self._connection.execute(statement, *values)

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


class TestSpace:
    async def test_purged_room_goes_back_to_the_file_system(self, path: Path) -> None:
        spool = opened(path)
        for _ in range(10):
            await spool.store(mail(raw=os.urandom(1_000_000)))
        for claim in await spool.claim(2_000_000, 60, 10):
            await spool.settle(claim, step(claim.delivery, DONE, 2_000_000, Retry()))
        assert await spool.purge(time.time() + 10) == 10
        await spool.close()
        assert path.stat().st_size < 1_000_000

    @pytest.mark.parametrize("statement", [transactions._OLDEST, transactions._DESTINATIONS])
    async def test_what_is_due_is_found_by_the_index_of_a_destination(self, path: Path, statement: str) -> None:
        spool = opened(path)
        with sqlite3.connect(path) as connection:
            values = ("agiris", 1.0, 5) if "?" in statement else ()
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
        connection.close()
        looked = [row[3] for row in plan if "deliveries" in row[3]]
        assert looked and all(each.startswith("SEARCH") and "INDEX deliveries_due" in each for each in looked), plan
        assert not any("TEMP B-TREE" in row[3] for row in plan)
        await spool.close()

    def test_synchronous_full_in_wal_mode(self, path: Path) -> None:
        database_path = path
        asyncio.run(_open_and_close(database_path))
        connection = database.connect(database_path)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        connection.close()
