"""One request to a worker as the pool keeps it: what is sent, how its answer is read, and what went wrong so far."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from relay.checker.directory_transfer import SentDirectory
from relay.checker.document_transfer import CRASHED, TIMEOUT
from relay.checker.frames import Answer
from relay.inspection import Octets
from relay.observability.events import Restart

T = TypeVar("T")

RULES = {Restart.TIMEOUT: TIMEOUT, Restart.CRASHED: CRASHED, Restart.FALSE_ANSWER: CRASHED}
"""Rule of the finding on a document that a worker could not finish."""


class CheckerOverloaded(Exception):
    """Too much waits for a worker already, or none can be started: try later (451 4.3.2)."""


class CheckFailed(Exception):
    """No worker could answer, not even with this request alone: cause says how the last of them ended."""

    def __init__(self, cause: Restart) -> None:
        super().__init__(cause.value)
        self.cause = cause

    @property
    def rule(self) -> str:
        """Of the finding on what could not be read."""
        return RULES[self.cause]


MAX_GIVEN_UP = 4
"""Documents of one message at which a worker ended: with more of them the message is given up as a whole."""


@dataclass(eq=False, slots=True)
class Request(Generic[T]):
    """header: sent with `contents`. read: the value in an answer; raises ValueError when the answer cannot be true.
    queue_id: of the message, "" where there is none.

    directory: the one that the request names. apart: it travels by itself, for it was beside one that did harm, or did
    it itself. failures: workers that ended at it. given_up: documents (by index) at which they ended while it was by
    itself, with the rule of the finding: they are not looked at again.
    """

    header: dict[str, Any]
    contents: Sequence[Octets]
    read: Callable[[Answer], T]
    future: asyncio.Future[T]
    since: float
    directory: SentDirectory | None = None
    queue_id: str = ""
    apart: bool = False
    failures: int = 0
    given_up: dict[int, str] = field(default_factory=dict)

    @property
    def octets(self) -> int:
        """Of its contents."""
        return sum(map(len, self.contents))

    @property
    def done(self) -> bool:
        """It was answered, or nobody waits for it any more."""
        return self.future.done()

    def sent_header(self) -> dict[str, Any]:
        """The header as it is sent now."""
        header = self.header
        if self.directory is not None:
            header = header | {"directory": self.directory.number}
        if self.given_up:
            header = header | {"given_up": {str(index): rule for index, rule in self.given_up.items()}}
        return header

    def try_again(self, cause: Restart, document: int) -> bool:
        """A worker ended at it: can it be asked again? By itself; then without the document at which it ended.

        document: index, -1 outside of any.
        """
        self.apart = True
        self.failures += 1
        if self.failures == 1:
            return True
        if document < 0 or document in self.given_up or len(self.given_up) >= MAX_GIVEN_UP:
            return False
        self.given_up[document] = RULES[cause]
        return True
