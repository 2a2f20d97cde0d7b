# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""The writing operations as transactions on one connection; what is due, destination by destination."""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from json import dumps
from typing import NamedTuple

from relay import serialization
from relay.lifecycle import (
    MAX_UNCONFIRMED_ATTEMPTS,
    Transition,
    after_action,
    after_attempt_start,
    after_bounce,
    after_claim,
    after_settlement,
    latest_next_attempt,
)
from relay.model import Claim, Delivery, HistoryEntry, Message, OperatorAction, Plan, State
from relay.spool.delivery_rules import ACTION_EVENTS, KEPT_BY_REPLAN, new_token, newest_share, not_yet_sent
from relay.spool.sqlite import rows
from relay.spool.sqlite.insert import DeliveriesToAdd, Incoming, Inserter

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
"""messages.id and number of a delivery."""


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
            (now + ceiling, name, latest_next_attempt(now, ceiling)),
        )


def select_due(
    db: sqlite3.Connection, now: float, limit: int, room: Mapping[str, int], turn: int
) -> list[tuple[int, Delivery]]:
    """Up to `limit` due deliveries, each with its message's number: oldest due first, then those that go to the newest
    arrivals; of no destination more than its `room` (of one not named there, `limit`)."""
    waits = [name for name, first in _destinations(db) if first is not None and first <= now]
    open_ = {name: min(limit, room.get(name, limit)) for name in waits}
    newest, newest_count = _newest(db, now, newest_share(turn, limit), open_)
    oldest: list[tuple[float, int, int]] = []
    for name, most in open_.items():
        found = db.execute(_OLDEST, (name, now, max(0, most))).fetchall()
        oldest += [row for row in found if row[1:] not in newest][: max(0, most - newest_count[name])]
    return _deliveries(db, [(message, number) for _, message, number in sorted(oldest)[: limit - len(newest)]] + newest)


def select_unconfirmed(
    db: sqlite3.Connection, now: float, limit: int, room: Mapping[str, int]
) -> list[tuple[int, Delivery]]:
    """Up to `limit` deliveries with an expired lease, the least often begun first, within `room` (see `select_due`);
    and all that were begun too often, to be held."""
    found: list[tuple[int, float, int, int]] = []
    for name, _ in _destinations(db):
        most = max(0, min(limit, room.get(name, limit)))
        found += db.execute(_UNCONFIRMED, (name, now, MAX_UNCONFIRMED_ATTEMPTS, most)).fetchall()
    held = db.execute(_BEGUN_TOO_OFTEN, (now, MAX_UNCONFIRMED_ATTEMPTS)).fetchall()
    return _deliveries(db, [(message, number) for *_, message, number in sorted(found)[:limit]] + held)


def _deliveries(db: sqlite3.Connection, chosen: list[_Place]) -> list[tuple[int, Delivery]]:
    return [(message, rows.delivery(each)) for message, *each in db.execute(_CHOSEN, (dumps(chosen),))]


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
    return [(message, number) for _, message, number, _ in chosen], Counter(name for *_, name in chosen)


def _destinations(db: sqlite3.Connection) -> list[tuple[str, float | None]]:
    """Each destination something waits for or is claimed for, and when the first that waits is due."""
    return db.execute(_DESTINATIONS).fetchall()


def _strayed(db: sqlite3.Connection, destination: str, now: float, ceiling: float) -> bool:
    found = db.execute(
        f"SELECT 1 FROM deliveries INDEXED BY deliveries_due WHERE {_STRAYED} LIMIT 1",
        (destination, latest_next_attempt(now, ceiling)),
    )
    return found.fetchone() is not None


class Settlement(NamedTuple):
    """How an attempt ended. now: seconds since the epoch. Else as in `Spool.settle`."""

    claim: Claim
    transition: Transition
    follow_ups: Sequence[Message]
    now: float


@dataclass(frozen=True, slots=True)
class Transactions:
    """What changes the spool. Every method runs inside a transaction of the caller and touches only `db`, and what
    stores a message the segments, which are made durable before it is committed."""

    inserter: Inserter

    def settle(self, db: sqlite3.Connection, settlements: Sequence[Settlement]) -> list[bool]:
        """As `Spool.settle`, each in its turn."""
        results = [_settle(db, each) for each in settlements]
        held = [each for each, holds in zip(settlements, results, strict=True) if holds]
        rows.insert_history(db, [(each.claim.delivery.queue_id, _ended(each)) for each in held])
        self.inserter.store(db, (Incoming(message, each.now) for each in held for message in each.follow_ups))
        return results

    def claim(
        self,
        db: sqlite3.Connection,
        now: float,
        lease: float,
        limit: int,
        room: Mapping[str, int],
        turn: int,
        ceiling: float,
    ) -> tuple[Claim, ...]:
        bring_back(db, now, ceiling)
        return self._claim(db, now, lease, select_due(db, now, limit, room, turn))

    def claim_unconfirmed(
        self, db: sqlite3.Connection, now: float, lease: float, limit: int, room: Mapping[str, int]
    ) -> tuple[Claim, ...]:
        return self._claim(db, now, lease, select_unconfirmed(db, now, limit, room))

    def _claim(
        self, db: sqlite3.Connection, now: float, lease: float, chosen: Iterable[tuple[int, Delivery]]
    ) -> tuple[Claim, ...]:
        found = ((message, _claim(db, each, now, lease)) for message, each in chosen)
        claims = [(message, claim) for message, claim in found if claim is not None]
        rows.update_claimed(db, claims, now, now + lease)
        return tuple(claim for _, claim in claims)

    def record_bounce(
        self, db: sqlite3.Connection, queue_id: str, number: int, text: str, now: float, failed: bool
    ) -> bool:
        for each in rows.deliveries(db, f"{rows.OF_MESSAGE} AND number = ?", queue_id, number):
            # Writing an active one anew would take the claim from the attempt that is under way.
            if failed and (after := after_bounce(each, text)) != each:
                rows.update_delivery(db, after, now)
            rows.insert_events(db, queue_id, [HistoryEntry(now, number, "bounce_received", text)])
            return True
        return False

    def store_notifications(
        self, db: sqlite3.Connection, about: Iterable[tuple[Delivery, str]], messages: Iterable[Message], now: float
    ) -> None:
        for each, kind in about:
            for found in rows.deliveries(db, f"{rows.OF_MESSAGE} AND number = ?", each.queue_id, each.number):
                db.execute(
                    f"UPDATE deliveries SET reported = ? WHERE {rows.OF_MESSAGE} AND number = ?",
                    (rows.kinds(found.reported | {kind}), each.queue_id, each.number),
                )
                rows.insert_events(db, each.queue_id, [HistoryEntry(now, each.number, "notification_queued", kind)])
        self.inserter.store(db, (Incoming(message, now) for message in messages))

    def apply_action(
        self, db: sqlite3.Connection, queue_id: str, number: int | None, action: OperatorAction, now: float
    ) -> tuple[Delivery, ...]:
        changed = []
        for each in rows.deliveries(db, f"{rows.OF_MESSAGE} ORDER BY number", queue_id):
            if number in (None, each.number) and (after := after_action(each, action, now)) is not None:
                rows.update_delivery(db, after, now)
                event = HistoryEntry(now, each.number, ACTION_EVENTS[action.verb], action.text, action.by)
                rows.insert_events(db, queue_id, [event])
                changed.append(after)
        return tuple(changed)

    def replan(
        self, db: sqlite3.Connection, queue_id: str, plans: Sequence[Plan], action: OperatorAction, now: float
    ) -> tuple[Delivery, ...]:
        known = rows.read_message(db, queue_id, self.inserter.content.get(db, queue_id))
        if known is None or not plans:
            return ()
        message, every = known[0], rows.deliveries(db, rows.OF_MESSAGE, queue_id)
        before = len(message.plans)
        fresh = tuple(not_yet_sent(plans, message.plans, (each for each in every if each.state in KEPT_BY_REPLAN)))
        for each in every:
            if each.state not in KEPT_BY_REPLAN:
                db.execute(f"DELETE FROM deliveries WHERE {rows.OF_MESSAGE} AND number = ?", (queue_id, each.number))
                db.execute("DELETE FROM documents WHERE queue_id = ? AND number = ?", (queue_id, each.number))
        message = replace(message, plans=message.plans + fresh, plans_json=b"")
        (number,) = db.execute("SELECT id FROM mails WHERE queue_id = ?", (queue_id,)).fetchone()
        db.execute("UPDATE mails SET plans = ? WHERE id = ?", (serialization.dump(message.plans), number))
        rows.insert_events(db, queue_id, [HistoryEntry(now, 0, "replanned", action.text, action.by)])
        first = max((each.number for each in every), default=0) + 1
        [added] = self.inserter.add_deliveries(
            db, [DeliveriesToAdd(number, message, tuple(enumerate(fresh, before)), first, now, now)]
        )
        return tuple(each.delivery for each, _ in added)


def _settle(db: sqlite3.Connection, each: Settlement) -> bool:
    after = after_settlement(each.claim.delivery, each.transition)
    return rows.update_settled(db, each.claim.token, after, each.transition.report or "", each.now)


def _ended(each: Settlement) -> HistoryEntry:
    return HistoryEntry(each.now, each.claim.delivery.number, each.transition.event, each.transition.reply)


def held_by(db: sqlite3.Connection, claim: Claim) -> Delivery | None:
    """The active delivery that `claim` still has the right to, or None."""
    found = rows.deliveries(
        db,
        f"{rows.OF_MESSAGE} AND number = ? AND token = ? AND state = 'active'",
        *(claim.delivery.queue_id, claim.delivery.number, claim.token),
    )
    return found[0] if found else None


def begin(db: sqlite3.Connection, claim: Claim) -> bool:
    held = held_by(db, claim)
    if held is not None:
        db.execute(
            f"UPDATE deliveries SET unsettled = ? WHERE {rows.OF_MESSAGE} AND number = ?",
            (after_attempt_start(held).unconfirmed_attempts, held.queue_id, held.number),
        )
    return held is not None


def renew(db: sqlite3.Connection, claim: Claim, lease: float) -> bool:
    held = held_by(db, claim)
    if held is not None:
        db.execute(
            f"UPDATE deliveries SET due = ? WHERE {rows.OF_MESSAGE} AND number = ?", (lease, held.queue_id, held.number)
        )
    return held is not None


def _claim(db: sqlite3.Connection, each: Delivery, now: float, lease: float) -> Claim | None:
    after = after_claim(each, now)
    if after.state is not State.ACTIVE:
        rows.update_delivery(db, after, now)
        rows.insert_events(db, each.queue_id, [HistoryEntry(now, each.number, "attempt_unconfirmed")])
        return None
    return Claim(after, new_token(), now + lease, unconfirmed=each.state is State.ACTIVE)
