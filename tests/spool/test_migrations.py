"""Databases of older releases, made by their own SQL, opened, restored and salvaged by this one."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from relay import serialization
from relay.mime.fingerprint import content_digest
from relay.model import State
from relay.reasons import Reason
from relay.spool.open import open_spool
from relay.spool.port import SpoolError
from relay.spool.sqlite import database, spool_folder
from relay.spool.sqlite.backup import restore
from relay.spool.sqlite.engine import SqliteSpool
from relay.spool.sqlite.integrity import salvage
from tests.support.spool_messages import mail

EVENTS_OF_SCHEMA_4 = {
    "accepted": "accepted",
    "uncertain": "outcome_unknown",
    "unsettled": "attempt_unconfirmed",
    "late": "delayed",
    "refused": "rejected",
    "report_sent": "notification_queued",
    "mail_corrupt": "message_corrupt",
    "check_busy": "checker_overloaded",
    "fault": "internal_error",
    "held": "held",
}
"""Names of events in a history of schema 4, and what they are called since."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "queue.db"


def opened(path: Path) -> SqliteSpool:
    spool = open_spool(f"sqlite://{path}")
    assert isinstance(spool, SqliteSpool)
    return spool


def make_database(path: Path, version: int) -> sqlite3.Connection:
    """A database as the release with this schema made it: by the statements up to that version."""
    path.parent.mkdir()
    db = sqlite3.connect(path, isolation_level=None)
    for number, script in sorted(database.migrations()):
        if number <= version:
            db.executescript(script)
    db.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {version}")
    return db


def make_schema_4(path: Path) -> str:
    """A database of schema 4 with one held message, each old name of an event in its history; the queue id."""
    message = mail(raw=b"Subject: x\r\n\r\nbody\r\n")
    stored = (message.queue_id, 1.0, "<m>", message.fingerprint, len(message.raw), content_digest(message.raw))
    plans = (serialization.dump(message.envelope), serialization.dump(message.plans))
    with closing(make_database(path, 4)) as db:
        db.execute(
            "INSERT INTO mails (id, queue_id, arrived, message_id, fingerprint, hold_duplicates, generated, size,"
            " sha256, envelope, plans) VALUES (1, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?)",
            (*stored, *plans),
        )
        db.execute("INSERT INTO content (mail, raw) VALUES (1, ?)", (message.raw,))
        db.execute(
            "INSERT INTO deliveries (mail, queue_id, number, plan, recipient, state, arrived, changed, attempts,"
            " unsettled, last_reply, reason, detail, size, destination, smarthost, reported, generated)"
            " VALUES (1, ?, 1, 0, 'a@agiris.example', 'held', 1, 1, 1, 3, '', 'unsettled', '3', 9, 'agiris', 'default',"
            " '', 0)",
            (message.queue_id,),
        )
        db.executemany(
            "INSERT INTO history (mail, number, at, what, text, by) VALUES (1, 1, 1, ?, ?, '')",
            [(name, name) for name in EVENTS_OF_SCHEMA_4],
        )
    return message.queue_id


def schema(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def events_of(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [what for (what,) in db.execute("SELECT what FROM history WHERE mail = 1 ORDER BY id")]


async def test_a_spool_of_schema_1_serves_once_opened(path: Path) -> None:
    make_database(path, 1).close()
    spool, given = opened(path), mail(at=1.0)
    await spool.store(given)
    assert await spool.next_due() == 1.0
    assert [each.delivery.queue_id for each in await spool.claim(2.0, 60, 1)] == [given.queue_id]
    await spool.close()


async def test_events_of_a_history_are_renamed_when_a_spool_of_schema_4_is_opened(path: Path) -> None:
    queue_id = make_schema_4(path)
    spool = opened(path)
    record = await spool.show(queue_id)
    assert record is not None
    assert [each.what for each in record.history] == [*EVENTS_OF_SCHEMA_4.values()]
    assert [each.text for each in record.history] == [*EVENTS_OF_SCHEMA_4]
    [delivery] = record.deliveries
    assert (delivery.state, delivery.reason) == (State.HELD, Reason.UNSETTLED)
    await spool.close()
    assert schema(path) == max(number for number, _ in database.migrations())


async def test_a_spool_of_schema_4_is_not_migrated_beside_its_daemon(path: Path) -> None:
    make_schema_4(path)
    lock = spool_folder.Lock(path.with_name(f"{path.name}.lock"))
    with pytest.raises(SpoolError, match="restart the daemon with this release"):
        open_spool(f"sqlite://{path}", exclusive=False)
    assert (schema(path), events_of(path)) == (4, [*EVENTS_OF_SCHEMA_4])
    lock.release()


async def test_events_of_a_history_are_renamed_when_a_backup_of_schema_4_is_restored(
    path: Path, tmp_path: Path
) -> None:
    source = tmp_path / "old" / "backup.db"
    make_schema_4(source)
    restore(source, path, 5.0, "root")
    assert events_of(path) == [*EVENTS_OF_SCHEMA_4.values()]


async def test_events_of_a_history_are_renamed_when_a_damaged_spool_of_schema_4_is_salvaged(
    path: Path, tmp_path: Path
) -> None:
    source = tmp_path / "old" / "damaged.db"
    make_schema_4(source)
    await opened(path).close()
    assert salvage(source, path, 5.0).messages == 1
    assert events_of(path) == [*EVENTS_OF_SCHEMA_4.values()]
