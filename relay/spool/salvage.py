# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""What can still be read of a damaged database goes over to the new one; the damaged file stays as it is.

A mail whose deliveries cannot be read is held: nobody knows whether it left. A mail whose octets cannot be read is
found out by its digest when it is attempted.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from relay.spool import rows
from relay.spool.database import connect
from relay.spool.entry import Planted, plant, set_aside

_KEYS = {
    "mails": "id",
    "content": "mail",
    "deliveries": "mail, number",
    "history": "id",
    "terms": "term, mail, plan",
    "fingerprints": "fingerprint",
    "documents": "digest, queue_id, number",
}


@dataclass(frozen=True, slots=True)
class Salvaged:
    """mails: that are in the new database. held: of them, those whose deliveries were lost."""

    mails: int = 0
    held: int = 0


def salvage(damaged: Path, path: Path, now: float) -> Salvaged:
    """Copy what can be read of `damaged` into the new, empty spool at `path`, in one transaction."""
    # Read-only, or closing it would copy its log back into the evidence.
    old = sqlite3.connect(f"file:{quote(str(damaged))}?mode=ro", uri=True, isolation_level=None)
    new = connect(path)
    try:
        new.execute("BEGIN IMMEDIATE")
        for table, key in _KEYS.items():
            _copy(old, new, table, key)
        new.execute("DELETE FROM deliveries WHERE mail NOT IN (SELECT id FROM mails)")
        held = sum(_hold(new, number, queue_id, now) for number, queue_id in _without_deliveries(new))
        (mails,) = new.execute("SELECT COUNT(*) FROM mails").fetchone()
        new.execute("COMMIT")
        return Salvaged(mails, held)
    finally:
        old.close()
        new.close()


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str, key: str) -> None:
    """From both ends, for a damaged page ends a walk."""
    columns = [row[1] for row in new.execute(f"PRAGMA table_info({table})")]
    insert = f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(columns))})"
    backwards = ", ".join(f"{each} DESC" for each in key.split(", "))
    for order in (key, backwards):
        if _walk(old, new, f"SELECT {', '.join(columns)} FROM {table} NOT INDEXED ORDER BY {order}", insert):
            return


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


def _hold(new: sqlite3.Connection, number: int, queue_id: str, now: float) -> bool:
    try:
        found = rows.read_mail(new, queue_id, None)
    except ValueError:
        found = None
    if found is None:
        return False
    for each in plant(found[0], enumerate(found[0].plans), 1, now, lambda _: None):
        held = set_aside(each.delivery)
        if held is not None:
            rows.insert_delivery(new, number, Planted(held, each.digests), now)
    return True
