"""Which destinations may be sent a message now: a number at a time, a number a minute. A slow one fills its own slots
only."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping

MINUTE = 60.0


class Throttle:
    """rate: messages a minute for a destination, 0 without limit. slots: attempts at a time. clock: monotonic
    seconds."""

    def __init__(self, rate: Callable[[str], int], slots: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._slots = slots
        self._clock = clock
        self._active: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._sent: dict[str, deque[float]] = {}
        self.full: Collection[str] = ()
        """Destinations without room at the last claim: what waits for them goes before what is new."""

    def enter(self, destination: str) -> None:
        """A delivery was claimed; it has not been allowed to go yet."""
        self._active[destination] += 1
        self._waiting[destination] += 1

    def reserve(self, wanted: Mapping[str, int], limit: int, kept: int) -> dict[str, int]:
        """Enter for what is about to be stored: as many of `wanted` as have room, at most `limit` in all.

        kept: places that each destination keeps for others.
        """
        reserved: dict[str, int] = {}
        for destination, number in wanted.items():
            room = 0 if destination in self.full else max(0, self._room(destination) - kept)
            reserved[destination] = places = min(number, limit, room)
            limit -= places
            for _ in range(places):
                self.enter(destination)
        return reserved

    def give_back(self, places: Mapping[str, int]) -> None:
        """Leave for what was not claimed after all."""
        for destination, number in places.items():
            for _ in range(number):
                self.leave(destination, allowed=False)

    def leave(self, destination: str, allowed: bool) -> None:
        """The delivery is settled. `allowed`: `allow` had let it go."""
        self._active[destination] -= 1
        if not allowed:
            self._waiting[destination] -= 1

    def allow(self, destination: str) -> float:
        """0: go, it has been counted. Else seconds until it is worth asking again."""
        pause = self._pause(destination)
        if pause <= 0:
            self._waiting[destination] -= 1
            self._sent.setdefault(destination, deque()).append(self._clock())
        return pause

    def room(self) -> dict[str, int]:
        """How many more each destination takes now, those left out that have all their slots free."""
        names = self._active.keys() | self._sent.keys()
        return {name: room for name in names if (room := self._room(name)) < self._slots}

    def _room(self, destination: str) -> int:
        free = self._slots - self._active[destination]
        rate = self._rate(destination)
        if rate > 0:
            free = min(free, rate - len(self._recent(destination)) - self._waiting[destination])
        return max(0, free)

    def _pause(self, destination: str) -> float:
        rate, recent = self._rate(destination), self._recent(destination)
        if rate <= 0 or len(recent) < rate:
            return 0.0
        return max(0.001, recent[-rate] + MINUTE - self._clock())

    def _recent(self, destination: str) -> deque[float]:
        """When messages went within the last minute, oldest first."""
        sent = self._sent.get(destination)
        if sent is None:
            return deque()
        while sent and sent[0] <= self._clock() - MINUTE:
            sent.popleft()
        if not sent:
            del self._sent[destination]
        return sent
