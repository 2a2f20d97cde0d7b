# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""The reading verbs on one connection: what is there, and how much of it."""

import json
import sqlite3

from relay.model import Delivery, Plan, State
from relay.spool import rows
from relay.spool.entry import WHOLE_MAIL, bare
from relay.spool.port import Query, Stats

_TERM = (
    "(queue_id = ? OR dossier = ? OR EXISTS (SELECT 1 FROM terms WHERE terms.mail = deliveries.mail"
    f" AND term = ? AND terms.plan IN ({WHOLE_MAIL}, deliveries.plan)))"
)


def find(db: sqlite3.Connection, query: Query) -> tuple[Delivery, ...]:
    """Deliveries that match all conditions of `query`, oldest arrival first."""
    conditions, values = _conditions(query)
    order = ", ".join(f"{each} DESC" if query.newest else each for each in ("arrived", "queue_id", "number"))
    found = rows.deliveries(db, f"{conditions} ORDER BY {order} LIMIT ?", *values, query.limit)
    return tuple(reversed(found) if query.newest else found)


def count(db: sqlite3.Connection, query: Query) -> int:
    """How many deliveries match all conditions of `query`."""
    conditions, values = _conditions(query)
    (found,) = db.execute(f"SELECT COUNT(*) FROM deliveries WHERE {conditions}", values).fetchone()
    return int(found)


def _conditions(query: Query) -> tuple[str, list[str | bool]]:
    """The condition of a statement, and the values bound to it."""
    conditions: list[str] = ["1"]
    values: list[str | bool] = []
    if query.states:
        conditions.append(f"state IN ({', '.join('?' * len(query.states))})")
        values += [str(state) for state in query.states]
    for column, value in (("dossier", query.dossier), ("firm", query.firm)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if query.queue_id is not None:
        conditions.append(rows.OF_MAIL)
        values.append(query.queue_id)
    if query.unreported is not None:
        conditions.append("' ' || reported || ' ' NOT LIKE ?")
        values.append(f"% {query.unreported} %")
    if query.reported is not None:
        conditions.append("' ' || reported || ' ' LIKE ?")
        values.append(f"% {query.reported} %")
    if query.firms is not None:
        conditions.append("firm IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(sorted(query.firms)))
    if query.other_firms is not None:
        conditions.append("firm IS NOT NULL AND firm NOT IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(sorted(query.other_firms)))
    if query.no_firm:
        conditions.append("firm IS NULL")
    if query.term is not None:
        term = bare(query.term)
        conditions.append(f"mail IN ({_MAILS_OF_TERM}) AND {_TERM}")
        values += [term, term, term, term, term, term]
    if query.generated is not None:
        conditions.append("generated = ?")
        values.append(query.generated)
    return " AND ".join(conditions), values


_MAILS_OF_TERM = (
    "SELECT mail FROM terms WHERE term = ? UNION SELECT id FROM mails WHERE queue_id = ?"
    " UNION SELECT mail FROM deliveries WHERE dossier = ?"
)


def stats(db: sqlite3.Connection, octets: int, free: int | None, corrupt: int) -> Stats:
    """Figures, from the index alone."""
    by_state = {
        State(name): count for name, count in db.execute("SELECT state, COUNT(*) FROM deliveries GROUP BY state")
    }
    held = db.execute(
        "SELECT COALESCE(reason, ''), COUNT(*) FROM deliveries WHERE state IN ('held', 'withheld') GROUP BY reason"
    )
    oldest = [
        db.execute("SELECT MIN(arrived) FROM deliveries WHERE state = ?", (state,)).fetchone()[0]
        for state in ("queued", "active", "deferred")
    ]
    first = min((each for each in oldest if each is not None), default=None)
    return Stats(by_state, dict(held.fetchall()), first, octets, free, corrupt)


def arrived(
    db: sqlite3.Connection, since: float, until: float, after: int, limit: int = 500
) -> list[tuple[int, tuple[Plan, ...], list[Delivery]]]:
    """Number, plans and deliveries of up to `limit` mails of the period, from the one after number `after` on.

    Plans that cannot be read are left out: a damaged mail is told of when it is attempted.
    """
    found = db.execute(
        "SELECT id, plans FROM mails WHERE id > ? AND arrived >= ? AND arrived < ? AND NOT generated"
        " ORDER BY id LIMIT ?",
        (after, since, until, limit),
    ).fetchall()
    return [(number, _plans(data), rows.deliveries(db, "mail = ?", number)) for number, data in found]


def held(db: sqlite3.Connection) -> list[tuple[str | None, str, int]]:
    """Firm, reason and number of what is held now."""
    return db.execute(
        "SELECT firm, COALESCE(reason, ''), COUNT(*) FROM deliveries WHERE state = 'held' AND NOT generated"
        " GROUP BY firm, reason"
    ).fetchall()


def _plans(data: bytes) -> tuple[Plan, ...]:
    try:
        return rows.read_plans(data)
    except ValueError:
        return ()
