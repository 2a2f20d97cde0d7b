"""Backup, restore and check of a spool, by the commands an operator types."""

import asyncio
import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relay.cli import main
from relay.lifecycle import step
from relay.model import Message, OperatorAction, Retry, State
from relay.reasons import Reason
from relay.replies import Delivered, Reply
from relay.spool.open import open_spool
from relay.spool.port import Query, Spool
from tests.support.spool_messages import mail, overwrite

DONE = Delivered(Reply(250, "2.0.0", "ok"))


class Bench:
    """A spool of three messages: one delivered, one deferred at work (active), one waiting."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "spool" / "queue.db"
        self.url = f"sqlite://{self.path}"
        self.copy = folder / "backup.db"
        self.mails = [mail(), mail(), mail()]

    async def fill(self) -> None:
        async with self.daemon() as spool:
            for each in self.mails:
                await spool.store(each)
            first, _second = await spool.claim(1_000_001, 60, 2)
            await spool.settle(first, step(first.delivery, DONE, 1_000_002, Retry()))
            self.delivered = first.delivery.queue_id

    def daemon(self) -> "Daemon":
        return Daemon(self.url)

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["spool", words[0], "--spool", self.url, *words[1:]], env={"SUDO_USER": "anne"})

    def value(self, *words: str) -> dict[str, object]:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.stderr
        return dict(json.loads(result.stdout))

    def found(self) -> dict[str, tuple[State, Reason | None]]:
        async def collect() -> dict[str, tuple[State, Reason | None]]:
            async with self.daemon() as spool:
                return {each.queue_id: (each.state, each.reason) for each in await spool.find(Query())}

        return asyncio.run(collect())


class Daemon:
    """The spool held as the daemon holds it."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Spool:
        self.spool = open_spool(self._url)
        return self.spool

    async def __aexit__(self, *_: object) -> None:
        await self.spool.close()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    asyncio.run(made.fill())
    return made


def vandalise(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(statement)
        db.commit()


def test_a_backup_is_one_sound_private_file(bench: Bench) -> None:
    done = bench.value("backup", str(bench.copy))
    assert (done["mails"], done["octets"]) == (3, bench.copy.stat().st_size)
    assert stat.S_IMODE(bench.copy.stat().st_mode) == 0o600
    assert sorted(each.name for each in bench.folder.iterdir()) == ["backup.db", "spool"]
    checked = bench.value("check", str(bench.copy))
    assert checked["faults"] == []
    assert checked["deliveries"] == {"active": 1, "delivered": 1, "queued": 1}


async def test_a_backup_is_taken_while_the_daemon_stores(bench: Bench) -> None:
    """Commits between its steps neither make the copy begin anew nor wait for it."""
    async with bench.daemon() as spool:
        stop = asyncio.Event()

        async def load() -> list[Message]:
            stored = []
            while not stop.is_set():
                stored.append(mail(raw=b"x" * 200_000))
                await spool.store(stored[-1])
            return stored

        for _ in range(100):
            await spool.store(mail(raw=b"y" * 500_000))
        loading = asyncio.create_task(load())
        result = await asyncio.to_thread(bench.run, "backup", str(bench.copy))
        stop.set()
        assert result.exit_code == 0, result.stderr
        stored = await loading
    assert len(stored) > 1
    assert bench.run("check", str(bench.copy)).exit_code == 0
    with closing(sqlite3.connect(bench.copy)) as db:
        assert db.execute("SELECT COUNT(*) FROM mails").fetchone()[0] >= 103
        assert db.execute("SELECT COUNT(*) FROM mails WHERE id NOT IN (SELECT mail FROM deliveries)").fetchone() == (0,)


def test_a_backup_overwrites_nothing(bench: Bench) -> None:
    bench.copy.write_text("the last one")
    result = bench.run("backup", str(bench.copy))
    assert result.exit_code == 1
    assert "overwrites nothing" in result.stderr
    assert bench.copy.read_text() == "the last one"


@pytest.mark.parametrize("target", ["nowhere/backup.db", "spool/queue.db.lock/x"])
def test_a_place_that_cannot_be_written_is_one_sentence(bench: Bench, target: str) -> None:
    result = bench.run("backup", str(bench.folder / target))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "cannot be written" in result.stderr


def test_what_a_restore_might_send_twice_is_held_and_can_be_released(bench: Bench) -> None:
    bench.value("backup", str(bench.copy))
    bench.path.unlink()
    done = bench.value("restore", str(bench.copy))
    assert (done["mails"], done["held"]) == (3, 2)
    # The database was lost, its segments were not: they may be worth something.
    assert list(Path(str(done["replaced"])).glob("queue.db.segments/*"))
    found = bench.found()
    assert found.pop(bench.delivered) == (State.DELIVERED, None)
    assert set(found.values()) == {(State.HELD, Reason.RESTORED)}

    async def release() -> list[object]:
        async with bench.daemon() as spool:
            queue_id = next(iter(found))
            record = await spool.show(queue_id)
            assert record is not None and record.history[-1].by == "anne"
            actions = await spool.operator_actions()
            assert {(each.queue_id, each.event.what, each.event.by) for each in actions} == {
                (each, "held", "anne") for each in found
            }
            await spool.apply_action(queue_id, None, OperatorAction("release"), 5.0)
            return [claim.delivery.queue_id == queue_id for claim in await spool.claim(6.0, 60, 10)]

    assert asyncio.run(release()) == [True]


def test_the_return_paths_of_before_are_still_understood(bench: Bench) -> None:
    async def secret() -> bytes:
        async with bench.daemon() as spool:
            return await spool.secret()

    before = asyncio.run(secret())
    bench.value("backup", str(bench.copy))
    bench.value("restore", "--force", str(bench.copy))
    assert asyncio.run(secret()) == before


def test_undelivered_messages_are_not_replaced_unless_ordered(bench: Bench) -> None:
    bench.value("backup", str(bench.copy))
    refused = bench.run("restore", str(bench.copy))
    assert refused.exit_code == 1
    assert "2 deliveries that are not delivered" in refused.stderr
    assert set(bench.found().values()) != {(State.HELD, Reason.RESTORED)}
    done = bench.value("restore", "--force", str(bench.copy))
    kept = Path(str(done["replaced"])) / bench.path.name
    with closing(sqlite3.connect(kept)) as db:
        assert db.execute("SELECT COUNT(*) FROM mails").fetchone() == (3,)


async def test_nothing_is_restored_under_a_running_daemon(bench: Bench) -> None:
    await asyncio.to_thread(bench.run, "backup", str(bench.copy))
    async with bench.daemon():
        result = await asyncio.to_thread(bench.run, "restore", "--force", str(bench.copy))
    assert result.exit_code == 75
    assert "is used by pid" in result.stderr


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("PRAGMA user_version = 99", "newer agiris-relay (schema 99"),
        ("PRAGMA application_id = 1", "is no spool of agiris-relay"),
    ],
)
def test_a_foreign_or_newer_file_is_refused_and_the_spool_stays(bench: Bench, statement: str, words: str) -> None:
    bench.value("backup", str(bench.copy))
    vandalise(bench.copy, statement)
    before = bench.path.read_bytes()
    for command in ("restore", "check"):
        result = bench.run(command, *(["--force"] if command == "restore" else []), str(bench.copy))
        assert result.exit_code == 1
        assert words in result.stderr
    assert bench.path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no database at all" * 1000])
def test_a_file_that_is_no_database_is_refused(bench: Bench, content: bytes) -> None:
    bench.copy.write_bytes(content)
    result = bench.run("restore", "--force", str(bench.copy))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_a_truncated_backup_is_refused(bench: Bench) -> None:
    bench.value("backup", str(bench.copy))
    bench.copy.write_bytes(bench.copy.read_bytes()[:-8192])
    result = bench.run("restore", "--force", str(bench.copy))
    assert result.exit_code == 1
    assert str(bench.copy) in result.stderr
    assert bench.run("check").exit_code == 0


def test_check_names_the_message_whose_octets_changed(bench: Bench) -> None:
    assert bench.value("check")["faults"] == []
    overwrite(bench.path, bench.mails[1].queue_id, b"?")
    result = bench.run("check")
    assert result.exit_code == 1
    assert "its octets are not those that were accepted" in result.stdout
    vandalise(bench.path, "UPDATE mails SET plans = x'7b' WHERE id = 3")
    assert "cannot be read" in bench.run("check").stdout


def test_without_a_spool_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/none.db"
    result = CliRunner().invoke(main, ["spool", "backup", "--spool", url, str(tmp_path / "x")])
    assert result.exit_code == 1
    assert "there is no spool at" in result.stderr
