"""How long a peer is waited for: one timer a connection, moved by an assignment, not one for each command."""

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

    def begin(self, seconds: float) -> None:
        """Something is waited for, so long at most."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._look)
        elif self._timer.when() > self._deadline:  # the settings were read again
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._look)

    def end(self) -> None:
        """It came."""
        self._deadline = inf

    def close(self) -> None:
        """Nothing is waited for any more."""
        self.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._deadline <= self._loop.time():
            self._deadline = inf
            self._expired()
        elif self._deadline < inf:
            self._timer = self._loop.call_at(self._deadline, self._look)
