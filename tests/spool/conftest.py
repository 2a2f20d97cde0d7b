"""Engines under the same contract. A new engine joins by one line in ENGINES."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.spool.open import open_spool
from relay.spool.port import RetentionWindows, Spool

ENGINES: dict[str, Callable[[Path], str]] = {
    "memory": lambda _: "memory:",
    "sqlite": lambda folder: f"sqlite://{folder}/spool/queue.db",
}


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=ENGINES)
async def spool(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Spool]:
    url = ENGINES[request.param](tmp_path)
    opened = open_spool(url, clock=clock, windows=RetentionWindows(resubmission=7 * 86400, documents=365 * 86400))
    yield opened
    await opened.close()
