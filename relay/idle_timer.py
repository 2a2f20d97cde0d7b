"""How long a peer is waited for: one timer a connection, moved by an assignment, not one timer for each command."""

import asyncio
from collections.abc import Callable
from math import inf


class IdleTimer:
    """`expired` is called once nothing has ended a wait in time. Seconds of the loop's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._deadline = inf
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """A wait has begun and not ended."""
        return self._deadline < inf

    def begin(self, seconds: float) -> None:
        """Begin a wait of at most `seconds`; a wait that runs is replaced."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._check)
        elif self._timer.when() > self._deadline:  # a shorter time than before, after a reload
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._check)

    def end(self) -> None:
        """What was waited for has come."""
        self._deadline = inf

    def close(self) -> None:
        """Stop for good."""
        self.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        if self._deadline <= self._loop.time():
            self._deadline = inf
            self._expired()
        elif self._deadline < inf:
            self._timer = self._loop.call_at(self._deadline, self._check)
