"""Whatever the figures: the state machine ends, never early, and never far ahead."""

from hypothesis import given
from hypothesis import strategies as st

from relay.lifecycle import after_claim, after_settlement, latest_next_attempt, step
from relay.model import Delivery, Retry, State
from relay.replies import Deferred, OutcomeUnknown, Reply, Stage

BUSY = Reply(451, "4.3.0", "busy")
retries = st.builds(
    Retry,
    first=st.floats(1, 1e5),
    factor=st.floats(1, 100),
    ceiling=st.floats(60, 1e5),
    warn_after=st.floats(0, 1e6),
    give_up=st.floats(0, 1e6),
    attempts=st.integers(1, 20),
)
outcomes = st.sampled_from([Deferred(BUSY, Stage.DATA), OutcomeUnknown(BUSY)])


def fresh(arrived: float) -> Delivery:
    return Delivery("Q", 1, 0, "a@x", State.QUEUED, arrived, arrived)


@given(retries, outcomes, st.integers(0, 10**6), st.floats(0, 0.999), st.floats(-1e7, 1e7))
def test_the_next_attempt_is_ahead_but_never_too_far(
    retry: Retry, outcome: Deferred | OutcomeUnknown, attempts: int, jitter: float, shift: float
) -> None:
    now = 1e9 + shift
    active = Delivery("Q", 1, 0, "a@x", State.ACTIVE, 1e9, None, attempts=attempts)
    made = step(active, outcome, now, retry, jitter)
    if made.next_attempt is None:
        assert made.state is State.FAILED
    else:
        assert now < made.next_attempt <= latest_next_attempt(now, retry.ceiling) + 1e-3


@given(retries, st.lists(st.tuples(outcomes, st.floats(0, 0.999), st.floats(0, 1e6)), min_size=1, max_size=60))
def test_giving_up_comes_after_the_time_and_the_attempts_and_late_at_most_once(
    retry: Retry, story: list[tuple[Deferred | OutcomeUnknown, float, float]]
) -> None:
    delivery, reports = fresh(1e9), []
    for outcome, jitter, delay in story:
        if delivery.next_attempt is None:
            break
        now = delivery.next_attempt + delay
        made = step(after_claim(delivery, now), outcome, now, retry, jitter)
        delivery = after_settlement(after_claim(delivery, now), made)
        reports.append(made.report)
        if made.state is State.FAILED:
            assert now - delivery.arrived > retry.give_up
            assert delivery.attempts >= retry.attempts
    assert reports.count("late") <= 1
    assert reports.count("failed") == (delivery.state is State.FAILED)
