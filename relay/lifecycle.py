"""The state machine of a delivery: what an outcome makes of it, and when it is tried again. Pure and total."""

from dataclasses import dataclass

from relay.model import Delivery, Retry, State
from relay.reason import Reason
from relay.reply import Outcome


@dataclass(frozen=True, slots=True)
class Transition:
    """What settles a claim. `event`: name of the history line; `report`: "failed" | "late" | None to be sent."""

    state: State
    next_attempt: float | None
    reply: str
    event: str
    reason: Reason | None = None
    detail: str = ""
    report: str | None = None


def step(delivery: Delivery, outcome: Outcome, now: float, retry: Retry, jitter: float = 0.0) -> Transition:
    """The transition that `outcome` (of an attempt that ended at `now`) makes. `jitter` in [0, 1)."""
    raise NotImplementedError
