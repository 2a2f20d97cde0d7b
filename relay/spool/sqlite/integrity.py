# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""Is a spool sound? And what can still be read of a damaged one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from relay.mime.fingerprint import is_intact
from relay.spool.delivery_rules import NewDelivery, hold_unreadable, new_deliveries
from relay.spool.sqlite import rows
from relay.spool.sqlite.backup import Progress, integrity, open_sound
from relay.spool.sqlite.database import EVENT_NAMES, connect, migrations, spool_error
from relay.spool.sqlite.raw_messages import get, has_segments
from relay.spool.sqlite.rows import insert_deliveries
from relay.spool.sqlite.segments import Segments
from relay.spool.sqlite.spool_folder import make_private, sync_folder


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """schema: version of the file. deliveries: number by state. faults: what is wrong, a sentence each."""

    schema: int
    messages: int = 0
    deliveries: dict[str, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def verify(path: Path, progress: Progress = lambda _: None) -> VerifyResult:
    """Read all of the spool at `path`, whether or not a daemon runs; changes nothing.

    Raises SpoolError when it is no spool of this relay or a newer one's, and when it cannot be opened.
    """
    try:
        with closing(open_sound(path)) as db:
            db.execute("BEGIN")  # one state of it, whatever the daemon commits meanwhile
            (schema,) = db.execute("PRAGMA user_version").fetchone()
            if faults := integrity(db):
                return VerifyResult(schema, faults=tuple(faults))
            (messages,) = db.execute("SELECT COUNT(*) FROM mails").fetchone()
            states = dict(db.execute("SELECT state, COUNT(*) FROM deliveries GROUP BY state ORDER BY state"))
            return VerifyResult(schema, messages, states, tuple(_faults(db, path, messages, progress)))
    except sqlite3.Error as error:
        raise spool_error(error) from error


def _faults(db: sqlite3.Connection, path: Path, messages: int, progress: Progress) -> Iterator[str]:
    segments, older = Segments(path), not has_segments(db)
    for done, (number, queue_id) in enumerate(db.execute("SELECT id, queue_id FROM mails ORDER BY id"), 1):
        raw = get(db, segments, queue_id, older=older)
        try:
            found = rows.read_message(db, queue_id, None)
            rows.deliveries(db, "mail = ?", number)
        except ValueError:
            yield f"message {queue_id}: its envelope, plans or deliveries cannot be read"
            continue
        if found is not None and (raw is None or not is_intact(raw, found[1])) and _still_stored(path, queue_id):
            yield f"message {queue_id}: its octets are not those that were accepted"
        progress(done / messages)


def _still_stored(path: Path, queue_id: str) -> bool:
    """Whether the message is there at this moment: the daemon may have purged it since."""
    with closing(open_sound(path)) as db:
        return db.execute("SELECT 1 FROM mails WHERE queue_id = ?", (queue_id,)).fetchone() is not None


_KEYS = {
    "mails": "id",
    "content": "mail",
    "deliveries": "mail, number",
    "history": "id",
    "operator_actions": "id",
    "terms": "term, mail, plan",
    "fingerprints": "fingerprint",
    "documents": "digest, queue_id, number",
    "secrets": "name",
}


@dataclass(frozen=True, slots=True)
class SalvageResult:
    """messages: that are in the new database. held: of them, those whose deliveries were lost."""

    messages: int = 0
    held: int = 0


def salvage(damaged: Path, path: Path, now: float) -> SalvageResult:
    """Copy what can be read of `damaged` into the new, empty spool at `path`, in one transaction."""
    # Read-only, or closing it would copy its log back into the evidence.
    old = sqlite3.connect(f"file:{quote(str(damaged))}?mode=ro", uri=True, isolation_level=None)
    new = connect(path)
    try:
        new.execute("BEGIN IMMEDIATE")
        # The return paths of before are to be understood, if their secret can still be read.
        made = new.execute("SELECT name, value FROM secrets").fetchall()
        new.execute("DELETE FROM secrets")
        for table, key in _KEYS.items():
            _copy(old, new, table, key)
        new.execute(dict(migrations())[EVENT_NAMES])  # the damaged one may be an older relay's
        new.executemany("INSERT OR IGNORE INTO secrets (name, value) VALUES (?, ?)", made)
        new.execute("DELETE FROM deliveries WHERE mail NOT IN (SELECT id FROM mails)")
        held = sum(_hold_salvaged(new, number, queue_id, now) for number, queue_id in _without_deliveries(new))
        (messages,) = new.execute("SELECT COUNT(*) FROM mails").fetchone()
        # Before the commit: a segment without a row is rubbish, a row without its segment a message set aside.
        _keep_segments(new, Segments(damaged), Segments(path))
        new.execute("COMMIT")
        return SalvageResult(messages, held)
    finally:
        old.close()
        new.close()


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str, key: str) -> None:
    """From both ends, for a damaged page ends a walk."""
    columns = _columns(old, new, table)
    if not columns:
        return
    insert = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    backwards = ", ".join(f"{each} DESC" for each in key.split(", "))
    for order in (key, backwards):
        if _walk(old, new, f"SELECT {', '.join(columns)} FROM {table} NOT INDEXED ORDER BY {order}", insert):
            return


def _columns(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> list[str]:
    """Those that both have, for the damaged one may be an older relay's; none when its schema cannot be read."""
    every = [row[1] for row in new.execute(f"PRAGMA table_info({table})")]
    try:
        known = {row[1] for row in old.execute(f"PRAGMA table_info({table})")}
    except sqlite3.DatabaseError:
        return []
    return [each for each in every if each in known]


def _keep_segments(new: sqlite3.Connection, kept: Segments, segments: Segments) -> None:
    """Give the segments that messages are in a second name in the new spool: the first is evidence, and stays whole."""
    there = set(kept.numbers())
    needed = {row[0] for row in new.execute("SELECT DISTINCT segment FROM mails WHERE segment IS NOT NULL")}
    make_private(segments.folder)
    for number in needed & there:
        try:
            segments.file(number).hardlink_to(kept.file(number))
        except OSError:  # a file system without links: the messages come before the evidence
            kept.file(number).rename(segments.file(number))
    sync_folder(segments.folder)


def _walk(old: sqlite3.Connection, new: sqlite3.Connection, select: str, insert: str) -> bool:
    """Whether the walk came to its end."""
    found = _readable(old, select)
    while (row := next(found, None)) is not None:
        if isinstance(row, sqlite3.DatabaseError):
            return False
        try:
            new.execute(insert, row)
        except sqlite3.IntegrityError:
            continue  # garbage in a readable page
    return True


def _readable(old: sqlite3.Connection, select: str) -> Iterator[tuple[Any, ...] | sqlite3.DatabaseError]:
    try:
        yield from old.execute(select)
    except sqlite3.DatabaseError as error:
        yield error


def _without_deliveries(new: sqlite3.Connection) -> list[tuple[int, str]]:
    return new.execute(
        "SELECT id, queue_id FROM mails WHERE id NOT IN (SELECT mail FROM deliveries) ORDER BY id"
    ).fetchall()


def _hold_salvaged(new: sqlite3.Connection, number: int, queue_id: str, now: float) -> bool:
    try:
        found = rows.read_message(new, queue_id, None)
    except ValueError:
        found = None
    if found is None:
        return False
    for each in new_deliveries(found[0], enumerate(found[0].plans), 1, now):
        held = hold_unreadable(each.delivery)
        if held is not None:
            insert_deliveries(new, [(number, now, NewDelivery(held, each.digests), None)])
    return True
