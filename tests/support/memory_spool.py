"""The reference engine: what the operations of the spool mean, in dictionaries. Nothing survives the process."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from relay.lifecycle import (
    MAX_UNCONFIRMED_ATTEMPTS,
    Transition,
    after_action,
    after_attempt_start,
    after_bounce,
    after_claim,
    after_settlement,
    clamp_next_attempt,
    latest_next_attempt,
)
from relay.model import Claim, Delivery, HistoryEntry, Message, OperatorAction, Plan, Sameness, State
from relay.spool.delivery_rules import (
    ACTION_EVENTS,
    KEPT_BY_REPLAN,
    EarlierMessage,
    NewDelivery,
    StatisticsBuilder,
    claim_at_once,
    first_events,
    hold_duplicates_of,
    new_deliveries,
    new_token,
    newest_share,
    normalized_term,
    not_yet_sent,
    store_result,
    terms_of,
)
from relay.spool.port import (
    UNLIMITED,
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
    message: Message
    entries: dict[int, _Entry] = field(default_factory=dict)
    history: list[HistoryEntry] = field(default_factory=list)
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
        self._messages: dict[str, _Kept] = {}
        self._fingerprints: dict[str, tuple[str, float]] = {}
        self._documents: dict[tuple[str, str, int], float] = {}
        self._actions: dict[int, RecordedAction] = {}
        self._turn = 0
        self._secret = secrets.token_bytes(32)

    async def store(self, message: Message, reservation: Reservation | None = None) -> Stored:
        stored = self._store(message, self._clock(), reservation)
        if stored.claims and reservation is not None and reservation.on_tentative_claims is not None:
            reservation.on_tentative_claims(stored.claims)
        return stored

    def _store(self, message: Message, now: float, reservation: Reservation | None = None) -> Stored:
        first, at = self._fingerprints.get(message.fingerprint, ("", 0.0))
        if first and now - at < self._windows.resubmission and not self._nothing_sent(first):
            return Stored(first, duplicate=True)
        kept = self._messages[message.queue_id] = _Kept(message)
        kept.history.append(HistoryEntry(now, 0, "accepted"))
        new = self._add_deliveries(kept, message, 0, message.plans, now, 1, message.arrived, reservation)
        self._fingerprints[message.fingerprint] = (message.queue_id, now)
        return store_result(message, new)

    def _nothing_sent(self, queue_id: str) -> bool:
        kept = self._messages.get(queue_id)
        states = {each.delivery.state for each in kept.entries.values()} if kept else set()
        return bool(states) and states <= {State.FAILED, State.DROPPED}

    def _unsent(self, queue_id: str) -> bool:
        return all(each.delivery.state in _NEVER_SENT for each in self._messages[queue_id].entries.values())

    def _add_deliveries(
        self,
        kept: _Kept,
        message: Message,
        offset: int,
        plans: Sequence[Plan],
        now: float,
        first: int,
        due: float,
        reservation: Reservation | None = None,
    ) -> list[tuple[NewDelivery, Claim | None]]:
        numbered = tuple(enumerate(plans, offset))
        fresh = new_deliveries(message, numbered, first, due)
        checked = hold_duplicates_of(
            message, fresh, lambda each: self._earlier_message(message.queue_id, each.digests, now)
        )
        new = list(claim_at_once(checked, reservation, now, new_token))
        for each, claim in new:
            entry = kept.entries[each.delivery.number] = _Entry(each.delivery, each.digests, now)
            if claim is not None:
                entry.token, entry.lease = claim.token, claim.lease
            for digest in each.digests:
                self._documents[digest, message.queue_id, each.delivery.number] = now
        kept.history.extend(first_events((each for each, _ in new), now))
        kept.terms |= terms_of(message, numbered)
        return new

    def _earlier_message(self, own: str, digests: Mapping[str, Sameness], now: float) -> EarlierMessage | None:
        found = [
            (at, queue_id)
            for (digest, queue_id, number), at in self._documents.items()
            if digest in digests and queue_id != own and now - at < self._windows.documents
            if not self._gone(queue_id, number)
        ]
        if not found:
            return None
        first = min(found)[1]
        return EarlierMessage(
            first, {digest for digest, queue_id, _ in self._documents if digest in digests and queue_id == first}
        )

    def _gone(self, queue_id: str, number: int) -> bool:
        kept = self._messages.get(queue_id)
        return kept is not None and kept.entries[number].delivery.state in (State.FAILED, State.DROPPED)

    def _entries(self) -> Iterable[_Entry]:
        return (entry for kept in self._messages.values() for entry in kept.entries.values())

    async def claim(
        self, now: float, lease: float, limit: int, room: Mapping[str, int] = UNLIMITED, *, unconfirmed: bool = False
    ) -> tuple[Claim, ...]:
        if unconfirmed:
            return self._claim_unconfirmed(now, lease, limit, room)
        for entry in self._entries():
            entry.delivery = clamp_next_attempt(entry.delivery, now, self.ceiling)
        due = [each for each in self._entries() if (at := each.delivery.next_attempt) is not None and at <= now]
        fresh = [each for each in due if each.delivery.state is State.QUEUED]
        share = newest_share(self._turn, limit)
        self._turn += limit
        by_arrival = sorted(enumerate(fresh), key=lambda item: (item[1].delivery.arrived, item[0]), reverse=True)
        chosen_for: Counter[str] = Counter()
        newest = _fitting([each for _, each in by_arrival], share, limit, room, chosen_for)
        rest = sorted((each for each in due if each not in newest), key=lambda each: each.delivery.next_attempt or 0.0)
        oldest = _fitting(rest, limit - len(newest), limit, room, chosen_for)
        claims = [self._claim(each, now, lease) for each in oldest + newest]
        return tuple(each for each in claims if each is not None)

    def _claim_unconfirmed(self, now: float, lease: float, limit: int, room: Mapping[str, int]) -> tuple[Claim, ...]:
        expired = [each for each in self._entries() if each.delivery.state is State.ACTIVE and each.lease <= now]
        held = [each for each in expired if each.delivery.unconfirmed_attempts >= MAX_UNCONFIRMED_ATTEMPTS]
        rest = sorted(
            (each for each in expired if each not in held),
            key=lambda each: (each.delivery.unconfirmed_attempts, each.lease),
        )
        chosen = _fitting(rest, limit, limit, room, Counter()) + held
        return tuple(claim for each in chosen if (claim := self._claim(each, now, lease)) is not None)

    def _claim(self, entry: _Entry, now: float, lease: float) -> Claim | None:
        unconfirmed = entry.delivery.state is State.ACTIVE
        entry.delivery, entry.changed = after_claim(entry.delivery, now), now
        if entry.delivery.state is not State.ACTIVE:
            entry.token = None
            self._messages[entry.delivery.queue_id].history.append(
                HistoryEntry(now, entry.delivery.number, "attempt_unconfirmed")
            )
            return None
        entry.token, entry.lease = new_token(), now + lease
        return Claim(entry.delivery, entry.token, entry.lease, unconfirmed)

    def _held_by(self, claim: Claim) -> _Entry | None:
        kept = self._messages.get(claim.delivery.queue_id)
        entry = kept.entries.get(claim.delivery.number) if kept else None
        return entry if entry is not None and entry.token == claim.token else None

    async def begin_attempt(self, claim: Claim) -> bool:
        entry = self._held_by(claim)
        if entry is not None:
            entry.delivery = after_attempt_start(entry.delivery)
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
        entry.delivery, entry.token, entry.changed = after_settlement(entry.delivery, transition), None, now
        kept = self._messages[claim.delivery.queue_id]
        kept.history.append(HistoryEntry(now, claim.delivery.number, transition.event, transition.reply))
        for message in follow_ups:
            self._store(message, now)
        return True

    async def load(self, queue_id: str) -> Message | None:
        kept = self._messages.get(queue_id)
        return kept.message if kept else None

    async def next_due(self, full: Collection[str] = ()) -> float | None:
        now = self._clock()
        open_ = [each for each in self._entries() if each.delivery.destination not in full]
        times = [at for each in open_ if (at := each.delivery.next_attempt) is not None]
        if times and max(times) > latest_next_attempt(now, self.ceiling):
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
            and (query.term is None or self._named(delivery, normalized_term(query.term)))
        )

    def _named(self, delivery: Delivery, term: str) -> bool:
        terms = self._messages[delivery.queue_id].terms
        return term in (delivery.queue_id, delivery.dossier) or bool({(term, -1), (term, delivery.plan)} & terms)

    async def show(self, queue_id: str) -> Record | None:
        kept = self._messages.get(queue_id)
        if kept is None:
            return None
        deliveries = tuple(kept.entries[number].delivery for number in sorted(kept.entries))
        return Record(kept.message, deliveries, tuple(kept.history))

    async def apply_action(
        self, queue_id: str, number: int | None, action: OperatorAction, now: float
    ) -> tuple[Delivery, ...]:
        kept, changed = self._messages.get(queue_id), []
        for each in kept.entries.values() if kept else ():
            if (
                number in (None, each.delivery.number)
                and (after := after_action(each.delivery, action, now)) is not None
            ):
                each.delivery, each.changed = after, now
                changed.append(after)
                self._acted(
                    queue_id, HistoryEntry(now, after.number, ACTION_EVENTS[action.verb], action.text, action.by)
                )
        return tuple(changed)

    async def replan(
        self, queue_id: str, plans: Sequence[Plan], action: OperatorAction, now: float
    ) -> tuple[Delivery, ...]:
        kept = self._messages.get(queue_id)
        if kept is None or not plans:
            return ()
        stay = {n: each for n, each in kept.entries.items() if each.delivery.state in KEPT_BY_REPLAN}
        fresh = tuple(not_yet_sent(plans, kept.message.plans, (each.delivery for each in stay.values())))
        first = max(kept.entries, default=0) + 1
        for number in kept.entries.keys() - stay.keys():
            self._forget(queue_id, number)
        before = len(kept.message.plans)
        kept.message = replace(kept.message, plans=kept.message.plans + fresh)
        kept.entries = stay
        self._acted(queue_id, HistoryEntry(now, 0, "replanned", action.text, action.by))
        return tuple(
            each.delivery for each, _ in self._add_deliveries(kept, kept.message, before, fresh, now, first, now)
        )

    def _acted(self, queue_id: str, event: HistoryEntry) -> None:
        self._messages[queue_id].history.append(event)
        if event.by:
            number = max(self._actions, default=0) + 1
            self._actions[number] = RecordedAction(number, queue_id, event)

    async def operator_actions(self, limit: int = 100) -> tuple[RecordedAction, ...]:
        return tuple(self._actions.values())[:limit]

    async def operator_actions_logged(self, ids: Collection[int]) -> None:
        for each in ids:
            self._actions.pop(each, None)

    async def record_bounce(self, queue_id: str, number: int, text: str, now: float, *, failed: bool) -> bool:
        kept = self._messages.get(queue_id)
        if kept is None or number not in kept.entries:
            return False
        entry = kept.entries[number]
        if failed and (after := after_bounce(entry.delivery, text)) != entry.delivery:
            entry.delivery, entry.changed = after, now
        kept.history.append(HistoryEntry(now, number, "bounce_received", text))
        return True

    async def store_notifications(
        self, about: Sequence[tuple[Delivery, str]], messages: Sequence[Message], now: float
    ) -> None:
        for each, kind in about:
            if (kept := self._messages.get(each.queue_id)) and (entry := kept.entries.get(each.number)):
                entry.delivery = replace(entry.delivery, reported=entry.delivery.reported | {kind})
                kept.history.append(HistoryEntry(now, each.number, "notification_queued", kind))
        for message in messages:
            self._store(message, now)

    async def secret(self) -> bytes:
        return self._secret

    async def purge(self, before: float, limit: int = 100, *, withheld: float | None = None) -> int:
        by_arrival = sorted(self._messages.items(), key=lambda item: item[1].message.arrived)
        over = [queue_id for queue_id, kept in by_arrival if _ended(kept, before, withheld)][:limit]
        for queue_id in over:
            for number in self._messages[queue_id].entries:
                if self._messages[queue_id].entries[number].delivery.state in _NEVER_SENT:
                    self._forget(queue_id, number)
            fingerprint = self._messages[queue_id].message.fingerprint
            if self._unsent(queue_id) and self._fingerprints.get(fingerprint, ("", 0.0))[0] == queue_id:
                del self._fingerprints[fingerprint]
            del self._messages[queue_id]
        now = self._clock()
        self._fingerprints = {
            key: each for key, each in self._fingerprints.items() if now - each[1] < self._windows.resubmission
        }
        self._documents = {key: at for key, at in self._documents.items() if now - at < self._windows.documents}
        return len(over)

    def _forget(self, queue_id: str, number: int) -> None:
        for digest in self._messages[queue_id].entries[number].digests:
            self._documents.pop((digest, queue_id, number), None)

    async def stats(self) -> Stats:
        every = [each.delivery for each in self._entries()]
        waits = [each.arrived for each in every if each.state in (State.QUEUED, State.ACTIVE, State.DEFERRED)]
        held = Counter(str(each.reason or "") for each in every if each.state in (State.HELD, State.WITHHELD))
        octets = sum(len(kept.message.raw) for kept in self._messages.values())
        return Stats(dict(Counter(each.state for each in every)), dict(held), min(waits, default=None), octets)

    async def period_statistics(self, since: float, until: float) -> Mapping[str | None, PeriodStatistics]:
        tallies = StatisticsBuilder()
        for kept in self._messages.values():
            deliveries = [each.delivery for each in kept.entries.values() if not each.delivery.generated]
            if since <= kept.message.arrived < until:
                tallies.add(kept.message.plans, deliveries)
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


def _ended(kept: _Kept, before: float, withheld: float | None) -> bool:
    def ended(each: _Entry) -> bool:
        if each.delivery.state is State.WITHHELD:
            return withheld is not None and each.changed < withheld
        return each.delivery.state.final and each.changed < before

    latest_end = before if withheld is None else max(before, withheld)
    return kept.message.arrived < latest_end and all(ended(each) for each in kept.entries.values())


def _fitting(
    entries: Iterable[_Entry], most: int, limit: int, room: Mapping[str, int], chosen_for: Counter[str]
) -> list[_Entry]:
    """The first `most` that find room at their destination; counted in `chosen_for`."""
    found: list[_Entry] = []
    for each in entries:
        destination = each.delivery.destination
        if len(found) < most and chosen_for[destination] < room.get(destination, limit):
            chosen_for[destination] += 1
            found.append(each)
    return found
