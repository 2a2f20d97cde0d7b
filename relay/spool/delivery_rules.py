"""What a message becomes in the spool, as values, and the statistics of a period. Shared by all engines, so that
they cannot disagree."""

import hashlib
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from relay.inspection import Severity, Verdict
from relay.lifecycle import after_claim
from relay.model import Claim, Delivery, Disposition, HistoryEntry, Message, Plan, Sameness, State
from relay.reasons import DAMAGED, Reason, copy_of, reason_text
from relay.spool.port import PeriodStatistics, Reservation, Stored

WHOLE_MESSAGE = -1
"""In place of a plan's index: the term finds every delivery of the message."""

KEPT_BY_REPLAN = frozenset({State.ACTIVE, State.DELIVERED, State.FAILED, State.DROPPED})
"""Deliveries that a replan leaves as they are."""

ACTION_EVENTS = {"hold": "held", "release": "released", "retry": "retried", "drop": "dropped"}
"""The event an order leaves in the history."""

_LIVE = frozenset({State.QUEUED, State.ACTIVE, State.DEFERRED})


class NewDelivery(NamedTuple):
    """One new delivery with the digests by which its documents are known again at this address."""

    delivery: Delivery
    digests: Mapping[str, Sameness]


class EarlierMessage(NamedTuple):
    """Where a new delivery's documents were first: a queue id, and which of their digests it has."""

    queue_id: str
    digests: Collection[str]


FindEarlierMessage = Callable[[NewDelivery], EarlierMessage | None]
"""The first other message that has one of a new delivery's documents or invoices, or None."""


def newest_share(turn: int, limit: int) -> int:
    """How many of the next `limit` claims, after `turn` of them, go to the newest arrivals: one in four."""
    return (turn + limit) // 4 - turn // 4


def new_token() -> str:
    """What fences a claim off from every other, before and after it."""
    return secrets.token_hex(16)


def hold_unreadable(delivery: Delivery) -> Delivery | None:
    """The delivery of a message that cannot be read: held, or None when it is over anyway."""
    if delivery.state.final:
        return None
    return replace(delivery, state=State.HELD, next_attempt=None, reason=Reason.MALFORMED_MAIL, detail=DAMAGED)


def new_deliveries(
    message: Message, plans: Iterable[tuple[int, Plan]], first_number: int, due: float
) -> Iterator[NewDelivery]:
    """The deliveries of `plans` (index, plan) of `message`, numbered from `first_number`, due at `due`."""
    number = first_number
    for index, plan in plans:
        for recipient in plan.to or (None,):
            digests = digests_of(plan, recipient)
            state, reason, detail = _initial(plan, recipient)
            delivery = Delivery(
                queue_id=message.queue_id,
                number=number,
                plan=index,
                recipient=recipient,
                state=state,
                arrived=message.arrived,
                next_attempt=due if state is State.QUEUED else None,
                reason=reason,
                detail=detail,
                size=len(message.raw) - sum(cut.end - cut.start for cut in plan.cuts) + len(plan.prepend),
                firm=plan.firm,
                dossier=plan.dossier,
                destination=plan.destination,
                smarthost=plan.smarthost,
                generated=message.generated,
            )
            yield NewDelivery(delivery, digests)
            number += 1


def hold_duplicates_of(
    message: Message, new: Iterable[NewDelivery], first_holder: FindEarlierMessage
) -> Iterator[NewDelivery]:
    """Each new delivery of `message`; held when its document was there before and the message says so."""
    for each in new:
        asked = message.hold_duplicates and each.delivery.state is State.QUEUED
        first = first_holder(each) if asked else None
        yield each if first is None else each._replace(delivery=_held_as_copy(each, first))


def _held_as_copy(new: NewDelivery, first: EarlierMessage) -> Delivery:
    shared = {new.digests[each] for each in first.digests}
    surest = next(each for each in Sameness if each in shared)
    return replace(
        new.delivery,
        state=State.HELD,
        next_attempt=None,
        reason=Reason.DUPLICATE_DOCUMENT,
        detail=copy_of(first.queue_id, surest),
    )


def claim_at_once(
    new: Iterable[NewDelivery], reservation: Reservation | None, now: float, token: Callable[[], str]
) -> Iterator[tuple[NewDelivery, Claim | None]]:
    """Each new delivery, claimed if it is due and `reservation` has room for it."""
    room = Counter(reservation.room if reservation is not None else {})
    for each in new:
        delivery = each.delivery
        due = delivery.next_attempt is not None and delivery.next_attempt <= now
        if reservation is None or not due or room[delivery.destination] <= 0:
            yield each, None
            continue
        room[delivery.destination] -= 1
        active = after_claim(delivery, now)
        yield each._replace(delivery=active), Claim(active, token(), now + reservation.lease)


def store_result(message: Message, added: Iterable[tuple[NewDelivery, Claim | None]]) -> Stored:
    """The answer to `store` of a new message whose deliveries are `added`."""
    claims, held = [], []
    for each, claim in added:
        if claim is not None:
            claims.append(claim)
        elif each.delivery.reason is Reason.DUPLICATE_DOCUMENT:
            held.append(each.delivery)
    return Stored(message.queue_id, claims=tuple(claims), held=tuple(held))


def _initial(plan: Plan, recipient: str | None) -> tuple[State, Reason | None, str]:
    if plan.disposition is Disposition.WITHHOLD:
        return State.WITHHELD, plan.reason, plan.detail
    if plan.disposition is Disposition.RELAY and recipient is not None:
        return State.QUEUED, None, ""
    return State.HELD, plan.reason or (None if recipient else Reason.NO_ADDRESS), plan.detail


def digests_of(plan: Plan, recipient: str | None) -> dict[str, Sameness]:
    """Digests of each document and its address: they outlive the message, so they hold neither in clear."""
    if recipient is None:
        return {}
    address = recipient.lower()
    return {
        hashlib.sha256(f"{mark}\0{address}".encode("utf-8", "surrogateescape")).hexdigest(): sameness
        for sameness, mark in reversed(plan.marks)
    }


def terms_of(message: Message, plans: Iterable[tuple[int, Plan]]) -> frozenset[tuple[str, int]]:
    """What `trace` finds the message by, each with the index of its plan: Message-ID, invoice number, sha256, SIREN."""
    terms = {(normalized_term(message.message_id), WHOLE_MESSAGE)}
    for index, plan in plans:
        for document in plan.documents:
            report = document.report
            sirens = (*report.seller.sirens, *report.buyer.sirens)
            for term in (report.number, report.sha256, report.xml_sha256, *sirens):
                terms.add((normalized_term(term or ""), index))
    return frozenset(each for each in terms if each[0])


def normalized_term(term: str) -> str:
    """`term` as it is compared: no space or angle brackets around it."""
    return term.strip().removeprefix("<").removesuffix(">").strip()


def not_yet_sent(new: Iterable[Plan], plans: Sequence[Plan], kept: Iterable[Delivery]) -> Iterator[Plan]:
    """`new` without the addresses already answered by a delivery that stays (delivered, active, dropped).

    A document that is under way, or was given up by an operator, must not start again because its message is replanned.
    """
    answered = {
        (each.recipient.lower(), plans[each.plan].keys)
        for each in kept
        if each.recipient is not None and each.state is not State.FAILED
    }
    for plan in new:
        to = tuple(address for address in plan.to if (address.lower(), plan.keys) not in answered)
        if to or not plan.to:
            yield replace(plan, to=to)


def first_events(new: Iterable[NewDelivery], at: float) -> Iterator[HistoryEntry]:
    """The history with which new deliveries begin: only what is not to be relayed needs a line of its own."""
    for each in new:
        delivery = each.delivery
        if delivery.state not in _LIVE:
            yield HistoryEntry(at, delivery.number, str(delivery.state), reason_text(delivery.reason, delivery.detail))


@dataclass
class _Figures:
    messages: int = 0
    late: int = 0
    states: Counter[State] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)


class StatisticsBuilder:
    """Add messages of the period and what is held now; `result` gives each firm's figures."""

    def __init__(self) -> None:
        self._firms: defaultdict[str | None, _Figures] = defaultdict(_Figures)

    def add(self, plans: Sequence[Plan], deliveries: Iterable[Delivery]) -> None:
        """One message of the period. Plans that a replan has put out of use have no delivery, and do not count."""
        in_use: dict[int, str | None] = {}
        for each in deliveries:
            firm = self._firms[each.firm]
            firm.states[each.state] += 1
            firm.late += "late" in each.reported
            in_use[each.plan] = each.firm
        for key in set(in_use.values()):
            self._firms[key].messages += 1
        for index, key in in_use.items():
            if index < len(plans):
                self._firms[key].invalid.update(_broken_rules(plans[index]))

    def hold(self, firm: str | None, reason: str, count: int = 1) -> None:
        """Deliveries that are held now."""
        self._firms[firm].held[reason] += count

    def result(self) -> dict[str | None, PeriodStatistics]:
        return {
            key: PeriodStatistics(each.messages, dict(each.states), each.late, dict(each.held), dict(each.invalid))
            for key, each in self._firms.items()
        }


def _broken_rules(plan: Plan) -> list[str]:
    """Each rule once a document."""
    return [
        rule
        for document in plan.documents
        if document.report.verdict is Verdict.INVALID
        for rule in {each.rule for each in document.report.findings if each.severity is Severity.ERROR}
    ]
