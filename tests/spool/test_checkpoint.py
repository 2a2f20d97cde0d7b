"""The thread that copies the log back: whatever fails, it goes on, and says so meanwhile. Figures, off the loop."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.spool.open import open_spool
from relay.spool.port import SpoolBroken, SpoolError
from relay.spool.sqlite import checkpoint, segments
from relay.spool.sqlite.checkpoint import JOBS_PER_CHECKPOINT, Checkpointer
from relay.spool.sqlite.database import connect
from relay.spool.sqlite.engine import SqliteSpool
from tests.support.spool_messages import mail

SECONDS = 20


def sqlite_error(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(name)
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return error


class Failing:
    """Raises `error` the first times it is called, then does what `real` does."""

    def __init__(self, real: Callable[..., Any], error: Exception, times: int) -> None:
        self.real, self.error, self.left = real, error, times
        self.failed, self.done = threading.Event(), threading.Event()

    def __call__(self, *given: Any) -> Any:
        if self.left > 0:
            self.left -= 1
            self.failed.set()
            raise self.error
        result = self.real(*given)
        self.done.set()
        return result


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "queue.db") as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE some (thing)")
    db.close()
    return tmp_path / "queue.db"


@pytest.fixture
def made() -> Iterator[list[Checkpointer]]:
    made: list[Checkpointer] = []
    yield made
    for each in made:
        each.close()


def wait_for(condition: Callable[[], bool]) -> None:
    end = threading.Event()
    for _ in range(SECONDS * 100):
        if condition():
            return
        end.wait(0.01)
    raise AssertionError("it does not come true")


FAILURES = {
    "no descriptors for the connection": ("connect", sqlite_error("SQLITE_CANTOPEN")),
    "no descriptors for the reserve": ("copied", OSError(24, "Too many open files")),
    "no room for the reserve": ("copied", OSError(28, "No space left on device")),
    "remounted read-only": ("copied", OSError(30, "Read-only file system")),
    "no memory": ("connect", MemoryError()),
    "a full disk": ("connect", sqlite_error("SQLITE_FULL")),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_checkpoint_that_fails_is_shown_and_tried_again(
    name: str, path: Path, made: list[Checkpointer], monkeypatch: pytest.MonkeyPatch
) -> None:
    where, error = FAILURES[name]
    broken: list[SpoolBroken] = []
    failing = Failing(connect if where == "connect" else lambda *_: None, error, 3)
    if where == "connect":
        monkeypatch.setattr(checkpoint, "connect", failing)
    copied = failing if where == "copied" else lambda: None
    made.append(Checkpointer(path, broken.append, copied, retry=0.01))
    [each] = made
    each.committed(JOBS_PER_CHECKPOINT)
    assert failing.failed.wait(SECONDS)
    wait_for(lambda: failing.done.is_set() and each.failure is None)
    each.committed(JOBS_PER_CHECKPOINT)
    assert each._thread.is_alive() and not broken


def test_a_failure_is_reported_until_a_copy_is_made(path: Path, made: list[Checkpointer]) -> None:
    made.append(Checkpointer(path, lambda _: None, Failing(print, OSError(28, "No space left"), 10**6), retry=0.01))
    made[0].committed(JOBS_PER_CHECKPOINT)
    wait_for(lambda: made[0].failure is not None)
    assert "cannot be copied back" in (made[0].failure or "") and "No space left" in (made[0].failure or "")


def test_a_disk_that_fails_is_reported_as_broken(
    path: Path, made: list[Checkpointer], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def execute(self, words: str) -> Any:
            if "wal_checkpoint" in words:
                raise sqlite_error("SQLITE_IOERR_FSYNC")
            return type("Row", (), {"fetchone": lambda _: (4096,)})()

        def close(self) -> None:
            pass

    described = threading.Event()
    monkeypatch.setattr(checkpoint, "connect", lambda _: Broken())
    made.append(Checkpointer(path, lambda _: described.set(), lambda: None, retry=0.01))
    made[0].committed(JOBS_PER_CHECKPOINT)
    assert described.wait(SECONDS)


async def test_a_failing_checkpoint_is_reported_by_the_spool_which_goes_on_storing(tmp_path: Path) -> None:
    spool = open_spool(f"sqlite://{tmp_path}/queue.db")
    assert isinstance(spool, SqliteSpool)
    assert spool.degraded() is None
    spool._checkpoints.failure = "the log of the spool cannot be copied back: no room"
    assert spool.degraded() == "the log of the spool cannot be copied back: no room" and spool.unhealthy() is None
    assert (await spool.store(mail())).queue_id
    await spool.close()


async def test_purging_goes_on_though_no_room_can_be_reserved(tmp_path: Path) -> None:
    """It is an error of the spool, which housekeeping logs and tries again; anything else would end it."""
    spool = open_spool(f"sqlite://{tmp_path}/queue.db")
    assert isinstance(spool, SqliteSpool) and spool._disk_reservation is not None
    real, spool._disk_reservation.keep = (
        spool._disk_reservation.keep,
        Failing(print, OSError(30, "Read-only file system"), 1),
    )  # type: ignore[method-assign]
    with pytest.raises(SpoolError, match="Read-only file system"):
        await spool.purge(0.0)
    assert await spool.purge(0.0) == 0
    spool._disk_reservation.keep = real  # type: ignore[method-assign]
    await spool.close()


async def test_figures_are_counted_in_a_thread_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the event loop nor what reads for deliveries waits for them."""
    spool = open_spool(f"sqlite://{tmp_path}/queue.db")
    assert isinstance(spool, SqliteSpool)
    threads: list[str] = []
    real = segments.SegmentSizes.total

    def total(self: segments.SegmentSizes, current: int) -> int:
        threads.append(threading.current_thread().name)
        return real(self, current)

    monkeypatch.setattr(segments.SegmentSizes, "total", total)
    await spool.stats()
    [name] = threads
    assert name.startswith("spool-counter")
    await spool.close()


def test_a_segment_that_is_written_no_more_is_looked_at_once(tmp_path: Path) -> None:
    folder = segments.Segments(tmp_path / "queue.db")
    folder.folder.mkdir()
    for number in range(1, 6):
        folder.file(number).write_bytes(bytes(8192))
    sizes = segments.SegmentSizes(folder)
    first = sizes.total(5)
    assert first >= 5 * 8192 and set(sizes._known) == {folder.file(number).name for number in range(1, 5)}
    folder.file(2).write_bytes(b"")  # unseen: it is known
    assert sizes.total(5) == first
    folder.file(3).unlink()
    assert sizes.total(5) == first - folder.file(4).stat().st_blocks * 512
    sizes.forget()
    assert sizes.total(5) == sum(folder.file(number).stat().st_blocks for number in (1, 2, 4, 5)) * 512
    assert segments.SegmentSizes(segments.Segments(tmp_path / "none.db")).total(1) == 0


async def test_a_disk_that_failed_unseen_by_the_queue_manager_is_reported_at_its_next_poll(tmp_path: Path) -> None:
    """A purge, a notice, a bounce or a checkpoint may meet it first."""
    spool = open_spool(f"sqlite://{tmp_path}/queue.db")
    assert isinstance(spool, SqliteSpool) and await spool.next_due() is None
    spool._writer.fail(SpoolBroken("the disk under the spool failed"))
    with pytest.raises(SpoolBroken, match="disk under the spool"):
        await spool.next_due()
    await spool.close()
