# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""What waits, destination by destination: when the next is due, and which a claim takes.

Always by the index of one destination: however long the queue of one that is full, it is never looked through.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping
from json import dumps

from relay.lifecycle import MAX_UNSETTLED, latest
from relay.model import Delivery
from relay.spool import rows
from relay.spool.entry import newest_share

_DESTINATIONS = """
    WITH RECURSIVE waiting (name) AS (
        SELECT MIN(destination) FROM deliveries WHERE due IS NOT NULL
        UNION ALL
        SELECT (SELECT MIN(destination) FROM deliveries WHERE due IS NOT NULL AND destination > waiting.name)
        FROM waiting WHERE name IS NOT NULL)
    SELECT name, (SELECT MIN(due) FROM deliveries INDEXED BY deliveries_due
        WHERE destination = name AND due IS NOT NULL AND state <> 'active')
    FROM waiting WHERE name IS NOT NULL
"""
_STRAYED = "destination = ? AND due > ? AND state IN ('queued', 'deferred')"
_OLDEST = (
    "SELECT due, mail, number FROM deliveries INDEXED BY deliveries_due WHERE destination = ? AND due <= ?"
    " AND state <> 'active' ORDER BY due, mail, number LIMIT ?"
)
_UNCONFIRMED = (
    "SELECT unsettled, due, mail, number FROM deliveries INDEXED BY deliveries_due WHERE destination = ? AND due <= ?"
    " AND state = 'active' AND unsettled < ? ORDER BY unsettled, due, mail, number LIMIT ?"
)
_BEGUN_TOO_OFTEN = (
    "SELECT mail, number FROM deliveries INDEXED BY deliveries_by_state WHERE state = 'active' AND due <= ?"
    " AND unsettled >= ?"
)
_NEWEST = (
    "SELECT arrived, mail, number FROM deliveries INDEXED BY deliveries_by_state WHERE state = 'queued'"
    " AND destination = ? AND due <= ? ORDER BY arrived DESC, mail DESC, number DESC LIMIT ?"
)

_CHOSEN = (
    f"SELECT mail, {rows.DELIVERY} FROM json_each(?) AS chosen CROSS JOIN deliveries"
    " WHERE mail = json_extract(value, '$[0]') AND number = json_extract(value, '$[1]') ORDER BY chosen.key"
)

_Place = tuple[int, int]
"""mails.id and number of a delivery."""


def due(db: sqlite3.Connection, now: float, ceiling: float, full: Collection[str]) -> float | None:
    """When the next delivery is due for a destination not in `full`; `now` when one stands further ahead than it can,
    for a claim to bring it back."""
    times = []
    for name, first in _destinations(db):
        if name not in full and first is not None:
            times.append(min(now, first) if _strayed(db, name, now, ceiling) else first)
    return min(times, default=None)


def bring_back(db: sqlite3.Connection, now: float, ceiling: float) -> None:
    """What a clock set back has carried away is due at `now + ceiling`."""
    for name, _ in _destinations(db):
        db.execute(
            f"UPDATE deliveries INDEXED BY deliveries_due SET due = ? WHERE {_STRAYED}",
            (now + ceiling, name, latest(now, ceiling)),
        )


def choose(
    db: sqlite3.Connection, now: float, limit: int, room: Mapping[str, int], turn: int
) -> list[tuple[int, Delivery]]:
    """Up to `limit` due deliveries, each with its mail's number: oldest due first, then those that go to the newest
    arrivals; of no destination more than its `room` (of one not named there, `limit`)."""
    waits = [name for name, first in _destinations(db) if first is not None and first <= now]
    open_ = {name: min(limit, room.get(name, limit)) for name in waits}
    newest, taken = _newest(db, now, newest_share(turn, limit), open_)
    oldest: list[tuple[float, int, int]] = []
    for name, most in open_.items():
        found = db.execute(_OLDEST, (name, now, max(0, most))).fetchall()
        oldest += [row for row in found if row[1:] not in newest][: max(0, most - taken[name])]
    return _deliveries(db, [(mail, number) for _, mail, number in sorted(oldest)[: limit - len(newest)]] + newest)


def choose_unconfirmed(
    db: sqlite3.Connection, now: float, limit: int, room: Mapping[str, int]
) -> list[tuple[int, Delivery]]:
    """Up to `limit` deliveries with an expired lease, the least often begun first, within `room` as in `choose`; and
    all that were begun too often, to be held."""
    found: list[tuple[int, float, int, int]] = []
    for name, _ in _destinations(db):
        most = max(0, min(limit, room.get(name, limit)))
        found += db.execute(_UNCONFIRMED, (name, now, MAX_UNSETTLED, most)).fetchall()
    held = db.execute(_BEGUN_TOO_OFTEN, (now, MAX_UNSETTLED)).fetchall()
    return _deliveries(db, [(mail, number) for *_, mail, number in sorted(found)[:limit]] + held)


def _deliveries(db: sqlite3.Connection, chosen: list[_Place]) -> list[tuple[int, Delivery]]:
    return [(mail, rows.delivery(each)) for mail, *each in db.execute(_CHOSEN, (dumps(chosen),))]


def _newest(
    db: sqlite3.Connection, now: float, share: int, open_: Mapping[str, int]
) -> tuple[list[_Place], Counter[str]]:
    """The newest arrivals never attempted, newest first, and how many of each destination."""
    found = [
        (*row, name)
        for name, most in open_.items()
        for row in db.execute(_NEWEST, (name, now, max(0, min(share, most))))
    ]
    chosen = sorted(found, reverse=True)[:share]
    return [(mail, number) for _, mail, number, _ in chosen], Counter(name for *_, name in chosen)


def _destinations(db: sqlite3.Connection) -> list[tuple[str, float | None]]:
    """Each destination something waits for or is claimed for, and when the first that waits is due."""
    return db.execute(_DESTINATIONS).fetchall()


def _strayed(db: sqlite3.Connection, destination: str, now: float, ceiling: float) -> bool:
    found = db.execute(
        f"SELECT 1 FROM deliveries INDEXED BY deliveries_due WHERE {_STRAYED} LIMIT 1",
        (destination, latest(now, ceiling)),
    )
    return found.fetchone() is not None
