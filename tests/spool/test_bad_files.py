"""Each file of the spool missing, empty, unreadable, garbage, a directory, or changed while it is read: at start.

No outcome loses a message that can still be read, none is an exception that nobody foresaw, and nothing is deleted.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.model import Message, State
from relay.reasons import Reason
from relay.spool.open import open_spool
from relay.spool.port import Query, SpoolBusy, SpoolError
from relay.spool.sqlite import spool_folder
from tests.support.as_user import needs_checkout_open_to_all
from tests.support.spool_messages import mail

SERVES = "opens, both messages are there"
NEW = "opens empty, what was there is kept and told"
ANEW = "opens empty, there was nothing to keep"
HELD = "opens, the messages whose octets are gone are held"
LATER = "opens, loading fails for now and says why"
REFUSED = "does not open, and says which file and what to do"

STATES = ("missing", "empty", "unreadable", "garbage", "directory")
TABLE = {
    "queue.db": (NEW, NEW, REFUSED, NEW, NEW),
    "queue.db-wal": (SERVES, SERVES, REFUSED, SERVES, REFUSED),
    "queue.db-shm": (SERVES, SERVES, REFUSED, SERVES, REFUSED),
    "queue.db.lock": (SERVES, SERVES, REFUSED, SERVES, REFUSED),
    "queue.db.segments": (HELD, REFUSED, REFUSED, REFUSED, HELD),
    "queue.db.segments/0000000001": (HELD, HELD, LATER, HELD, HELD),
    "queue.db.segments/0000000007": (SERVES, SERVES, SERVES, SERVES, SERVES),
    "queue.db.reserve": (SERVES, SERVES, SERVES, SERVES, SERVES),
    "queue.db.suspect": (SERVES, SERVES, SERVES, SERVES, REFUSED),
    "corrupt": (SERVES, SERVES, SERVES, SERVES, SERVES),
}
"""File: what follows from each of STATES. A directory where one belongs is an empty one."""

CASES = [
    pytest.param(
        name, state, outcome, id=f"{name} {state}", marks=needs_checkout_open_to_all if state == "unreadable" else ()
    )
    for name, outcomes in TABLE.items()
    for state, outcome in zip(STATES, outcomes, strict=True)
]
NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where another user may go too: root reads whatever it likes, so the tests of what is unreadable change user."""
    made = Path(tempfile.mkdtemp(prefix="relay-bad-files-"))
    made.chmod(0o755)
    yield made
    if os.getuid() == 0:
        os.seteuid(0)
    shutil.rmtree(made)


async def stored(path: Path) -> tuple[Message, Message]:
    """Two messages in a spool that was closed well."""
    spool = open_spool(f"sqlite://{path}")
    given = mail(raw=b"Subject: a\r\n\r\n" * 500), mail(raw=b"Subject: b\r\n\r\n" * 500)
    for each in given:
        await spool.store(each)
    await spool.close()
    return given


def spoil(target: Path, state: str) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    match state:
        case "empty" | "unreadable":
            target.write_bytes(b"")
        case "garbage":
            target.write_bytes(bytes(range(256)) * 64)
        case "directory":
            target.mkdir()


def become_nobody(folder: Path, target: Path) -> None:
    """All of it belongs to the daemon's user, but `target` cannot be read by anybody."""
    target.chmod(0)
    if os.getuid() == 0:
        for each in (folder, *folder.rglob("*")):
            os.chown(each, NOBODY, NOBODY)
        os.seteuid(NOBODY)


@pytest.mark.parametrize(("name", "state", "outcome"), CASES)
async def test_a_bad_file_at_start(folder: Path, name: str, state: str, outcome: str) -> None:
    path = folder / "spool" / "queue.db"
    given = await stored(path)
    target = path.parent / name
    if state == "unreadable":
        if not target.exists():
            target.write_bytes(b"")
        become_nobody(folder, target)
    else:
        spoil(target, state)
    url = f"sqlite://{path}"
    if outcome == REFUSED:
        with pytest.raises(SpoolError) as refused:
            open_spool(url)
        said = str(refused.value)
        assert target.name in said and "Fix: " in said
        return
    spool = open_spool(url)
    notices: tuple[str, ...] = getattr(spool, "notices", ())
    found = {each.queue_id for each in await spool.find(Query())}
    assert found == (set() if outcome in (NEW, ANEW) else {each.queue_id for each in given})
    assert bool(notices) == (outcome == NEW)
    assert bool(notices) == any((path.parent / "corrupt").glob("queue.db.*"))
    for each in given:
        if outcome == SERVES:
            assert await spool.load(each.queue_id) == each
        elif outcome == HELD:
            assert await spool.load(each.queue_id) is None
        elif outcome == LATER:
            with pytest.raises(SpoolError, match="cannot be read"):
                await spool.load(each.queue_id)
    states = {(each.state, each.reason) for each in await spool.find(Query())}
    assert states == {
        SERVES: {(State.QUEUED, None)},
        LATER: {(State.QUEUED, None)},
        HELD: {(State.HELD, Reason.MALFORMED_MAIL)},
    }.get(outcome, set())
    new = mail()
    assert (await spool.store(new)).queue_id == new.queue_id and await spool.load(new.queue_id) == new
    await spool.close()


async def test_a_segment_that_changes_while_the_daemon_runs_holds_its_messages(folder: Path) -> None:
    path = folder / "spool" / "queue.db"
    given = await stored(path)
    spool = open_spool(f"sqlite://{path}")
    assert await spool.load(given[0].queue_id) == given[0]
    segment = path.parent / "queue.db.segments" / "0000000001"
    segment.write_bytes(segment.read_bytes().replace(b"Subject: a", b"Subject: x"))
    assert await spool.load(given[0].queue_id) is None
    assert await spool.load(given[1].queue_id) == given[1]
    await spool.close()


def test_a_lock_that_is_replaced_while_it_is_taken_is_taken_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of a file that nobody finds under its name any more keeps no second daemon away."""
    path, real, replaced = folder / "queue.db.lock", spool_folder.fcntl.flock, []

    def flock(fd: int, how: int) -> None:
        if not replaced:
            path.unlink()
            path.write_bytes(b"")
            replaced.append(fd)
        real(fd, how)

    monkeypatch.setattr(spool_folder.fcntl, "flock", flock)
    lock = spool_folder.Lock(path)
    with pytest.raises(SpoolBusy, match=f"used by pid {os.getpid()}"):
        spool_folder.Lock(path)
    lock.release()
    spool_folder.Lock(path).release()


@pytest.mark.parametrize("content", [b"", b"\xff\x00garbage\n", b"12\n34", b" 0x10"])
def test_a_garbled_pid_of_a_lock_in_use_is_not_repeated(folder: Path, content: bytes) -> None:
    path = folder / "queue.db.lock"
    lock = spool_folder.Lock(path)
    path.write_bytes(content)
    with pytest.raises(SpoolBusy, match="used by pid unknown"):
        spool_folder.Lock(path)
    lock.release()
