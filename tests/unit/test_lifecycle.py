"""The state machine: every state, every outcome, every order."""

from dataclasses import replace

import pytest

from relay.lifecycle import (
    JITTER,
    MAX_UNCONFIRMED_ATTEMPTS,
    after_action,
    after_attempt_start,
    after_claim,
    after_settlement,
    backoff,
    clamp_next_attempt,
    latest_next_attempt,
    minimum_attempts,
    return_unattempted,
    step,
)
from relay.model import Delivery, OperatorAction, Retry, State
from relay.observability.event_names import EventName
from relay.reasons import Reason, describe
from relay.replies import Deferred, Delivered, Failed, Outcome, OutcomeUnknown, Reply, Stage

NOW = 1_000_000.0
DAY = 86400.0
RETRY = Retry()
OK, NO, BUSY = Reply(250, "2.0.0", "ok"), Reply(550, "5.1.1", "no such user"), Reply(451, "4.3.0", "busy")
OUTCOMES: tuple[Outcome, ...] = (
    Delivered(OK),
    Failed(NO, Stage.RCPT),
    Deferred(BUSY, Stage.CONNECT),
    Deferred(BUSY, Stage.AUTH, alert=True),
    OutcomeUnknown(BUSY),
)


def delivery(**fields: object) -> Delivery:
    values: dict[str, object] = {
        "queue_id": "Q",
        "number": 1,
        "plan": 0,
        "recipient": "a@x",
        "state": State.ACTIVE,
        "arrived": NOW,
        "next_attempt": None,
        "attempts": 1,
        **fields,
    }
    return Delivery(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_state_answers_every_outcome(state: State, outcome: Outcome) -> None:
    given = delivery(state=state, next_attempt=5.0, reason=Reason.NO_ADDRESS, last_reply="before")
    made = step(given, outcome, NOW, RETRY)
    assert made.event in set(EventName)
    if state is not State.ACTIVE:
        left = (given.state, given.next_attempt, given.last_reply, given.reason, None)
        assert (made.state, made.next_attempt, made.reply, made.reason, made.report) == left
    else:
        assert made.state in (State.DELIVERED, State.FAILED, State.DEFERRED)
        assert (made.next_attempt is None) == made.state.final
        assert made.reply == str(outcome.reply)


@pytest.mark.parametrize(
    ("outcome", "state", "event", "report"),
    [
        (Delivered(OK), State.DELIVERED, "delivered", None),
        (Failed(NO, Stage.RCPT), State.FAILED, "failed", "failed"),
        (Deferred(BUSY, Stage.DNS), State.DEFERRED, "deferred", None),
        (OutcomeUnknown(BUSY), State.DEFERRED, "outcome_unknown", None),
    ],
)
def test_outcomes(outcome: Outcome, state: State, event: str, report: str | None) -> None:
    made = step(delivery(), outcome, NOW, RETRY)
    assert (made.state, made.event, made.report) == (state, event, report)


def test_backing_off_doubles_up_to_the_ceiling() -> None:
    assert [backoff(RETRY, attempts) for attempts in range(1, 9)] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert backoff(RETRY, 10**9) == 3600
    assert backoff(Retry(first=9999, ceiling=10), 1) == 10
    assert backoff(Retry(factor=1.0), 10**9) == 60


@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.499, 0.5, 0.9, 0.999])
def test_jitter_moves_both_ways_by_its_share(jitter: float) -> None:
    assert abs(backoff(RETRY, 1, jitter) - 60) <= 60 * JITTER
    assert (backoff(RETRY, 1, jitter) >= 60) == (jitter < 0.5)


def test_giving_up_needs_time_and_attempts() -> None:
    def after(age: float, attempts: int) -> State:
        return step(delivery(arrived=NOW - age, attempts=attempts), OUTCOMES[2], NOW, RETRY).state

    assert after(5 * DAY - 1, 500) is State.DEFERRED
    assert after(5 * DAY + 1, minimum_attempts(RETRY) - 1) is State.DEFERRED
    assert after(5 * DAY + 1, minimum_attempts(RETRY)) is State.FAILED


def test_the_least_attempts_are_half_of_the_schedule_or_what_is_asked() -> None:
    assert minimum_attempts(RETRY) == 62  # 6 in the first hour, then one an hour for five days: 125
    assert minimum_attempts(Retry(give_up=1.0)) == 5
    assert minimum_attempts(Retry(first=0.0, ceiling=0.0, give_up=1e9)) == 1000


def test_giving_up_says_why() -> None:
    made = step(delivery(arrived=NOW - 6 * DAY, attempts=90), OUTCOMES[2], NOW, RETRY)
    assert (made.event, made.report) == ("failed", "failed")
    assert describe(made.detail) == "gave up after 90 attempts in 144 h; the last answer was: 451 4.3.0 busy"


def test_a_clock_six_days_ahead_bounces_nothing_at_the_first_attempt() -> None:
    made = step(delivery(attempts=2), OUTCOMES[2], NOW + 6 * DAY, RETRY)
    assert (made.state, made.report) == (State.DEFERRED, "late")


def test_late_is_reported_once() -> None:
    late = delivery(arrived=NOW - 5 * 3600)
    assert step(late, OUTCOMES[2], NOW, RETRY).report == "late"
    assert step(replace(late, reported=frozenset({"late"})), OUTCOMES[2], NOW, RETRY).report is None


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_nothing_is_reported_about_our_own_reports(outcome: Outcome) -> None:
    assert step(delivery(generated=True, arrived=0.0, attempts=99), outcome, NOW, RETRY).report is None


@pytest.mark.parametrize(
    ("verb", "states", "after"),
    [
        ("hold", {State.QUEUED, State.DEFERRED}, State.HELD),
        ("release", {State.HELD, State.WITHHELD}, State.QUEUED),
        ("drop", {State.QUEUED, State.DEFERRED, State.FAILED, State.HELD, State.WITHHELD}, State.DROPPED),
    ],
)
def test_orders(verb: str, states: set[State], after: State) -> None:
    changed = {state: after_action(delivery(state=state), OperatorAction(verb), NOW) for state in State}
    assert {state for state, made in changed.items() if made} == states
    assert {made.state for made in changed.values() if made} == {after}


def test_retry_is_due_now() -> None:
    deferred = after_action(
        delivery(state=State.DEFERRED, next_attempt=NOW + 9, attempts=7), OperatorAction("retry"), NOW
    )
    failed = after_action(
        delivery(state=State.FAILED, attempts=7, reported=frozenset({"failed"})), OperatorAction("retry"), NOW
    )
    assert deferred and (deferred.state, deferred.next_attempt, deferred.attempts) == (State.DEFERRED, NOW, 7)
    assert failed and (failed.state, failed.next_attempt, failed.attempts) == (State.QUEUED, NOW, 0)
    assert failed.reported == frozenset()
    unmoved = (State.QUEUED, State.ACTIVE, State.DELIVERED, State.HELD, State.WITHHELD, State.DROPPED)
    assert [after_action(delivery(state=state), OperatorAction("retry"), NOW) for state in unmoved] == [None] * 6


def test_what_has_no_recipient_is_not_released() -> None:
    assert after_action(delivery(state=State.HELD, recipient=None), OperatorAction("release"), NOW) is None


def test_an_unknown_order() -> None:
    with pytest.raises(ValueError, match="burn"):
        after_action(delivery(), OperatorAction("burn"), NOW)


def test_claims_that_never_settled_and_never_began_are_one_attempt() -> None:
    first = after_claim(delivery(state=State.QUEUED, attempts=0), NOW)
    again = first
    for second in range(50):
        again = after_claim(again, NOW + second)
    assert again == first
    assert (first.attempts, first.unconfirmed_attempts, first.first_attempt) == (1, 0, NOW)


def test_an_unconfirmed_delivery_begun_alone_three_times_is_held_at_the_next_claim() -> None:
    each = after_claim(delivery(state=State.QUEUED, attempts=0), NOW)
    for _ in range(MAX_UNCONFIRMED_ATTEMPTS):
        each = after_attempt_start(after_claim(each, NOW))
    assert each.state is State.ACTIVE
    held = after_claim(each, NOW)
    assert (held.state, held.reason, held.detail, held.attempts) == (State.HELD, Reason.UNSETTLED, "3", 1)


def test_a_claim_given_back_is_due_at_once_and_no_attempt() -> None:
    active = after_claim(delivery(state=State.QUEUED, attempts=2), NOW)
    after = after_settlement(active, return_unattempted(active, NOW + 1, Reply(451, "4.3.2", "stopped")))
    assert (after.state, after.next_attempt, after.attempts) == (State.DEFERRED, NOW + 1, 2)


def test_a_clock_set_back_is_clamped() -> None:
    far = delivery(state=State.DEFERRED, next_attempt=NOW + DAY)
    assert clamp_next_attempt(far, NOW, 3600).next_attempt == NOW + 3600
    near = replace(far, next_attempt=latest_next_attempt(NOW, 3600))
    assert clamp_next_attempt(near, NOW, 3600) == near
    assert clamp_next_attempt(replace(far, state=State.HELD), NOW, 3600).next_attempt == NOW + DAY
