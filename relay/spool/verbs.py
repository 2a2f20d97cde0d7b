# ruff: noqa: S608 (statements are put together from constants of this package; values are always bound)
"""The writing verbs as transactions on one connection: read, let the pure rules decide, write back."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from relay import wire
from relay.lifecycle import Transition, begun, bounced, claimed, order, settled
from relay.model import Claim, Delivery, Event, Mail, Order, Plan, State
from relay.spool import rows, waiting
from relay.spool.entry import ORDER_EVENTS, STAY, new_token, uncovered
from relay.spool.storing import Fresh, Incoming, Storing


class Settlement(NamedTuple):
    """How an attempt ended. now: seconds since the epoch. Else as in `Spool.settle`."""

    claim: Claim
    transition: Transition
    follow_ups: Sequence[Mail]
    now: float


@dataclass(frozen=True, slots=True)
class Verbs:
    """What changes the spool. Every method runs inside a transaction of the caller and touches only `db`, and what
    stores a mail the segments, which are made durable before it is committed."""

    storing: Storing

    def settle(self, db: sqlite3.Connection, settlements: Sequence[Settlement]) -> list[bool]:
        """As `Spool.settle`, each in its turn."""
        results = [_settle(db, each) for each in settlements]
        held = [each for each, holds in zip(settlements, results, strict=True) if holds]
        rows.insert_history(db, [(each.claim.delivery.queue_id, _ended(each)) for each in held])
        self.storing.store(db, (Incoming(mail, each.now) for each in held for mail in each.follow_ups))
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
        waiting.bring_back(db, now, ceiling)
        return self._claim(db, now, lease, waiting.choose(db, now, limit, room, turn))

    def claim_unconfirmed(
        self, db: sqlite3.Connection, now: float, lease: float, limit: int, room: Mapping[str, int]
    ) -> tuple[Claim, ...]:
        return self._claim(db, now, lease, waiting.choose_unconfirmed(db, now, limit, room))

    def _claim(
        self, db: sqlite3.Connection, now: float, lease: float, chosen: Iterable[tuple[int, Delivery]]
    ) -> tuple[Claim, ...]:
        found = ((mail, _claim(db, each, now, lease)) for mail, each in chosen)
        claims = [(mail, claim) for mail, claim in found if claim is not None]
        rows.update_claimed(db, claims, now, now + lease)
        return tuple(claim for _, claim in claims)

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
        self.storing.store(db, (Incoming(mail, now) for mail in mails))

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
        known = rows.read_mail(db, queue_id, self.storing.content.get(db, queue_id))
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
        [placed] = self.storing.plant(db, [Fresh(number, mail, tuple(enumerate(fresh, before)), first, now, now)])
        return tuple(each.delivery for each, _ in placed)


def _settle(db: sqlite3.Connection, each: Settlement) -> bool:
    after = settled(each.claim.delivery, each.transition)
    return rows.update_settled(db, each.claim.token, after, each.transition.report or "", each.now)


def _ended(each: Settlement) -> Event:
    return Event(each.now, each.claim.delivery.number, each.transition.event, each.transition.reply)


def held_by(db: sqlite3.Connection, claim: Claim) -> Delivery | None:
    """The active delivery that `claim` still has the right to, or None."""
    found = rows.deliveries(
        db,
        f"{rows.OF_MAIL} AND number = ? AND token = ? AND state = 'active'",
        *(claim.delivery.queue_id, claim.delivery.number, claim.token),
    )
    return found[0] if found else None


def begin(db: sqlite3.Connection, claim: Claim) -> bool:
    held = held_by(db, claim)
    if held is not None:
        db.execute(
            f"UPDATE deliveries SET unsettled = ? WHERE {rows.OF_MAIL} AND number = ?",
            (begun(held).unsettled, held.queue_id, held.number),
        )
    return held is not None


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
    return Claim(after, new_token(), now + lease, unconfirmed=each.state is State.ACTIVE)
