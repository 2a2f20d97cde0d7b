"""Background tasks: one that raises is logged, shown as a failure, and started again; none ends unnoticed."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from relay.observability.events import InternalError, Observe

FIRST_PAUSE = 1.0
"""Seconds before a task that raised is started again; twice as long each time."""

LONGEST_PAUSE = 60.0

RECOVERED = 60.0
"""Seconds that a task must have run for its last failure to be over."""

Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass
class _Failure:
    """restarted: monotonic seconds, None while it waits to be started again."""

    why: str
    restarted: float | None = None


class Supervisor:
    """Owns the daemon's tasks. pause: of the first restart, in seconds. clock: monotonic seconds."""

    def __init__(
        self, observe: Observe, pause: float = FIRST_PAUSE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._observe, self._pause, self._clock = observe, pause, clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: dict[str, _Failure] = {}

    def run(self, name: str, work: Work) -> None:
        """Run `work()` in a task of its own; start it again whenever it raises, until it returns or `close`."""
        self._keep(asyncio.create_task(self._supervise(name, work), name=name))

    def once(self, name: str, work: Work) -> None:
        """Run `work()` one time; when it raises that is logged."""
        self._keep(asyncio.create_task(self._run_once(name, work), name=name))

    def failures(self) -> list[str]:
        """A sentence for each task that failed and has not run well since."""
        now = self._clock()
        return [
            f"{name} failed: {failure.why}"
            for name, failure in self._failures.items()
            if failure.restarted is None or now - failure.restarted < RECOVERED
        ]

    async def close(self) -> None:
        """Cancel every task and wait for its end."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _supervise(self, name: str, work: Work) -> None:
        pause = self._pause
        while (failure := await self._try(name, work)) is not None:
            before = self._failures.get(name)
            if before is not None and before.restarted is not None and self._clock() - before.restarted >= RECOVERED:
                pause = self._pause
            self._failures[name] = _Failure(failure)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            self._failures[name].restarted = self._clock()
        self._failures.pop(name, None)

    async def _run_once(self, name: str, work: Work) -> None:
        await self._try(name, work)

    async def _try(self, name: str, work: Work) -> str | None:
        """None when `work()` returned, else why it raised."""
        try:
            await work()
        except Exception as error:
            self._observe(InternalError(name, error))
            return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return None
