"""Heartbeats of what must show progress, and how late the event loop runs what is due."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable


class Heartbeats:
    """Named loops that promise to beat. A loop that was never expected is never missed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._within: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def expect(self, name: str, within: float) -> Callable[[], None]:
        """Watch `name`: it must beat at least every `within` seconds from now on. Answers its beat."""
        self._within[name] = within
        self._last[name] = self._clock()

        def beat() -> None:
            if name in self._within:
                self._last[name] = self._clock()

        return beat

    def forget(self, name: str) -> None:
        """`name` stopped on purpose."""
        self._within.pop(name, None)
        self._last.pop(name, None)

    def missing(self) -> list[str]:
        """A sentence for each loop that is overdue; empty when all is well."""
        now = self._clock()
        return [
            f"{name}: no progress for {now - self._last[name]:.0f} s"
            for name, within in self._within.items()
            if now - self._last[name] > within
        ]


class Lag:
    """Sleeps `interval` seconds over and over; what comes on top is the lag. `window`: seconds that `worst` looks back.

    The window should be longer than the scrape interval of Prometheus, else a peak between two scrapes is unseen.
    """

    def __init__(
        self,
        interval: float = 0.25,
        window: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._interval, self._window, self._clock, self._sleep = interval, window, clock, sleep
        self._peaks: deque[tuple[float, float]] = deque()

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            before = self._clock()
            await self._sleep(self._interval)
            now = self._clock()
            self._note(now, max(0.0, now - before - self._interval))

    def worst(self) -> float:
        """Seconds: the longest lag within the window; 0.0 before the first measurement."""
        self._forget(self._clock())
        return self._peaks[0][1] if self._peaks else 0.0

    def _note(self, now: float, lag: float) -> None:
        # Kept falling: a measurement hides every older one that is not greater, so that the first is the worst.
        while self._peaks and self._peaks[-1][1] <= lag:
            self._peaks.pop()
        self._peaks.append((now, lag))
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._peaks and self._peaks[0][0] < now - self._window:
            self._peaks.popleft()
