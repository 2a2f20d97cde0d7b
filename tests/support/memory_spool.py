"""The reference engine: what the operations of the spool mean, in dictionaries. Nothing survives the process."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from relay.lifecycle import MAX_UNSETTLED, Transition, begun, bounced, claimed, clamp, latest, order, settled
from relay.model import Claim, Delivery, Event, Message, OperatorAction, Plan, Sameness, State
from relay.spool.delivery_rules import (
    ORDER_EVENTS,
    STAY,
    Holder,
    NewDelivery,
    Tallies,
    bare,
    copies_held,
    first_events,
    new_token,
    newest_share,
    plant,
    stored,
    taken,
    terms_of,
    uncovered,
)
from relay.spool.port import (
    FREE,
    PeriodStatistics,
    Query,
    Record,
    RecordedAction,
    Reservation,
    RetentionWindows,
    SpoolError,
    Stats,
    Stored,
)

_NEVER_SENT = frozenset({State.FAILED, State.DROPPED, State.WITHHELD})
"""States that a purge ends without anything having been delivered."""


@dataclass(slots=True)
class _Entry:
    delivery: Delivery
    digests: Mapping[str, Sameness]
    changed: float
    lease: float = 0.0
    token: str | None = None


@dataclass(slots=True)
class _Kept:
    mail: Message
    entries: dict[int, _Entry] = field(default_factory=dict)
    history: list[Event] = field(default_factory=list)
    terms: set[tuple[str, int]] = field(default_factory=set)


class MemorySpool:
    """See `relay.spool.port.Spool`. `clock` gives seconds since the epoch; `ceiling` as in `Retry`, may be changed."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        windows: RetentionWindows | None = None,
        ceiling: float = 3600.0,
    ) -> None:
        self.ceiling = ceiling
        self._clock = clock
        self._windows = windows or RetentionWindows()
        self._mails: dict[str, _Kept] = {}
        self._fingerprints: dict[str, tuple[str, float]] = {}
        self._documents: dict[tuple[str, str, int], float] = {}
        self._actions: dict[int, RecordedAction] = {}
        self._turn = 0
        self._secret = secrets.token_bytes(32)

    async def store(self, mail: Message, take: Reservation | None = None) -> Stored:
        return self._store(mail, self._clock(), take)

    def _store(self, mail: Message, now: float, take: Reservation | None = None) -> Stored:
        first, at = self._fingerprints.get(mail.fingerprint, ("", 0.0))
        if first and now - at < self._windows.resubmission and not self._undone(first):
            return Stored(first, duplicate=True)
        kept = self._mails[mail.queue_id] = _Kept(mail)
        kept.history.append(Event(now, 0, "accepted"))
        planted = self._plant(kept, mail, 0, mail.plans, now, 1, mail.arrived, take)
        self._fingerprints[mail.fingerprint] = (mail.queue_id, now)
        return stored(mail, planted)

    def _undone(self, queue_id: str) -> bool:
        kept = self._mails.get(queue_id)
        states = {each.delivery.state for each in kept.entries.values()} if kept else set()
        return bool(states) and states <= {State.FAILED, State.DROPPED}

    def _unsent(self, queue_id: str) -> bool:
        return all(each.delivery.state in _NEVER_SENT for each in self._mails[queue_id].entries.values())

    def _plant(
        self,
        kept: _Kept,
        mail: Message,
        offset: int,
        plans: Sequence[Plan],
        now: float,
        first: int,
        due: float,
        take: Reservation | None = None,
    ) -> list[tuple[NewDelivery, Claim | None]]:
        numbered = tuple(enumerate(plans, offset))
        fresh = plant(mail, numbered, first, due)
        sifted = copies_held(mail, fresh, lambda each: self._holder(mail.queue_id, each.digests, now))
        planted = list(taken(sifted, take, now, new_token))
        for each, claim in planted:
            entry = kept.entries[each.delivery.number] = _Entry(each.delivery, each.digests, now)
            if claim is not None:
                entry.token, entry.lease = claim.token, claim.lease
            for digest in each.digests:
                self._documents[digest, mail.queue_id, each.delivery.number] = now
        kept.history.extend(first_events((each for each, _ in planted), now))
        kept.terms |= terms_of(mail, numbered)
        return planted

    def _holder(self, own: str, digests: Mapping[str, Sameness], now: float) -> Holder | None:
        found = [
            (at, queue_id)
            for (digest, queue_id, number), at in self._documents.items()
            if digest in digests and queue_id != own and now - at < self._windows.documents
            if not self._gone(queue_id, number)
        ]
        if not found:
            return None
        first = min(found)[1]
        return Holder(
            first, {digest for digest, queue_id, _ in self._documents if digest in digests and queue_id == first}
        )

    def _gone(self, queue_id: str, number: int) -> bool:
        kept = self._mails.get(queue_id)
        return kept is not None and kept.entries[number].delivery.state in (State.FAILED, State.DROPPED)

    def _entries(self) -> Iterable[_Entry]:
        return (entry for kept in self._mails.values() for entry in kept.entries.values())

    async def claim(
        self, now: float, lease: float, limit: int, room: Mapping[str, int] = FREE, *, unconfirmed: bool = False
    ) -> tuple[Claim, ...]:
        if unconfirmed:
            return self._claim_unconfirmed(now, lease, limit, room)
        for entry in self._entries():
            entry.delivery = clamp(entry.delivery, now, self.ceiling)
        due = [each for each in self._entries() if (at := each.delivery.next_attempt) is not None and at <= now]
        fresh = [each for each in due if each.delivery.state is State.QUEUED]
        share = newest_share(self._turn, limit)
        self._turn += limit
        by_arrival = sorted(enumerate(fresh), key=lambda item: (item[1].delivery.arrived, item[0]), reverse=True)
        taken: Counter[str] = Counter()
        newest = _fitting([each for _, each in by_arrival], share, limit, room, taken)
        rest = sorted((each for each in due if each not in newest), key=lambda each: each.delivery.next_attempt or 0.0)
        oldest = _fitting(rest, limit - len(newest), limit, room, taken)
        claims = [self._claim(each, now, lease) for each in oldest + newest]
        return tuple(each for each in claims if each is not None)

    def _claim_unconfirmed(self, now: float, lease: float, limit: int, room: Mapping[str, int]) -> tuple[Claim, ...]:
        expired = [each for each in self._entries() if each.delivery.state is State.ACTIVE and each.lease <= now]
        held = [each for each in expired if each.delivery.unsettled >= MAX_UNSETTLED]
        rest = sorted(
            (each for each in expired if each not in held), key=lambda each: (each.delivery.unsettled, each.lease)
        )
        chosen = _fitting(rest, limit, limit, room, Counter()) + held
        return tuple(claim for each in chosen if (claim := self._claim(each, now, lease)) is not None)

    def _claim(self, entry: _Entry, now: float, lease: float) -> Claim | None:
        unconfirmed = entry.delivery.state is State.ACTIVE
        entry.delivery, entry.changed = claimed(entry.delivery, now), now
        if entry.delivery.state is not State.ACTIVE:
            entry.token = None
            self._mails[entry.delivery.queue_id].history.append(
                Event(now, entry.delivery.number, "attempt_unconfirmed")
            )
            return None
        entry.token, entry.lease = new_token(), now + lease
        return Claim(entry.delivery, entry.token, entry.lease, unconfirmed)

    def _held_by(self, claim: Claim) -> _Entry | None:
        kept = self._mails.get(claim.delivery.queue_id)
        entry = kept.entries.get(claim.delivery.number) if kept else None
        return entry if entry is not None and entry.token == claim.token else None

    async def begin(self, claim: Claim) -> bool:
        entry = self._held_by(claim)
        if entry is not None:
            entry.delivery = begun(entry.delivery)
        return entry is not None

    async def renew(self, claim: Claim, lease: float) -> bool:
        entry = self._held_by(claim)
        if entry is not None:
            entry.lease = lease
        return entry is not None

    async def settle(self, claim: Claim, transition: Transition, follow_ups: Sequence[Message] = ()) -> bool:
        entry, now = self._held_by(claim), self._clock()
        if entry is None:
            return False
        entry.delivery, entry.token, entry.changed = settled(entry.delivery, transition), None, now
        kept = self._mails[claim.delivery.queue_id]
        kept.history.append(Event(now, claim.delivery.number, transition.event, transition.reply))
        for mail in follow_ups:
            self._store(mail, now)
        return True

    async def load(self, queue_id: str) -> Message | None:
        kept = self._mails.get(queue_id)
        return kept.mail if kept else None

    async def due(self, full: Collection[str] = ()) -> float | None:
        now = self._clock()
        open_ = [each for each in self._entries() if each.delivery.destination not in full]
        times = [at for each in open_ if (at := each.delivery.next_attempt) is not None]
        if times and max(times) > latest(now, self.ceiling):
            return min(now, *times)
        return min(times, default=None)

    async def find(self, query: Query) -> tuple[Delivery, ...]:
        found = [each.delivery for each in self._entries() if self._matches(each.delivery, query)]
        found.sort(key=lambda each: (each.arrived, each.queue_id, each.number))
        return tuple(found[-query.limit :] if query.newest else found[: query.limit])

    async def count(self, query: Query) -> int:
        return sum(self._matches(each.delivery, query) for each in self._entries())

    def _matches(self, delivery: Delivery, query: Query) -> bool:
        return (
            (not query.states or delivery.state in query.states)
            and query.dossier in (None, delivery.dossier)
            and query.firm in (None, delivery.firm)
            and query.queue_id in (None, delivery.queue_id)
            and query.generated in (None, delivery.generated)
            and query.unreported not in delivery.reported
            and (query.reported is None or query.reported in delivery.reported)
            and (query.firms is None or delivery.firm in query.firms)
            and (query.other_firms is None or delivery.firm not in query.other_firms | {None})
            and (not query.no_firm or delivery.firm is None)
            and (query.term is None or self._named(delivery, bare(query.term)))
        )

    def _named(self, delivery: Delivery, term: str) -> bool:
        terms = self._mails[delivery.queue_id].terms
        return term in (delivery.queue_id, delivery.dossier) or bool({(term, -1), (term, delivery.plan)} & terms)

    async def show(self, queue_id: str) -> Record | None:
        kept = self._mails.get(queue_id)
        if kept is None:
            return None
        deliveries = tuple(kept.entries[number].delivery for number in sorted(kept.entries))
        return Record(kept.mail, deliveries, tuple(kept.history))

    async def set_state(
        self, queue_id: str, number: int | None, given: OperatorAction, now: float
    ) -> tuple[Delivery, ...]:
        kept, changed = self._mails.get(queue_id), []
        for each in kept.entries.values() if kept else ():
            if number in (None, each.delivery.number) and (after := order(each.delivery, given, now)) is not None:
                each.delivery, each.changed = after, now
                changed.append(after)
                self._acted(queue_id, Event(now, after.number, ORDER_EVENTS[given.verb], given.text, given.by))
        return tuple(changed)

    async def replan(
        self, queue_id: str, plans: Sequence[Plan], given: OperatorAction, now: float
    ) -> tuple[Delivery, ...]:
        kept = self._mails.get(queue_id)
        if kept is None or not plans:
            return ()
        stay = {n: each for n, each in kept.entries.items() if each.delivery.state in STAY}
        fresh = tuple(uncovered(plans, kept.mail.plans, (each.delivery for each in stay.values())))
        first = max(kept.entries, default=0) + 1
        for number in kept.entries.keys() - stay.keys():
            self._forget(queue_id, number)
        before = len(kept.mail.plans)
        kept.mail = replace(kept.mail, plans=kept.mail.plans + fresh)
        kept.entries = stay
        self._acted(queue_id, Event(now, 0, "replanned", given.text, given.by))
        return tuple(each.delivery for each, _ in self._plant(kept, kept.mail, before, fresh, now, first, now))

    def _acted(self, queue_id: str, event: Event) -> None:
        self._mails[queue_id].history.append(event)
        if event.by:
            number = max(self._actions, default=0) + 1
            self._actions[number] = RecordedAction(number, queue_id, event)

    async def operator_actions(self, limit: int = 100) -> tuple[RecordedAction, ...]:
        return tuple(self._actions.values())[:limit]

    async def operator_actions_logged(self, ids: Collection[int]) -> None:
        for each in ids:
            self._actions.pop(each, None)

    async def bounced(self, queue_id: str, number: int, text: str, now: float, *, failed: bool) -> bool:
        kept = self._mails.get(queue_id)
        if kept is None or number not in kept.entries:
            return False
        entry = kept.entries[number]
        if failed and (after := bounced(entry.delivery, text)) != entry.delivery:
            entry.delivery, entry.changed = after, now
        kept.history.append(Event(now, number, "bounce_received", text))
        return True

    async def report(self, about: Sequence[tuple[Delivery, str]], mails: Sequence[Message], now: float) -> None:
        for each, kind in about:
            if (kept := self._mails.get(each.queue_id)) and (entry := kept.entries.get(each.number)):
                entry.delivery = replace(entry.delivery, reported=entry.delivery.reported | {kind})
                kept.history.append(Event(now, each.number, "notification_queued", kind))
        for mail in mails:
            self._store(mail, now)

    async def secret(self) -> bytes:
        return self._secret

    async def purge(self, before: float, limit: int = 100, *, withheld: float | None = None) -> int:
        by_arrival = sorted(self._mails.items(), key=lambda item: item[1].mail.arrived)
        over = [queue_id for queue_id, kept in by_arrival if _over(kept, before, withheld)][:limit]
        for queue_id in over:
            for number in self._mails[queue_id].entries:
                if self._mails[queue_id].entries[number].delivery.state in _NEVER_SENT:
                    self._forget(queue_id, number)
            fingerprint = self._mails[queue_id].mail.fingerprint
            if self._unsent(queue_id) and self._fingerprints.get(fingerprint, ("", 0.0))[0] == queue_id:
                del self._fingerprints[fingerprint]
            del self._mails[queue_id]
        now = self._clock()
        self._fingerprints = {
            key: each for key, each in self._fingerprints.items() if now - each[1] < self._windows.resubmission
        }
        self._documents = {key: at for key, at in self._documents.items() if now - at < self._windows.documents}
        return len(over)

    def _forget(self, queue_id: str, number: int) -> None:
        for digest in self._mails[queue_id].entries[number].digests:
            self._documents.pop((digest, queue_id, number), None)

    async def stats(self) -> Stats:
        every = [each.delivery for each in self._entries()]
        waits = [each.arrived for each in every if each.state in (State.QUEUED, State.ACTIVE, State.DEFERRED)]
        held = Counter(str(each.reason or "") for each in every if each.state in (State.HELD, State.WITHHELD))
        octets = sum(len(kept.mail.raw) for kept in self._mails.values())
        return Stats(dict(Counter(each.state for each in every)), dict(held), min(waits, default=None), octets)

    async def tally(self, since: float, until: float) -> Mapping[str | None, PeriodStatistics]:
        tallies = Tallies()
        for kept in self._mails.values():
            deliveries = [each.delivery for each in kept.entries.values() if not each.delivery.generated]
            if since <= kept.mail.arrived < until:
                tallies.add(kept.mail.plans, deliveries)
            for each in deliveries:
                if each.state is State.HELD:
                    tallies.hold(each.firm, str(each.reason or ""))
        return tallies.result()

    def unhealthy(self) -> SpoolError | None:
        return None

    def degraded(self) -> str | None:
        return None

    async def close(self) -> None:
        return None


def _over(kept: _Kept, before: float, withheld: float | None) -> bool:
    def ended(each: _Entry) -> bool:
        if each.delivery.state is State.WITHHELD:
            return withheld is not None and each.changed < withheld
        return each.delivery.state.final and each.changed < before

    latest_end = before if withheld is None else max(before, withheld)
    return kept.mail.arrived < latest_end and all(ended(each) for each in kept.entries.values())


def _fitting(
    entries: Iterable[_Entry], most: int, limit: int, room: Mapping[str, int], taken: Counter[str]
) -> list[_Entry]:
    """The first `most` that find room at their destination; counted in `taken`."""
    found: list[_Entry] = []
    for each in entries:
        destination = each.delivery.destination
        if len(found) < most and taken[destination] < room.get(destination, limit):
            taken[destination] += 1
            found.append(each)
    return found
