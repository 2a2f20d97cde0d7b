# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""The writing verbs as transactions on one connection: read, let the pure rules decide, write back."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from json import dumps

from relay import wire
from relay.details import DAMAGED
from relay.lifecycle import Transition, bounced, claimed, order, settled
from relay.mail.identity import is_intact
from relay.model import Claim, Delivery, Event, Mail, Order, Plan, State
from relay.spool import rows, waiting
from relay.spool.content import Content
from relay.spool.entry import (
    ORDER_EVENTS,
    STAY,
    Planted,
    first_events,
    new_token,
    plant,
    set_aside,
    taken,
    terms_of,
    uncovered,
)
from relay.spool.port import Stored, Take, Windows

_LIVES = "state NOT IN ('failed', 'dropped')"


@dataclass(frozen=True, slots=True)
class Verbs:
    """What changes the spool. Every method runs inside a transaction of the caller and touches only `db`, and in
    `store` the segments that are made durable before it is committed."""

    windows: Windows
    content: Content

    def store(self, db: sqlite3.Connection, mail: Mail, now: float, take: Take | None = None) -> Stored:
        first = _submitted(db, mail.fingerprint, now - self.windows.resubmission)
        if first is not None:
            if self._whole(db, first):
                return Stored(first, duplicate=True)
            self.set_aside(db, first, now)
        number = rows.insert_mail(db, mail, self.content.put(mail.raw))
        rows.insert_event(db, number, Event(now, 0, "accepted"))
        planted = self._plant(db, number, mail, tuple(enumerate(mail.plans)), 1, now, mail.arrived, take)
        db.execute(
            "INSERT OR REPLACE INTO fingerprints (fingerprint, queue_id, at) VALUES (?, ?, ?)",
            (mail.fingerprint, mail.queue_id, now),
        )
        return Stored(mail.queue_id, claims=tuple(claim for _, claim in planted if claim is not None))

    def _whole(self, db: sqlite3.Connection, queue_id: str) -> bool:
        """The octets of the mail are as they came, or are needed no more: what comes again may be let go."""
        ended = "state IN ('delivered', 'failed', 'dropped')"
        waits = db.execute(f"SELECT 1 FROM deliveries WHERE {rows.OF_MAIL} AND NOT {ended}", (queue_id,)).fetchone()
        if waits is None:
            return True
        (digest,) = db.execute("SELECT sha256 FROM mails WHERE queue_id = ?", (queue_id,)).fetchone()
        try:
            raw = self.content.get(db, queue_id)
        except sqlite3.DatabaseError:
            return False
        return raw is not None and is_intact(raw, digest)

    def _plant(
        self,
        db: sqlite3.Connection,
        number: int,
        mail: Mail,
        plans: Sequence[tuple[int, Plan]],
        first: int,
        now: float,
        due: float,
        take: Take | None = None,
    ) -> list[tuple[Planted, Claim | None]]:
        oldest = now - self.windows.documents
        fresh = plant(mail, plans, first, due, lambda digests: _holder(db, digests, mail.queue_id, oldest))
        planted = list(taken(fresh, take, now, new_token))
        for each, claim in planted:
            rows.insert_delivery(db, number, each, now, claim)
        for event in first_events((each for each, _ in planted), now):
            rows.insert_event(db, number, event)
        rows.insert_terms(db, number, terms_of(mail, plans))
        return planted

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
        waiting.bring_back(db, now, ceiling)
        chosen = waiting.choose(db, now, limit, room, turn)
        found = ((mail, _claim(db, each, now, lease)) for mail, each in chosen)
        claims = [(mail, claim) for mail, claim in found if claim is not None]
        rows.update_claimed(db, claims, now, now + lease)
        return tuple(claim for _, claim in claims)

    def settle(
        self, db: sqlite3.Connection, claim: Claim, transition: Transition, follow_ups: Iterable[Mail], now: float
    ) -> bool:
        after = settled(claim.delivery, transition)
        if not rows.update_settled(db, claim.token, after, transition.report or "", now):
            return False
        rows.insert_events(db, after.queue_id, [Event(now, after.number, transition.event, transition.reply)])
        for mail in follow_ups:
            self.store(db, mail, now)
        return True

    def bounced(self, db: sqlite3.Connection, queue_id: str, number: int, text: str, now: float, failed: bool) -> bool:
        for each in rows.deliveries(db, f"{rows.OF_MAIL} AND number = ?", queue_id, number):
            # Writing an active one anew would take the claim from the attempt that is under way.
            if failed and (after := bounced(each, text)) != each:
                rows.update_delivery(db, after, now)
            rows.insert_events(db, queue_id, [Event(now, number, "bounce_received", text)])
            return True
        return False

    def report(
        self, db: sqlite3.Connection, about: Iterable[tuple[Delivery, str]], mails: Iterable[Mail], now: float
    ) -> None:
        for each, kind in about:
            for found in rows.deliveries(db, f"{rows.OF_MAIL} AND number = ?", each.queue_id, each.number):
                db.execute(
                    f"UPDATE deliveries SET reported = ? WHERE {rows.OF_MAIL} AND number = ?",
                    (rows.kinds(found.reported | {kind}), each.queue_id, each.number),
                )
                rows.insert_events(db, each.queue_id, [Event(now, each.number, "report_sent", kind)])
        for mail in mails:
            self.store(db, mail, now)

    def set_state(
        self, db: sqlite3.Connection, queue_id: str, number: int | None, given: Order, now: float
    ) -> tuple[Delivery, ...]:
        changed = []
        for each in rows.deliveries(db, f"{rows.OF_MAIL} ORDER BY number", queue_id):
            if number in (None, each.number) and (after := order(each, given, now)) is not None:
                rows.update_delivery(db, after, now)
                event = Event(now, each.number, ORDER_EVENTS[given.verb], given.text, given.by)
                rows.insert_events(db, queue_id, [event])
                changed.append(after)
        return tuple(changed)

    def replan(
        self, db: sqlite3.Connection, queue_id: str, plans: Sequence[Plan], given: Order, now: float
    ) -> tuple[Delivery, ...]:
        known = rows.read_mail(db, queue_id, self.content.get(db, queue_id))
        if known is None or not plans:
            return ()
        mail, every = known[0], rows.deliveries(db, rows.OF_MAIL, queue_id)
        before = len(mail.plans)
        fresh = tuple(uncovered(plans, mail.plans, (each for each in every if each.state in STAY)))
        for each in every:
            if each.state not in STAY:
                db.execute(f"DELETE FROM deliveries WHERE {rows.OF_MAIL} AND number = ?", (queue_id, each.number))
                db.execute("DELETE FROM documents WHERE queue_id = ? AND number = ?", (queue_id, each.number))
        mail = replace(mail, plans=mail.plans + fresh)
        (number,) = db.execute("SELECT id FROM mails WHERE queue_id = ?", (queue_id,)).fetchone()
        db.execute("UPDATE mails SET plans = ? WHERE id = ?", (wire.dump(mail.plans), number))
        rows.insert_events(db, queue_id, [Event(now, 0, "replanned", given.text, given.by)])
        first = max((each.number for each in every), default=0) + 1
        planted = self._plant(db, number, mail, tuple(enumerate(fresh, before)), first, now, now)
        return tuple(each.delivery for each, _ in planted)

    def set_aside(self, db: sqlite3.Connection, queue_id: str, now: float) -> int:
        """Hold what is left of a mail that cannot be read; how many deliveries."""
        held = [set_aside(each) for each in rows.deliveries(db, f"{rows.OF_MAIL} AND state <> 'held'", queue_id)]
        changed = [each for each in held if each is not None]
        for each in changed:
            rows.update_delivery(db, each, now)
        rows.insert_events(db, queue_id, _aside(changed, now))
        return len(changed)


def _aside(changed: Iterable[Delivery], now: float) -> Iterator[Event]:
    return (Event(now, each.number, "mail_corrupt", each.detail) for each in changed)


def held_by(db: sqlite3.Connection, claim: Claim) -> Delivery | None:
    """The active delivery that `claim` still has the right to, or None."""
    found = rows.deliveries(
        db,
        f"{rows.OF_MAIL} AND number = ? AND token = ? AND state = 'active'",
        *(claim.delivery.queue_id, claim.delivery.number, claim.token),
    )
    return found[0] if found else None


def renew(db: sqlite3.Connection, claim: Claim, lease: float) -> bool:
    held = held_by(db, claim)
    if held is not None:
        db.execute(
            f"UPDATE deliveries SET due = ? WHERE {rows.OF_MAIL} AND number = ?", (lease, held.queue_id, held.number)
        )
    return held is not None


def _claim(db: sqlite3.Connection, each: Delivery, now: float, lease: float) -> Claim | None:
    after = claimed(each, now)
    if after.state is not State.ACTIVE:
        rows.update_delivery(db, after, now)
        rows.insert_events(db, each.queue_id, [Event(now, each.number, "unsettled")])
        return None
    return Claim(after, new_token(), now + lease)


def _submitted(db: sqlite3.Connection, fingerprint: str, oldest: float) -> str | None:
    """Queue id under which the very same mail was taken since `oldest`, unless all of it failed or was dropped."""
    found = db.execute(
        "SELECT queue_id FROM fingerprints WHERE fingerprint = ? AND at > ?", (fingerprint, oldest)
    ).fetchone()
    if found is None:
        return None
    lives = db.execute(
        f"SELECT COUNT(*), COUNT(CASE WHEN {_LIVES} THEN 1 END) FROM deliveries WHERE {rows.OF_MAIL}", found
    ).fetchone()
    undone = lives[0] > 0 and lives[1] == 0
    return None if undone else str(found[0])


def _holder(db: sqlite3.Connection, digests: tuple[str, ...], own: str, oldest: float) -> str | None:
    """The first other mail since `oldest` that holds one of `digests`, and did not fail or lose its octets; it may be
    purged by now."""
    found = db.execute(
        "SELECT queue_id FROM documents AS d WHERE digest IN (SELECT value FROM json_each(?)) AND queue_id <> ?"
        " AND at > ? AND NOT EXISTS (SELECT 1 FROM deliveries AS x WHERE x.mail = (SELECT id FROM mails WHERE"
        " queue_id = d.queue_id) AND x.number = d.number AND (x.state IN ('failed', 'dropped') OR x.detail = ?))"
        " ORDER BY at, queue_id LIMIT 1",
        (dumps(digests), own, oldest, DAMAGED),
    ).fetchone()
    return None if found is None else str(found[0])
