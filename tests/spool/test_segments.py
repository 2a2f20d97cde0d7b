"""Raw octets in segments beside the database: what a crash, a loss, a full disk and a purge make of them."""

import asyncio
import errno
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from relay.cli import main
from relay.lifecycle import step
from relay.model import Message, Retry, State
from relay.reasons import Reason
from relay.replies import Delivered, Reply
from relay.spool.open import open_spool
from relay.spool.port import Query, SpoolBroken, SpoolError, SpoolFull
from relay.spool.sqlite import database, raw_messages
from relay.spool.sqlite import segments as sqlite_segments
from relay.spool.sqlite.backup import backup
from relay.spool.sqlite.engine import SqliteSpool
from relay.spool.sqlite.integrity import verify
from relay.spool.sqlite.segments import Segments, folder_of
from relay.spool.sqlite.spool_folder import Lock
from tests.support.spool_messages import mail, octets_at, overwrite

DONE = Delivered(Reply(250, "2.0.0", "ok"))
LATER = 10**10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "queue.db"


def opened(path: Path) -> SqliteSpool:
    spool = open_spool(f"sqlite://{path}")
    assert isinstance(spool, SqliteSpool)
    return spool


async def deliver(spool: SqliteSpool, *mails: Message) -> None:
    """All that is due, or only `messages`; the others' claims are left."""
    wanted = {each.queue_id for each in mails}
    for claim in await spool.claim(2_000_000, 60, 1000):
        if not wanted or claim.delivery.queue_id in wanted:
            await spool.settle(claim, step(claim.delivery, DONE, 2_000_000, Retry()))


def taken(path: Path) -> int:
    """Octets on disk of all segments."""
    return sum(each.stat().st_blocks * 512 for each in folder_of(path).iterdir())


class TestLoss:
    async def test_messages_of_all_sizes_come_back_as_they_were(self, path: Path) -> None:
        sizes = (
            0,
            1,
            4095,
            4096,
            4097,
            130_000,
            raw_messages._BUFFER - 1,
            raw_messages._BUFFER,
            2 * raw_messages._BUFFER + 5,
        )
        spool, mails = opened(path), [mail(raw=os.urandom(each)) for each in sizes]
        await asyncio.gather(*(spool.store(each) for each in mails))
        await spool.close()
        spool = opened(path)
        assert [await spool.load(each.queue_id) for each in mails] == mails
        await spool.close()

    async def test_a_torn_tail_harms_nobody(self, path: Path) -> None:
        spool, kept = opened(path), mail(raw=os.urandom(10_000))
        await spool.store(kept)
        await spool.close()
        (segment,) = folder_of(path).iterdir()
        with segment.open("ab") as file:
            file.write(b"half a mail")
        spool, new = opened(path), mail(raw=os.urandom(10_000))
        await spool.store(new)
        assert spool.notices == ()
        assert [await spool.load(each.queue_id) for each in (kept, new)] == [kept, new]
        await spool.close()

    @pytest.mark.parametrize("damage", ["gone", "cut", "garbage", "a folder"])
    async def test_a_segment_lost_sets_its_messages_aside_and_no_others(self, path: Path, damage: str) -> None:
        spool, bad = opened(path), mail(raw=os.urandom(10_000))
        await spool.store(bad)
        await spool.close()
        segment, _, _ = octets_at(path, bad.queue_id)
        if damage == "cut":
            os.truncate(segment, 5000)
        elif damage == "garbage":
            overwrite(path, bad.queue_id, b"garbage")
        else:
            segment.unlink()
        if damage == "a folder":
            segment.mkdir()
        spool, good = opened(path), mail(raw=os.urandom(10_000))
        await spool.store(good)
        assert await spool.load(bad.queue_id) is None
        (held,) = await spool.find(Query(queue_id=bad.queue_id))
        assert (held.state, held.reason) == (State.HELD, Reason.MALFORMED_MAIL)
        assert await spool.load(good.queue_id) == good
        assert (await spool.stats()).corrupt == 1
        assert len(verify(path).faults) == 1
        await spool.close()

    async def test_a_lost_segment_gives_its_number_to_no_other(self, path: Path) -> None:
        spool = opened(path)
        await spool.store(mail())
        await spool.close()
        (segment,) = folder_of(path).iterdir()
        segment.unlink()
        spool, new = opened(path), mail()
        await spool.store(new)
        assert octets_at(path, new.queue_id)[0] != segment
        await spool.close()

    async def test_a_segment_is_continued_at_the_next_start(self, path: Path) -> None:
        mails = [mail(raw=os.urandom(5000)) for _ in range(3)]
        for each in mails:
            spool = opened(path)
            await spool.store(each)
            await spool.close()
        assert len(list(folder_of(path).iterdir())) == 1
        spool = opened(path)
        assert [await spool.load(each.queue_id) for each in mails] == mails
        await spool.close()

    async def test_want_of_descriptors_sets_nothing_aside(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        spool, given = opened(path), mail()
        await spool.store(given)

        def none_left(*_: object) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", none_left)
            with pytest.raises(SpoolError):
                await spool.load(given.queue_id)
        assert await spool.load(given.queue_id) == given
        await spool.close()

    async def test_segments_without_a_database_are_kept(self, path: Path) -> None:
        spool = opened(path)
        await spool.store(mail())
        await spool.close()
        for each in path.parent.glob("queue.db*"):
            if each.is_file():
                each.unlink()
        spool = opened(path)
        assert "segments of one" in spool.notices[0]
        assert len(list(path.parent.glob("corrupt/*/queue.db.segments/*"))) == 1
        assert len(list(folder_of(path).iterdir())) == 1
        await spool.store(mail())
        await spool.close()

    async def test_what_is_saved_from_a_damaged_database_has_its_octets(self, path: Path) -> None:
        spool, mails = opened(path), [mail(raw=os.urandom(20_000)) for _ in range(5)]
        for each in mails:
            await spool.store(each)
        await spool.close()
        with closing(sqlite3.connect(path)) as db:
            (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'deliveries_due'").fetchone()
        with path.open("r+b") as file:
            file.seek((page - 1) * database.PAGE)
            file.write(b"\xa5" * database.PAGE)
        spool = opened(path)
        assert "5 messages could be read" in spool.notices[0]
        assert [await spool.load(each.queue_id) for each in mails] == mails
        # The evidence stays whole when the messages are purged.
        await deliver(spool, *mails[1:])
        assert await spool.purge(LATER) == 4
        evidence = [each.read_bytes() for each in path.parent.glob("corrupt/*/queue.db.segments/*")]
        assert any(mails[2].raw in each for each in evidence)
        await spool.close()


class TestCommit:
    async def test_the_octets_are_durable_before_the_row(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        spool, order = opened(path), []
        real, begun = os.fdatasync, spool._writer._connection

        class Observed:
            def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
                order.append(statement.split()[0])
                return begun.execute(statement, *values)

            def __getattr__(self, name: str) -> object:
                return getattr(begun, name)

        monkeypatch.setattr(spool._writer, "_connection", Observed())
        monkeypatch.setattr(os, "fdatasync", lambda fd: (real(fd), order.append("fdatasync")))
        await spool.store(mail())
        assert order.count("fdatasync") == 1
        assert order[-2:] == ["fdatasync", "COMMIT"]
        await spool.close()

    async def test_the_same_message_twice_in_one_commit(self, path: Path) -> None:
        """The second finds the first, whose octets are not on disk yet; nothing is wrong with them."""
        spool, first = opened(path), mail(fingerprint="same", raw=os.urandom(5000))
        again = mail(fingerprint="same", raw=first.raw)
        found = await asyncio.gather(spool.store(first), spool.store(again))
        assert [(each.queue_id, each.duplicate) for each in found] == [(first.queue_id, False), (first.queue_id, True)]
        assert await spool.load(first.queue_id) == first
        await spool.close()

    async def test_a_crash_between_the_two_leaves_rubbish_that_goes(self, path: Path) -> None:
        spool, lost = opened(path), mail(raw=b"x" * 100_000)
        await spool.store(mail())
        await spool.close()
        spool = opened(path)
        spool._appender.begin()
        spool._appender.put(lost.raw)
        spool._appender.sync()  # and here the power goes
        await spool.close()
        spool, new = opened(path), mail(raw=b"y" * 100_000)
        assert await spool.find(Query(queue_id=lost.queue_id)) == ()
        await spool.store(new)
        assert await spool.load(new.queue_id) == new
        assert taken(path) > 200_000
        await deliver(spool, new)
        assert await spool.purge(LATER) == 1
        assert taken(path) < 100_000
        await spool.close()

    @pytest.mark.parametrize(
        ("call", "code", "error"),
        [
            ("pwrite", errno.ENOSPC, SpoolFull),
            ("pwrite", errno.EFBIG, SpoolFull),
            ("pwrite", errno.EIO, SpoolFull),
            ("fdatasync", errno.EIO, SpoolBroken),
        ],
    )
    async def test_a_failing_disk(
        self, path: Path, call: str, code: int, error: type[SpoolError], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool, before = opened(path), mail()
        await spool.store(before)

        def fails(*_: object) -> int:
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            results = await asyncio.gather(*(spool.store(mail()) for _ in range(3)), return_exceptions=True)
        assert {type(each) for each in results} == {error}
        assert spool.unhealthy()
        again = mail(raw=os.urandom(5000))
        if error is SpoolBroken:
            with pytest.raises(SpoolBroken):
                await spool.store(again)
            again = before
        else:
            await spool.store(again)
        assert await spool.load(again.queue_id) == again
        assert {each.queue_id for each in await spool.find(Query())} == {before.queue_id, again.queue_id}
        await spool.close()

    async def test_without_a_new_file_the_old_segment_becomes_longer(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(raw_messages, "LARGE", 10_000)
        spool, mails = opened(path), [mail(raw=os.urandom(9000)) for _ in range(6)]

        def no_inode(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(raw_messages, "_open", no_inode)
            for each in mails[:4]:
                await spool.store(each)
        for each in mails[4:]:
            await spool.store(each)
        assert len({octets_at(path, each.queue_id)[0] for each in mails[:4]}) == 1
        assert len({octets_at(path, each.queue_id)[0] for each in mails[3:5]}) == 2
        assert [await spool.load(each.queue_id) for each in mails] == mails
        await spool.close()

    async def test_a_short_write_is_a_full_disk(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        spool, real = opened(path), os.pwrite
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", lambda fd, octets, at: real(fd, octets[:4096], at))
            with pytest.raises(SpoolFull):
                await spool.store(mail(raw=os.urandom(20_000)))
        given = mail(raw=os.urandom(20_000))
        await spool.store(given)
        assert await spool.load(given.queue_id) == given
        await spool.close()

    @pytest.mark.parametrize("call", ["open", "pwrite"])
    async def test_a_file_system_that_wants_the_page_cache(
        self, path: Path, call: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """EINVAL of O_DIRECT: at the opening, or at the first write."""
        real_open, real_write, refused = os.open, os.pwrite, []

        def opening(file: str, flags: int, mode: int = 0o777) -> int:
            if flags & os.O_DIRECT and call == "open":
                refused.append(file)
                raise OSError(errno.EINVAL, "Invalid argument")
            return real_open(file, flags, mode)

        def writing(fd: int, octets: memoryview, at: int) -> int:
            if call == "pwrite" and not refused:
                refused.append(str(fd))
                raise OSError(errno.EINVAL, "Invalid argument")
            return real_write(fd, octets, at)

        monkeypatch.setattr(os, "open", opening)
        spool, given = opened(path), mail(raw=os.urandom(20_000))
        monkeypatch.setattr(os, "pwrite", writing)
        await spool.store(given)
        assert refused
        assert await spool.load(given.queue_id) == given
        await spool.close()


class TestRoom:
    async def test_segments_of_purged_messages_are_removed(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(raw_messages, "LARGE", 300_000)
        spool = opened(path)
        for _ in range(20):
            await spool.store(mail(raw=os.urandom(100_000)))
        assert len(list(folder_of(path).iterdir())) >= 6
        assert (await spool.stats()).octets > 2_000_000
        await deliver(spool)
        assert await spool.purge(LATER) == 20
        assert len(list(folder_of(path).iterdir())) <= 1
        assert (await spool.stats()).octets < 500_000 + sum(
            each.stat().st_size for each in path.parent.iterdir() if each.is_file()
        )
        await spool.close()

    @pytest.mark.parametrize("after", ["at once", "when the segment is closed", "at the next start"])
    async def test_one_held_message_keeps_no_others_room(
        self, path: Path, after: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if after == "when the segment is closed":
            monkeypatch.setattr(raw_messages, "LARGE", 2_000_000)
        spool, mails = opened(path), [mail(raw=os.urandom(100_000)) for _ in range(21)]
        stays = mails[10] if after == "at once" else mails[0]
        for each in mails:
            await spool.store(each)
        await deliver(spool, *(each for each in mails if each is not stays))
        if after == "when the segment is closed":
            await spool.store(mail(raw=b"in the next"))
        if after == "at once":
            await spool.purge(LATER)
        elif after == "at the next start":
            await spool.close()
            spool = opened(path)
        assert await spool.purge(LATER) == (0 if after == "at once" else 20)
        assert taken(path) < 200_000
        assert await spool.load(stays.queue_id) == stays
        await spool.close()

    async def test_a_file_system_that_makes_no_holes_is_served(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_segments, "_fallocate", None)
        spool, mails = opened(path), [mail() for _ in range(3)]
        for each in mails:
            await spool.store(each)
        await deliver(spool, *mails[1:])
        assert await spool.purge(LATER) == 2
        assert await spool.load(mails[0].queue_id) == mails[0]
        await spool.close()

    async def test_what_is_being_stored_is_never_given_back(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Purges and stores at the same time, segments ending all the while."""
        monkeypatch.setattr(raw_messages, "LARGE", 50_000)
        spool, alive = opened(path), []
        stop = asyncio.Event()

        async def purge() -> None:
            while not stop.is_set():
                await spool.purge(LATER)

        purging = asyncio.create_task(purge())
        for number in range(60):
            given = [mail(raw=os.urandom(9000)) for _ in range(3)]
            await asyncio.gather(*(spool.store(each) for each in given))
            claims = await spool.claim(2_000_000, LATER, 3)
            await spool.settle(claims[0], step(claims[0].delivery, DONE, 2_000_000, Retry()))
            alive += [each for each in given if each.queue_id != claims[0].delivery.queue_id]
            if number % 10 == 0:
                assert [await spool.load(each.queue_id) for each in alive] == alive
        stop.set()
        await purging
        assert [await spool.load(each.queue_id) for each in alive] == alive
        await spool.close()

    async def test_what_is_written_but_not_committed_is_not_given_back(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The database does not name it yet, so it looks like rubbish."""
        spool, given = opened(path), mail(raw=os.urandom(50_000))
        await spool.store(mail())
        real, segments = spool._writer._connection, Segments(path)

        class Reclaiming:
            def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
                if statement == "COMMIT":
                    with closing(database.connect(path, query_only=True)) as db:
                        settled = spool._appender.settled
                        sqlite_segments.reclaim(
                            segments, sqlite_segments.collect(db, segments, settled, segments.numbers())
                        )
                return real.execute(statement, *values)

            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

        with monkeypatch.context() as patch:
            patch.setattr(spool._writer, "_connection", Reclaiming())
            await spool.store(given)
        assert await spool.load(given.queue_id) == given
        await spool.close()

    async def test_commands_store_nothing(self, path: Path) -> None:
        daemon = opened(path)
        command = open_spool(f"sqlite://{path}", exclusive=False)
        with pytest.raises(SpoolError, match="only the daemon"):
            await command.store(mail())
        await command.close()
        await daemon.close()


class TestCopies:
    async def test_a_backup_holds_the_octets_and_no_segment(self, path: Path, tmp_path: Path) -> None:
        spool, mails = opened(path), [mail(raw=os.urandom(50_000)) for _ in range(5)]
        for each in mails:
            await spool.store(each)
        done = backup(path, tmp_path / "copy.db", time.time())
        assert done.messages == 5 and done.octets > 250_000
        assert verify(tmp_path / "copy.db").faults == ()
        await spool.close()
        # Read as a spool of its own, and stored to.
        copy, new = opened(tmp_path / "copy.db"), mail()
        await copy.store(new)
        assert [await copy.load(each.queue_id) for each in (*mails, new)] == [*mails, new]
        await deliver(copy)
        assert await copy.purge(LATER) == 6
        await copy.close()

    @pytest.mark.parametrize("at", ["start", "middle"])
    async def test_messages_purged_during_a_backup_are_not_half_in_it(
        self, path: Path, tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool, mails = opened(path), [mail(raw=os.urandom(50_000)) for _ in range(6)]
        for each in mails:
            await spool.store(each)
        await deliver(spool, *mails[:3])
        loop, real, reads = asyncio.get_running_loop(), Segments.read, 0

        def reading(self: Segments, *where: object) -> bytes | None:
            nonlocal reads
            reads += 1
            if reads == (1 if at == "start" else 3):
                asyncio.run_coroutine_threadsafe(spool.purge(LATER), loop).result(30)
            return real(self, *where)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(Segments, "read", reading)
            done = await asyncio.to_thread(backup, path, tmp_path / "copy.db", time.time())
        checked = verify(tmp_path / "copy.db")
        assert checked.faults == ()
        assert checked.messages == (3 if at == "start" else 5)
        assert done.messages == checked.messages
        await spool.close()

    async def test_a_check_beside_a_purge_finds_no_fault(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        spool, mails = opened(path), [mail(raw=os.urandom(50_000)) for _ in range(3)]
        for each in mails:
            await spool.store(each)
        await deliver(spool, mails[0])
        loop, real, purged = asyncio.get_running_loop(), Segments.read, []

        def reading(self: Segments, *where: object) -> bytes | None:
            if not purged:
                purged.append(asyncio.run_coroutine_threadsafe(spool.purge(LATER), loop).result(30))
            return real(self, *where)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(Segments, "read", reading)
            assert (await asyncio.to_thread(verify, path)).faults == ()
        assert purged == [1]
        await spool.close()

    def test_a_database_copied_by_hand_is_half_a_spool(self, path: Path, tmp_path: Path) -> None:
        async def fill() -> Message:
            spool, given = opened(path), mail(raw=os.urandom(5000))
            await spool.store(given)
            await spool.close()
            return given

        given = asyncio.run(fill())
        half = tmp_path / "half.db"
        half.write_bytes(path.read_bytes())
        target = f"sqlite://{tmp_path}/new/queue.db"
        refused = CliRunner().invoke(main, ["spool", "restore", "--spool", target, str(half)])
        assert refused.exit_code == 1
        assert "half a spool: the octets of 1 messages" in refused.stderr
        # With its segments it is whole.
        done = CliRunner().invoke(main, ["spool", "restore", "--spool", target, str(path)])
        assert done.exit_code == 0, done.stderr

        async def load() -> Message | None:
            spool = open_spool(target)
            loaded = await spool.load(given.queue_id)
            await spool.close()
            return loaded

        assert asyncio.run(load()) == given


@pytest.fixture
def older(path: Path) -> Callable[[int], Message]:
    """A spool as a relay of that schema left it, with one message."""

    def make(schema: int) -> Message:
        async def whole() -> Message:
            spool, given = opened(path), mail(raw=os.urandom(30_000))
            await spool.store(given)
            await spool.close()
            backup(path, path.with_name("whole.db"), 1.0)
            return given

        given = asyncio.run(whole())
        for each in path.parent.iterdir():
            if each.is_dir():
                for segment in each.iterdir():
                    segment.unlink()
                each.rmdir()
            elif each.name != "whole.db":
                each.unlink()
        path.with_name("whole.db").rename(path)
        with closing(sqlite3.connect(path)) as db:
            db.executescript(
                "DROP TABLE backup; DROP TABLE operator_actions; DROP INDEX mails_by_segment;"
                "ALTER TABLE mails DROP COLUMN segment; ALTER TABLE mails DROP COLUMN start;"
            )
            if schema < 2:
                db.executescript(
                    "DROP INDEX deliveries_due; CREATE INDEX deliveries_due ON deliveries (due) WHERE due IS NOT NULL"
                )
            db.executescript(f"PRAGMA user_version = {schema}")
        return given

    return make


class TestOlder:
    @pytest.mark.parametrize("schema", [1, 2])
    def test_octets_in_the_table_are_read_until_they_are_purged(
        self, path: Path, schema: int, older: Callable[[int], Message]
    ) -> None:
        old = older(schema)

        async def run() -> None:
            spool, new = opened(path), mail()
            await spool.store(new)
            assert [await spool.load(each.queue_id) for each in (old, new)] == [old, new]
            await deliver(spool)
            assert await spool.purge(LATER) == 2
            await spool.close()

        asyncio.run(run())
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT COUNT(*) FROM content").fetchone() == (0,)

    @pytest.mark.parametrize("schema", [1, 2])
    def test_no_command_migrates_it_while_a_daemon_runs(
        self, path: Path, schema: int, older: Callable[[int], Message], tmp_path: Path
    ) -> None:
        """The daemon may be of the older release, which would not know the new schema."""
        old = older(schema)
        lock = Lock(path.with_name(f"{path.name}.lock"))
        before = path.read_bytes()
        for command in (["queue", "list"], ["queue", "show", old.queue_id], ["trace", old.queue_id]):
            done = CliRunner().invoke(main, [*command, "--spool", f"sqlite://{path}"])
            assert done.exit_code == 1, done.output
            assert "restart the daemon with this release" in done.stderr
        with pytest.raises(SpoolError, match=f"older agiris-relay .schema {schema}"):
            open_spool(f"sqlite://{path}", exclusive=False)
        backup(path, tmp_path / "copy.db", 1.0)  # reads the older schema as it is
        assert path.read_bytes() == before
        lock.release()

    @pytest.mark.parametrize("schema", [1, 2])
    def test_a_command_migrates_it_when_no_daemon_runs_and_lets_go_of_it(
        self, path: Path, schema: int, older: Callable[[int], Message]
    ) -> None:
        old = older(schema)
        done = CliRunner().invoke(main, ["queue", "show", old.queue_id, "--spool", f"sqlite://{path}"])
        assert done.exit_code == 0, done.output
        asyncio.run(opened(path).close())

    @pytest.mark.parametrize("schema", [1, 2])
    def test_it_is_checked_backed_up_and_restored_before_it_is_brought_up_to_date(
        self, path: Path, schema: int, tmp_path: Path, older: Callable[[int], Message]
    ) -> None:
        old = older(schema)
        assert verify(path).faults == ()
        backup(path, tmp_path / "copy.db", 1.0)
        target = f"sqlite://{tmp_path}/new/queue.db"
        done = CliRunner().invoke(main, ["spool", "restore", "--spool", target, str(tmp_path / "copy.db")])
        assert done.exit_code == 0, done.stderr

        async def load() -> Message | None:
            spool = open_spool(target)
            loaded = await spool.load(old.queue_id)
            await spool.close()
            return loaded

        assert asyncio.run(load()) == old
