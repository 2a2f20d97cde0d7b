"""Health, gauges and housekeeping: what runs beside the messages."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from relay.checker import CheckerPool
from relay.model import State
from relay.observability.events import InternalError, MessagesPurged, Observe
from relay.observability.metrics import Metrics
from relay.observability.systemd import Systemd
from relay.queue import QueueManager
from relay.spool.port import Spool, SpoolError, Stats

PENDING = (State.QUEUED, State.ACTIVE, State.DEFERRED)
STATUS_SECONDS = 30.0
PURGE_SECONDS = 60.0
PURGE_STEP = 100


class HealthMonitor:
    """Answers /healthz, /readyz and the scrape; keeps the status line of systemd true.

    config_error: what is wrong with the configuration files. failures: of the background tasks.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        pool: CheckerPool,
        queue: QueueManager,
        metrics: Metrics,
        observe: Observe,
        systemd: Systemd,
        sessions: Callable[[], int],
        config_error: Callable[[], str | None],
        failures: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._config_error, self._failures = config_error, failures
        self._spool, self._pool, self._queue, self._sessions = spool, pool, queue, sessions
        self._metrics, self._observe, self._systemd = metrics, observe, systemd

    def healthy(self) -> list[str]:
        """Why no progress is made; empty when all is well. That this runs shows that the event loop turns."""
        return [] if self._queue.alive() else ["the queue manager makes no progress"]

    def ready(self) -> dict[str, str]:
        """Each condition for taking and checking messages: "ok", or why not."""
        return {
            "queue": "ok" if self._queue.alive() else "the queue manager makes no progress",
            "spool": str(self._spool.unhealthy() or self._spool.degraded() or "ok"),
            "tasks": "; ".join(self._failures()) or "ok",
            "check": f"the self-test failed: {self._pool.self_test}" if self._pool.self_test else "ok",
        }

    async def refresh(self) -> Stats:
        """Bring the gauges up to date, before a scrape."""
        self._metrics.connections_open(self._sessions())
        stats = await self._spool.stats()
        writable = self._spool.unhealthy() is None
        self._metrics.spool(
            stats.by_state, stats.held, stats.oldest, stats.octets, stats.free, stats.corrupt, writable=writable
        )
        busy = self._pool.busy
        self._metrics.workers(busy, max(0, self._pool.size - busy), self._pool.waiting)
        return stats

    async def scrape(self) -> None:
        """`refresh` for the scrape: gauges that cannot be read keep their values."""
        try:
            await self.refresh()
        except SpoolError as error:
            self._observe(InternalError("figures", error))

    async def report_status(self) -> None:
        """Keep the line of `systemctl status` true, until cancelled."""
        while True:
            try:
                self._systemd.status(status_line(await self.refresh(), self._problems()))
            except SpoolError as error:
                self._systemd.status(f"the spool cannot be read: {error}")
            await asyncio.sleep(STATUS_SECONDS)

    def _problems(self) -> list[str]:
        """What /readyz says, and what is wrong though messages are taken."""
        not_ready = [text for text in self.ready().values() if text != "ok"]
        return [*not_ready, *filter(None, [self._config_error()])]


def status_line(stats: Stats, problems: Sequence[str] = ()) -> str:
    """For a person: what is wrong, what waits, what is held."""
    waiting = sum(stats.by_state.get(state, 0) for state in PENDING)
    held = stats.by_state.get(State.HELD, 0)
    delivered = stats.by_state.get(State.DELIVERED, 0)
    return "; ".join([*problems, f"{delivered} delivered, {waiting} waiting, {held} held for a person"])


class EventLoopLag:
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
            self._record(now, max(0.0, now - before - self._interval))

    def worst(self) -> float:
        """Seconds: the longest lag within the window; 0.0 before the first measurement."""
        self._forget(self._clock())
        return self._peaks[0][1] if self._peaks else 0.0

    def _record(self, now: float, lag: float) -> None:
        # Kept falling: a measurement hides every older one that is not greater, so that the first is the worst.
        while self._peaks and self._peaks[-1][1] <= lag:
            self._peaks.pop()
        self._peaks.append((now, lag))
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._peaks and self._peaks[0][0] < now - self._window:
            self._peaks.popleft()


async def housekeeping(spool: Spool, keep: Callable[[], float], observe: Observe) -> None:
    """Purge messages that ended, or were withheld, more than `keep()` seconds ago, in small steps, until cancelled."""
    while True:
        try:
            before = time.time() - keep()
            purged = await spool.purge(before, PURGE_STEP, withheld=before)
        except SpoolError as error:
            observe(InternalError("purge", error))
            purged = 0
        if purged:
            observe(MessagesPurged(purged))
        await asyncio.sleep(1.0 if purged == PURGE_STEP else PURGE_SECONDS)
