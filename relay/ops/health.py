"""Heartbeats: who must show progress, how often, and who has not. Feeds /healthz and the watchdog."""

import time
from collections.abc import Callable


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
