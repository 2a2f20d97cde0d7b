"""The line of `systemctl status` tells what /readyz, the log and the metrics tell."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from relay.daemon.health import EventLoopLag, HealthMonitor, housekeeping, status_line
from relay.model import Disposition, State
from relay.observability.metrics import Metrics
from relay.observability.observer import Observer
from relay.spool.port import Stats
from tests.support.memory_spool import MemorySpool
from tests.support.spool_messages import mail, plan

observe = Observer(Metrics()).observe


def test_the_line_counts_what_waits_and_begins_with_what_is_wrong() -> None:
    stats = Stats({State.DELIVERED: 7, State.QUEUED: 1, State.DEFERRED: 2, State.HELD: 3})
    assert status_line(stats) == "7 delivered, 3 waiting, 3 held for a person"
    assert status_line(stats, ["the disk is full"]) == "the disk is full; 7 delivered, 3 waiting, 3 held for a person"


@pytest.mark.parametrize(
    ("alive", "self_test", "config_error", "begins"),
    [
        (True, None, None, "0 delivered"),
        (False, None, None, "the queue manager makes no progress; 0 delivered"),
        (True, "no engine", None, "the self-test failed: no engine; 0 delivered"),
        (True, None, "the files have faults", "the files have faults; 0 delivered"),
    ],
)
async def test_the_line_says_what_is_wrong(
    alive: bool, self_test: str | None, config_error: str | None, begins: str
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    parts: dict[str, Any] = {
        "pool": SimpleNamespace(self_test=self_test, busy=0, size=2, waiting=0),
        "queue": SimpleNamespace(alive=lambda: alive),
        "systemd": SimpleNamespace(status=heard.put_nowait),
    }
    spool = MemorySpool()
    watch = HealthMonitor(
        spool=spool, metrics=Metrics(), observe=observe, sessions=lambda: 0, config_error=lambda: config_error, **parts
    )
    telling = asyncio.create_task(watch.report_status())
    assert (await asyncio.wait_for(heard.get(), 10)).startswith(begins)
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    await spool.close()


async def test_what_was_withheld_is_forgotten_with_what_was_delivered() -> None:
    spool, purged = MemorySpool(clock=lambda: 1_000_000.0), asyncio.Event()
    await spool.store(mail(plan("a@x", disposition=Disposition.WITHHOLD), at=1_000_000.0))
    purge = spool.purge

    async def purging(before: float, limit: int = 100, *, withheld: float | None = None) -> int:
        done = await purge(before, limit, withheld=withheld)
        if done:
            purged.set()
        return done

    spool.purge = purging  # type: ignore[method-assign]
    keeping = asyncio.create_task(housekeeping(spool, lambda: 3600.0, observe))
    await asyncio.wait_for(purged.wait(), 30)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_event_loop_lag_is_the_excess_over_the_sleep_and_expires_with_the_window() -> None:
    now = [0.0]
    delays = iter([0.0, 0.4, 0.1, 0.0])

    async def sleep(seconds: float) -> None:
        delay = next(delays, None)
        if delay is None:
            raise asyncio.CancelledError
        now[0] += seconds + delay

    lag = EventLoopLag(interval=1, window=10, clock=lambda: now[0], sleep=sleep)
    assert lag.worst() == 0.0
    with pytest.raises(asyncio.CancelledError):
        await lag.run()
    assert lag.worst() == pytest.approx(0.4)
    now[0] = 13.0
    assert lag.worst() == pytest.approx(0.1)
    now[0] = 100.0
    assert lag.worst() == 0.0
