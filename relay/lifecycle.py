"""The state machine of a delivery: what an outcome or an operator's action makes of it; the back-off between attempts.

Pure and total: every state and outcome has a result.

Event names are those of relay.observability.events.
"""

from dataclasses import dataclass, replace
from functools import cache

from relay.model import Delivery, OperatorAction, Retry, State
from relay.reasons import Detail, Reason
from relay.replies import Deferred, Delivered, Failed, Outcome, OutcomeUnknown, Reply

JITTER = 0.2
"""Share of the back-off by which a next attempt is moved, up or down, so that a thousand deferred messages are not
due at one instant."""

MAX_UNCONFIRMED_ATTEMPTS = 3
"""Crashes in a row, each while the delivery was attempted alone, after which it is held. More than one, because a crash
at that moment may have had another cause."""

_MOST_ATTEMPTS = 1000
"""At most so many attempts are required before giving up, however dense the schedule."""

_WAITING = frozenset({State.QUEUED, State.DEFERRED})


@dataclass(frozen=True, slots=True)
class Transition:
    """What settles a claim. `event`: name of the history line; `report`: to send, failed | late | delivered.

    attempted: False when the claim was given back before the attempt began; it does not count then.
    """

    state: State
    next_attempt: float | None
    reply: str
    event: str
    reason: Reason | None = None
    detail: str = ""
    report: str | None = None
    attempted: bool = True


def step(delivery: Delivery, outcome: Outcome, now: float, retry: Retry, jitter: float = 0.0) -> Transition:
    """The transition that `outcome` (of an attempt that ended at `now`) makes. `jitter` in [0, 1), drawn at random.

    Only an active delivery changes. In any other state its claim was lost meanwhile, and the transition leaves it as it
    is; the event still says what the outcome was.
    """
    if delivery.state is not State.ACTIVE:
        return Transition(
            delivery.state,
            delivery.next_attempt,
            delivery.last_reply,
            _event(outcome),
            delivery.reason,
            delivery.detail,
        )
    match outcome:
        case Delivered(reply):
            return Transition(State.DELIVERED, None, str(reply), "delivered")
        case Failed(reply):
            return _failed(delivery, reply, str(reply))
        case Deferred(reply) | OutcomeUnknown(reply):
            if _give_up(delivery, now, retry):
                return _failed(delivery, reply, _gave_up(delivery, now, reply))
            due = now + backoff(retry, delivery.attempts, jitter)
            report = "late" if _late(delivery, now, retry) else None
            return Transition(State.DEFERRED, due, str(reply), _event(outcome), report=report)


def backoff(retry: Retry, attempts: int, jitter: float = 0.0) -> float:
    """Seconds until the attempt after the `attempts`-th: first * factor^(attempts - 1), at most the ceiling, moved by
    up to JITTER of itself. `jitter` 0 moves nothing, below 0.5 later, from 0.5 on earlier."""
    delay = min(retry.first, retry.ceiling)
    for _ in range(attempts - 1):
        if delay >= retry.ceiling or retry.factor <= 1:
            break
        delay = min(delay * retry.factor, retry.ceiling)
    share = 2 * jitter if jitter < 0.5 else 2 * jitter - 2
    return delay * (1 + JITTER * share)


@cache
def minimum_attempts(retry: Retry) -> int:
    """Attempts before giving up: `retry.attempts`, and half of what the schedule makes in `retry.give_up`.

    So neither a clock that jumped days ahead nor a relay that was off for days ends a message that was hardly tried.
    """
    made, elapsed = 1, 0.0
    while made < 2 * _MOST_ATTEMPTS and (elapsed := elapsed + max(backoff(retry, made), 1.0)) < retry.give_up:
        made += 1
    return max(retry.attempts, made // 2)


def latest_next_attempt(now: float, ceiling: float) -> float:
    """The latest time a next attempt can have; a later one was written before the clock was set back."""
    return now + ceiling * (1 + JITTER)


def clamp_next_attempt(delivery: Delivery, now: float, ceiling: float) -> Delivery:
    """`delivery`; a next attempt that is too late because the clock was set back becomes `now + ceiling` (seconds)."""
    due = delivery.next_attempt
    if delivery.state not in _WAITING or due is None or due <= latest_next_attempt(now, ceiling):
        return delivery
    return replace(delivery, next_attempt=now + ceiling)


def after_claim(delivery: Delivery, now: float) -> Delivery:
    """What a claim at `now` makes of a due delivery: active.

    One that is active already is unconfirmed: an earlier claim never settled. That claim and this one are one attempt,
    for most claims that a crash ends were never sent. It is held after MAX_UNCONFIRMED_ATTEMPTS (see
    `after_attempt_start`).
    """
    if delivery.state is not State.ACTIVE:
        first = now if delivery.first_attempt is None else delivery.first_attempt
        attempts = delivery.attempts + 1
        return replace(delivery, state=State.ACTIVE, next_attempt=None, attempts=attempts, first_attempt=first)
    if delivery.unconfirmed_attempts < MAX_UNCONFIRMED_ATTEMPTS:
        return delivery
    detail = str(delivery.unconfirmed_attempts)
    return replace(delivery, state=State.HELD, next_attempt=None, reason=Reason.UNSETTLED, detail=detail)


def after_attempt_start(delivery: Delivery) -> Delivery:
    """An unconfirmed delivery whose message is read and sent next, alone: a crash from now on counts against it."""
    return replace(delivery, unconfirmed_attempts=delivery.unconfirmed_attempts + 1)


def return_unattempted(delivery: Delivery, now: float, reply: Reply) -> Transition:
    """A claim that was not attempted: due at once."""
    return Transition(State.DEFERRED, now, str(reply), "deferred", attempted=False)


def after_settlement(delivery: Delivery, transition: Transition) -> Delivery:
    """What `transition` makes of the active `delivery`."""
    reported = delivery.reported | {transition.report} if transition.report else delivery.reported
    return replace(
        delivery,
        attempts=delivery.attempts if transition.attempted else max(0, delivery.attempts - 1),
        state=transition.state,
        next_attempt=transition.next_attempt,
        last_reply=transition.reply,
        reason=transition.reason,
        detail=transition.detail,
        unconfirmed_attempts=0,
        reported=reported,
    )


def after_bounce(delivery: Delivery, text: str) -> Delivery:
    """What a bounce received later makes of `delivery`: a delivered one is failed; others stay as they are."""
    if delivery.state is not State.DELIVERED:
        return delivery
    return replace(delivery, state=State.FAILED, last_reply=text, detail=text)


def after_action(delivery: Delivery, action: OperatorAction, now: float) -> Delivery | None:
    """What an operator's action makes of `delivery`, or None when it does not apply to its state.

    hold: queued, deferred -> held. release: held, withheld with a recipient -> queued, due now. retry: deferred -> due
    now, failed -> queued. drop: all but active, delivered and dropped -> dropped. What is released, or retried after a
    failure, starts anew: its attempts are counted from 0, so one more 4xx does not end it. Raises ValueError for
    another verb.
    """
    match action.verb:
        case "hold":
            detail = str(Detail("operator", {"text": action.text})) if action.text else ""
            held = replace(delivery, state=State.HELD, next_attempt=None, reason=Reason.BY_OPERATOR, detail=detail)
            return held if delivery.state in _WAITING else None
        case "release":
            kept = delivery.state in (State.HELD, State.WITHHELD) and delivery.recipient is not None
            return _anew(delivery, now) if kept else None
        case "retry":
            if delivery.state is State.DEFERRED:
                return replace(delivery, next_attempt=now)
            return _anew(delivery, now) if delivery.state is State.FAILED else None
        case "drop":
            if delivery.state in (State.ACTIVE, State.DELIVERED, State.DROPPED):
                return None
            return replace(delivery, state=State.DROPPED, next_attempt=None)
        case verb:
            raise ValueError(f"unknown order {verb!r}")


def _anew(delivery: Delivery, now: float) -> Delivery:
    return replace(
        delivery,
        state=State.QUEUED,
        next_attempt=now,
        attempts=0,
        unconfirmed_attempts=0,
        reason=None,
        detail="",
        reported=frozenset(),
    )


def _event(outcome: Outcome) -> str:
    match outcome:
        case Delivered():
            return "delivered"
        case Failed():
            return "failed"
        case Deferred():
            return "deferred"
        case OutcomeUnknown():
            return "outcome_unknown"


def _failed(delivery: Delivery, reply: Reply, detail: str) -> Transition:
    report = None if delivery.generated else "failed"
    return Transition(State.FAILED, None, str(reply), "failed", detail=detail, report=report)


def _give_up(delivery: Delivery, now: float, retry: Retry) -> bool:
    """Both must hold: a clock that jumps ahead ages every message at once, but makes no attempt."""
    return now - delivery.arrived > retry.give_up and delivery.attempts >= minimum_attempts(retry)


def _gave_up(delivery: Delivery, now: float, reply: Reply) -> str:
    hours = round((now - delivery.arrived) / 3600)
    return str(Detail("gave_up", {"attempts": delivery.attempts, "hours": hours, "reply": str(reply)}))


def _late(delivery: Delivery, now: float, retry: Retry) -> bool:
    return now - delivery.arrived > retry.warn_after and "late" not in delivery.reported and not delivery.generated
