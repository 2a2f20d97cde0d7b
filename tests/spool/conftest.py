"""Engines under the same contract. A new engine joins by one line in ENGINES."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.spool.open import open_spool
from relay.spool.port import RetentionWindows, Spool
from tests.support.memory_spool import MemorySpool

WINDOWS = RetentionWindows(resubmission=7 * 86400, documents=365 * 86400)


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def _sqlite(folder: Path, clock: Clock) -> Spool:
    return open_spool(f"sqlite://{folder}/spool/queue.db", clock=clock, windows=WINDOWS)


def _memory(_: Path, clock: Clock) -> Spool:
    return MemorySpool(clock=clock, windows=WINDOWS)


ENGINES: dict[str, Callable[[Path, Clock], Spool]] = {"memory": _memory, "sqlite": _sqlite}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=ENGINES)
async def spool(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Spool]:
    opened = ENGINES[request.param](tmp_path, clock)
    yield opened
    await opened.close()
