"""Background tasks: one that fails is started again, and shown as a failure until it runs well."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from relay.daemon.start import repeat_self_test
from relay.daemon.supervisor import RECOVERED, Supervisor
from relay.observability.events import Event, SelfTested
from relay.observability.metrics import Metrics
from relay.observability.observer import Observer

observe = Observer(Metrics()).observe


class Work:
    """Raises the `errors` one after the other, then runs until it is cancelled."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors: Iterator[BaseException] = iter(errors)
        self.starts = 0
        self.running = asyncio.Event()

    async def __call__(self) -> None:
        self.starts += 1
        if (error := next(self.errors, None)) is not None:
            raise error
        self.running.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    "error",
    [
        OSError(24, "Too many open files"),
        OSError(28, "No space left on device"),
        OSError(30, "Read-only file system"),
        RuntimeError("can't start new thread"),
        MemoryError(),
        ZeroDivisionError("a bug"),
    ],
    ids=lambda error: type(error).__name__ + str(getattr(error, "errno", None) or ""),
)
async def test_a_task_that_raises_is_logged_shown_and_started_again(error: Exception) -> None:
    now = [0.0]
    work = Work(error, error, error)
    supervisor = Supervisor(observe, pause=0.0, clock=lambda: now[0])
    with capture_logs() as lines:
        supervisor.run("housekeeping", work)
        async with asyncio.timeout(10):
            await work.running.wait()
    assert work.starts == 4
    assert [line["where"] for line in lines] == ["housekeeping"] * 3
    [why] = supervisor.failures()
    assert why.startswith(f"housekeeping failed: {type(error).__name__}")
    now[0] += RECOVERED
    assert supervisor.failures() == []
    await supervisor.close()


async def test_a_task_that_waits_to_be_started_again_is_a_failure() -> None:
    work = Work(OSError(30, "Read-only file system"))
    supervisor = Supervisor(observe, pause=3600.0)
    supervisor.run("notices", work)
    async with asyncio.timeout(10):
        while not supervisor.failures():
            await asyncio.sleep(0)
    assert work.starts == 1
    assert supervisor.failures() == ["notices failed: OSError: [Errno 30] Read-only file system"]
    await supervisor.close()


async def test_a_task_that_returns_is_not_started_again() -> None:
    starts: list[int] = []

    async def work() -> None:
        starts.append(1)

    supervisor = Supervisor(observe)
    supervisor.run("self-test", work)
    async with asyncio.timeout(10):
        while supervisor._tasks:
            await asyncio.sleep(0)
    assert starts == [1] and supervisor.failures() == []


async def test_closing_ends_every_task_also_one_that_is_being_started_again() -> None:
    work, failing = Work(), Work(OSError("once"))
    supervisor = Supervisor(observe, pause=3600.0)
    supervisor.run("a", work)
    supervisor.run("b", failing)
    async with asyncio.timeout(10):
        await work.running.wait()
        while not supervisor.failures():
            await asyncio.sleep(0)
        await supervisor.close()
    assert not supervisor._tasks


async def test_the_self_test_is_repeated_until_it_passes() -> None:
    class SlowBoot:
        self_test: str | None = "timeout"
        outcomes = iter(["timeout", "BR-CO-15 was not found", None])

        async def run_self_test(self) -> str | None:
            self.self_test = next(self.outcomes)
            return self.self_test

    heard: list[Event] = []
    async with asyncio.timeout(10):
        await repeat_self_test(SlowBoot(), heard.append, pause=0.0)  # type: ignore[arg-type]
        await repeat_self_test(SimpleNamespace(self_test=None), heard.append)  # type: ignore[arg-type]
    assert heard == [SelfTested("timeout"), SelfTested("BR-CO-15 was not found"), SelfTested(None)]
