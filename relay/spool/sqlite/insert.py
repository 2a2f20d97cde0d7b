# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""Taking messages in: those that came together in one statement for each table, each as if it had come alone."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from json import dumps
from typing import NamedTuple

from relay.model import Claim, HistoryEntry, Message, Plan
from relay.reasons import DAMAGED
from relay.spool.delivery_rules import (
    EarlierMessage,
    FindEarlierMessage,
    NewDelivery,
    claim_at_once,
    first_events,
    hold_duplicates_of,
    new_deliveries,
    new_token,
    store_result,
    terms_of,
)
from relay.spool.port import Reservation, RetentionWindows, Stored
from relay.spool.sqlite import queries, rows
from relay.spool.sqlite.raw_messages import Content
from relay.spool.sqlite.rows import insert_deliveries, insert_fingerprints, insert_messages, insert_terms


class Incoming(NamedTuple):
    """A message to be stored. now: seconds since the epoch. take: as in `Spool.store`."""

    message: Message
    now: float
    reservation: Reservation | None = None


class DeliveriesToAdd(NamedTuple):
    """Plans (index, plan) of a message with this number (messages.id), to become deliveries from number `first` on."""

    number: int
    message: Message
    plans: Sequence[tuple[int, Plan]]
    first: int
    now: float
    due: float
    reservation: Reservation | None = None


AddedDeliveries = list[tuple[NewDelivery, Claim | None]]
"""New deliveries of one message, each with its claim when it is active."""


@dataclass(frozen=True, slots=True)
class Inserter:
    """Its methods run inside a transaction of the caller; octets go to segments, durable before it is committed."""

    windows: RetentionWindows
    content: Content

    def store(self, db: sqlite3.Connection, incoming: Iterable[Incoming]) -> list[Stored]:
        """As `Spool.store`, each in its turn."""
        return [stored for some in _without_duplicates_of_each_other(incoming) for stored in self._store(db, some)]

    def _store(self, db: sqlite3.Connection, incoming: Sequence[Incoming]) -> list[Stored]:
        """None of which can be a copy of another."""
        known = self._earlier_submissions(db, incoming)
        added = iter(self._add(db, [each for each in incoming if each.message.fingerprint not in known]))
        return [
            next(added) if (first := known.get(message.fingerprint)) is None else Stored(first, duplicate=True)
            for message, *_ in incoming
        ]

    def _add(self, db: sqlite3.Connection, incoming: Sequence[Incoming]) -> list[Stored]:
        """Store each, which is no copy of one stored before."""
        numbers = insert_messages(db, [(each.message, self.content.put(each.message.raw)) for each in incoming])
        fresh = [
            DeliveriesToAdd(number, message, tuple(enumerate(message.plans)), 1, now, message.arrived, reservation)
            for number, (message, now, reservation) in zip(numbers, incoming, strict=True)
        ]
        rows.insert_history(db, [(each.message.queue_id, HistoryEntry(each.now, 0, "accepted")) for each in incoming])
        insert_fingerprints(db, [(each.message, each.now) for each in incoming])
        return [
            store_result(each.message, those) for each, those in zip(fresh, self.add_deliveries(db, fresh), strict=True)
        ]

    def add_deliveries(self, db: sqlite3.Connection, fresh: Sequence[DeliveriesToAdd]) -> list[AddedDeliveries]:
        """Write the deliveries of each, their history, and what they are found by."""
        new = [(each, tuple(new_deliveries(each.message, each.plans, each.first, each.due))) for each in fresh]
        first = _earlier_messages(db, new, self.windows.documents)
        added = [
            (
                each,
                list(
                    claim_at_once(hold_duplicates_of(each.message, those, first), each.reservation, each.now, new_token)
                ),
            )
            for each, those in new
        ]
        insert_deliveries(db, [(each.number, each.now, *new) for each, those in added for new in those])
        begun = ((each.message.queue_id, first_events((new for new, _ in those), each.now)) for each, those in added)
        rows.insert_history(db, [(queue_id, event) for queue_id, events in begun for event in events])
        insert_terms(db, [(each.number, *term) for each in fresh for term in terms_of(each.message, each.plans)])
        return [those for _, those in added]

    def _earlier_submissions(self, db: sqlite3.Connection, incoming: Iterable[Incoming]) -> dict[str, str]:
        """Fingerprints of those that were taken before, each with its first queue id, unless all of that message
        failed or was dropped, or it is still needed and damaged: then it is set aside."""
        now = {each.message.fingerprint: each.now for each in incoming}
        found = [
            row
            for places, bound in rows.batches([(each,) for each in now])
            for row in db.execute(f"{_SUBMITTED} (VALUES {places})", bound)
        ]
        known = {}
        for fingerprint, first, at in found:
            if at <= now[fingerprint] - self.windows.resubmission or _nothing_sent(db, first):
                continue
            if queries.can_be_delivered(db, self.content, first):
                known[fingerprint] = first
            else:
                queries.set_aside(db, first, now[fingerprint])
        return known


def _without_duplicates_of_each_other(incoming: Iterable[Incoming]) -> Iterator[list[Incoming]]:
    """In their order, a new list where one could be the copy of an earlier one in it, which it must find stored."""
    some: list[Incoming] = []
    seen: set[str] = set()
    for each in incoming:
        marks = {each.message.fingerprint, *(mark for plan in each.message.plans for _, mark in plan.marks)}
        if not seen.isdisjoint(marks):
            yield some
            some, seen = [], set()
        some.append(each)
        seen |= marks
    if some:
        yield some


def _nothing_sent(db: sqlite3.Connection, queue_id: str) -> bool:
    """All of the message failed or was dropped; of one that is purged nothing is known."""
    lives = "state NOT IN ('failed', 'dropped')"
    every, living = db.execute(
        f"SELECT COUNT(*), COUNT(CASE WHEN {lives} THEN 1 END) FROM deliveries WHERE {rows.OF_MESSAGE}", (queue_id,)
    ).fetchone()
    return bool(every > 0 and living == 0)


def _earlier_messages(
    db: sqlite3.Connection, new: Iterable[tuple[DeliveriesToAdd, Sequence[NewDelivery]]], window: float
) -> FindEarlierMessage:
    """For each new delivery the first other message within the window that holds one of its documents, and did not fail
    or lose its octets; it may be purged by now."""
    asked = [(each, new) for each, those in new if each.message.hold_duplicates for new in those]
    digests = [(digest,) for _, new in asked for digest in new.digests]
    # Nobody has any of them, but once in a while: that is one question for all.
    asking = (db.execute(f"{_KNOWN} (VALUES {places}) LIMIT 1", bound) for places, bound in rows.batches(digests))
    if not any(each.fetchone() for each in asking):
        return lambda _: None
    first = {_key(new): _earlier_message(db, new, each.now - window) for each, new in asked}
    return lambda new: first[_key(new)]


def _key(new: NewDelivery) -> tuple[str, int]:
    return new.delivery.queue_id, new.delivery.number


def _earlier_message(db: sqlite3.Connection, new: NewDelivery, oldest: float) -> EarlierMessage | None:
    asked = dumps(list(new.digests))
    found = db.execute(_HOLDER, (asked, new.delivery.queue_id, oldest, DAMAGED)).fetchone()
    if found is None:
        return None
    return EarlierMessage(found[0], [row[0] for row in db.execute(_SHARED, (asked, found[0]))])


_SUBMITTED = "SELECT fingerprint, queue_id, at FROM fingerprints WHERE fingerprint IN"
_KNOWN = "SELECT 1 FROM documents WHERE digest IN"
_SHARED = "SELECT DISTINCT digest FROM documents WHERE digest IN (SELECT value FROM json_each(?)) AND queue_id = ?"
_HOLDER = """
    SELECT queue_id FROM documents AS d
    WHERE digest IN (SELECT value FROM json_each(?)) AND queue_id <> ? AND at > ? AND NOT EXISTS (
        SELECT 1 FROM deliveries AS x WHERE x.mail = (SELECT id FROM mails WHERE queue_id = d.queue_id)
        AND x.number = d.number AND (x.state IN ('failed', 'dropped') OR x.detail = ?))
    ORDER BY at, queue_id LIMIT 1
"""
