# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""Taking messages in: those that came together in one statement for each table, each as if it had come alone."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from json import dumps
from typing import NamedTuple

from relay.model import Claim, Event, Message, Plan
from relay.reasons import DAMAGED
from relay.spool.delivery_rules import (
    FirstHolder,
    Holder,
    NewDelivery,
    copies_held,
    first_events,
    new_token,
    plant,
    stored,
    taken,
    terms_of,
)
from relay.spool.port import Reservation, RetentionWindows, Stored
from relay.spool.sqlite import queries, rows
from relay.spool.sqlite.raw_messages import Content
from relay.spool.sqlite.rows import insert_deliveries, insert_fingerprints, insert_mails, insert_terms


class Incoming(NamedTuple):
    """A message to be stored. now: seconds since the epoch. take: as in `Spool.store`."""

    mail: Message
    now: float
    take: Reservation | None = None


class Fresh(NamedTuple):
    """Plans (index, plan) of a message with this number (messages.id), to become deliveries from number `first` on."""

    number: int
    mail: Message
    plans: Sequence[tuple[int, Plan]]
    first: int
    now: float
    due: float
    take: Reservation | None = None


Placed = list[tuple[NewDelivery, Claim | None]]
"""New deliveries of one message, each with its claim when it is active."""


@dataclass(frozen=True, slots=True)
class Storing:
    """Its methods run inside a transaction of the caller; octets go to segments, durable before it is committed."""

    windows: RetentionWindows
    content: Content

    def store(self, db: sqlite3.Connection, incoming: Iterable[Incoming]) -> list[Stored]:
        """As `Spool.store`, each in its turn."""
        return [stored for some in _apart(incoming) for stored in self._store(db, some)]

    def _store(self, db: sqlite3.Connection, incoming: Sequence[Incoming]) -> list[Stored]:
        """None of which can be a copy of another."""
        known = self._submitted(db, incoming)
        added = iter(self._add(db, [each for each in incoming if each.mail.fingerprint not in known]))
        return [
            next(added) if (first := known.get(mail.fingerprint)) is None else Stored(first, duplicate=True)
            for mail, *_ in incoming
        ]

    def _add(self, db: sqlite3.Connection, incoming: Sequence[Incoming]) -> list[Stored]:
        """Store each, which is no copy of one stored before."""
        numbers = insert_mails(db, [(each.mail, self.content.put(each.mail.raw)) for each in incoming])
        fresh = [
            Fresh(number, mail, tuple(enumerate(mail.plans)), 1, now, mail.arrived, take)
            for number, (mail, now, take) in zip(numbers, incoming, strict=True)
        ]
        rows.insert_history(db, [(each.mail.queue_id, Event(each.now, 0, "accepted")) for each in incoming])
        insert_fingerprints(db, [(each.mail, each.now) for each in incoming])
        return [stored(each.mail, those) for each, those in zip(fresh, self.plant(db, fresh), strict=True)]

    def plant(self, db: sqlite3.Connection, fresh: Sequence[Fresh]) -> list[Placed]:
        """Write the deliveries of each, their history, and what they are found by."""
        planted = [(each, tuple(plant(each.mail, each.plans, each.first, each.due))) for each in fresh]
        first = _holders(db, planted, self.windows.documents)
        placed = [
            (each, list(taken(copies_held(each.mail, those, first), each.take, each.now, new_token)))
            for each, those in planted
        ]
        insert_deliveries(db, [(each.number, each.now, *new) for each, those in placed for new in those])
        begun = ((each.mail.queue_id, first_events((new for new, _ in those), each.now)) for each, those in placed)
        rows.insert_history(db, [(queue_id, event) for queue_id, events in begun for event in events])
        insert_terms(db, [(each.number, *term) for each in fresh for term in terms_of(each.mail, each.plans)])
        return [those for _, those in placed]

    def _submitted(self, db: sqlite3.Connection, incoming: Iterable[Incoming]) -> dict[str, str]:
        """Fingerprints of those that were taken before, each with its first queue id, unless all of that message
        failed or was dropped, or it is still needed and damaged: then it is set aside."""
        now = {each.mail.fingerprint: each.now for each in incoming}
        found = [
            row
            for places, bound in rows.together([(each,) for each in now])
            for row in db.execute(f"{_SUBMITTED} (VALUES {places})", bound)
        ]
        known = {}
        for fingerprint, first, at in found:
            if at <= now[fingerprint] - self.windows.resubmission or _undone(db, first):
                continue
            if queries.can_be_delivered(db, self.content, first):
                known[fingerprint] = first
            else:
                queries.set_aside(db, first, now[fingerprint])
        return known


def _apart(incoming: Iterable[Incoming]) -> Iterator[list[Incoming]]:
    """In their order, a new list where one could be the copy of an earlier one in it, which it must find stored."""
    some: list[Incoming] = []
    seen: set[str] = set()
    for each in incoming:
        marks = {each.mail.fingerprint, *(mark for plan in each.mail.plans for _, mark in plan.marks)}
        if not seen.isdisjoint(marks):
            yield some
            some, seen = [], set()
        some.append(each)
        seen |= marks
    if some:
        yield some


def _undone(db: sqlite3.Connection, queue_id: str) -> bool:
    """All of the message failed or was dropped; of one that is purged nothing is known."""
    lives = "state NOT IN ('failed', 'dropped')"
    every, living = db.execute(
        f"SELECT COUNT(*), COUNT(CASE WHEN {lives} THEN 1 END) FROM deliveries WHERE {rows.OF_MAIL}", (queue_id,)
    ).fetchone()
    return bool(every > 0 and living == 0)


def _holders(
    db: sqlite3.Connection, planted: Iterable[tuple[Fresh, Sequence[NewDelivery]]], window: float
) -> FirstHolder:
    """For each new delivery the first other mail within the window that holds one of its documents, and did not fail or
    lose its octets; it may be purged by now."""
    asked = [(each, new) for each, those in planted if each.mail.hold_duplicates for new in those]
    digests = [(digest,) for _, new in asked for digest in new.digests]
    # Nobody has any of them, but once in a while: that is one question for all.
    asking = (db.execute(f"{_KNOWN} (VALUES {places}) LIMIT 1", bound) for places, bound in rows.together(digests))
    if not any(each.fetchone() for each in asking):
        return lambda _: None
    first = {_key(new): _holder(db, new, each.now - window) for each, new in asked}
    return lambda new: first[_key(new)]


def _key(new: NewDelivery) -> tuple[str, int]:
    return new.delivery.queue_id, new.delivery.number


def _holder(db: sqlite3.Connection, new: NewDelivery, oldest: float) -> Holder | None:
    asked = dumps(list(new.digests))
    found = db.execute(_HOLDER, (asked, new.delivery.queue_id, oldest, DAMAGED)).fetchone()
    if found is None:
        return None
    return Holder(found[0], [row[0] for row in db.execute(_SHARED, (asked, found[0]))])


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
