"""Room on disk that is kept for the day it is full."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.spool.open import open_spool
from relay.spool.sqlite import disk_space, segments, spool_folder
from relay.spool.sqlite.engine import SqliteSpool
from tests.support.spool_messages import mail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "queue.db"


@pytest.fixture
async def spool(path: Path) -> AsyncIterator[SqliteSpool]:
    opened = open_spool(f"sqlite://{path}")
    assert isinstance(opened, SqliteSpool)
    yield opened
    await opened.close()


def behind(path: Path) -> int:
    """Octets reserved behind the end of a file."""
    found = path.stat()
    return found.st_blocks * 512 - found.st_size


def cut_off(path: Path) -> None:
    """As a checkpoint does, which sets the length of the database."""
    os.truncate(path, path.stat().st_size)


async def test_blocks_lie_behind_the_database_and_its_log(spool: SqliteSpool, path: Path) -> None:
    assert behind(path) >= disk_space.DATABASE
    assert behind(path.with_name("queue.db-wal")) >= disk_space.LOG


async def test_they_are_taken_again_after_a_checkpoint(spool: SqliteSpool, path: Path) -> None:
    cut_off(path)
    assert behind(path) < disk_space.DATABASE
    await spool.store(mail())
    spool._checkpoints.restart_log()
    assert behind(path) >= disk_space.DATABASE


async def test_they_stay_for_the_next_start(path: Path) -> None:
    await open_spool(f"sqlite://{path}").close()
    assert behind(path) >= disk_space.DATABASE


async def test_a_small_disk_keeps_three_quarters_for_messages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_space, "free_octets", lambda _: 40 * 1024 * 1024)
    spool = open_spool(f"sqlite://{path}")
    taken = behind(path) + behind(path.with_name("queue.db-wal"))
    assert 9 * 1024 * 1024 < taken < 11 * 1024 * 1024
    await spool.close()


async def test_a_file_system_that_reserves_nothing_is_served(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_fallocate", lambda *_: -1)
    spool = open_spool(f"sqlite://{path}")
    await spool.store(mail())
    assert path.with_name("queue.db.reserve").exists()
    await spool.close()


async def test_a_start_on_a_full_disk_deletes_the_emergency_reserve(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_spool(f"sqlite://{path}").close()
    monkeypatch.setattr(disk_space, "free_octets", lambda _: 1000)
    spool = open_spool(f"sqlite://{path}")
    assert not path.with_name("queue.db.reserve").exists()
    await spool.close()


OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0)
try:
    print(connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0])
except sqlite3.OperationalError as error:
    print(error)
"""


async def test_keeping_room_drops_no_lock_of_sqlite(spool: SqliteSpool, path: Path) -> None:
    """Whoever closes a descriptor of the database loses the locks; another process could then end the log."""
    await spool.store(mail())
    await spool.purge(0.0)
    done = subprocess.run([sys.executable, "-c", OTHER, str(path)], capture_output=True, text=True, check=True)
    assert "locked" in done.stdout
    await spool.store(mail())
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM mails").fetchone() == (2,)
    connection.close()


def test_new_folders_are_made_durable_in_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a power cut after the first messages can take the whole spool, its files synced or not."""
    synced: list[Path] = []
    monkeypatch.setattr(spool_folder, "sync_folder", synced.append)
    spool_folder.make_private(tmp_path / "a" / "b" / "c")
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    synced.clear()
    spool_folder.make_private(tmp_path / "a" / "b" / "c")
    assert synced == []


class TestFree:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """What the system answers, in turn: each answer once."""
        answers: list[int] = []
        monkeypatch.setattr(disk_space, "free_octets", lambda _: answers.pop(0))
        monkeypatch.setattr(disk_space.time, "monotonic", lambda: 1000.0)
        return answers

    def test_while_there_is_plenty_it_is_asked_once_a_second(
        self, asked: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        free = disk_space.FreeSpace(Path("/"))
        asked += [2 * disk_space.PLENTY, 3 * disk_space.PLENTY]
        assert {free.octets() for _ in range(3)} == {2 * disk_space.PLENTY}
        monkeypatch.setattr(disk_space.time, "monotonic", lambda: 1001.0)
        assert free.octets() == 3 * disk_space.PLENTY

    def test_what_is_about_to_be_written_is_counted(self, asked: list[int]) -> None:
        free = disk_space.FreeSpace(Path("/"))
        asked += [2 * disk_space.PLENTY, 5]
        free.octets()
        free.spend(10)
        assert free.octets() == 2 * disk_space.PLENTY - 10
        free.spend(disk_space.PLENTY)
        assert free.octets() == 5

    def test_where_room_is_short_each_answer_is_of_now(self, asked: list[int]) -> None:
        free = disk_space.FreeSpace(Path("/"))
        asked += [disk_space.PLENTY - 1, 7, disk_space.PLENTY - 1]
        assert [free.octets() for _ in range(3)] == [disk_space.PLENTY - 1, 7, disk_space.PLENTY - 1]


async def test_a_stored_message_is_counted(spool: SqliteSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_space, "free_octets", lambda _: 2 * disk_space.PLENTY)
    one = mail()
    await spool.store(one)
    assert spool._free.octets() == 2 * disk_space.PLENTY - 2 * len(one.raw)
