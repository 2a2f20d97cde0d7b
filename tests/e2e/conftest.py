"""The real daemon in its own process, a real next hop, a real disk."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from relay.demo.receiver import Receiver
from relay.demo.stage import Stage


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A server standing for Agiris."""
    server = Receiver()
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def stages(tmp_path: Path) -> AsyncIterator[Callable[..., Stage]]:
    """Make stages; each is stopped at the end, and a daemon that does not stop well fails the test."""
    made: list[Stage] = []

    def make(receiver: int, **kwargs: object) -> Stage:
        folder = tmp_path / f"stage-{len(made)}"
        folder.mkdir()
        stage = Stage(folder, receiver, **kwargs)  # type: ignore[arg-type]
        stage.prepare()
        made.append(stage)
        return stage

    yield make
    codes = await asyncio.gather(*(stage.stop() for stage in made))
    for stage, code in zip(made, codes, strict=True):
        text = stage.log.read_text(encoding="utf-8") if stage.log.exists() else ""
        assert "Traceback" not in text
        assert code in (0, -9, *stage.expected_exits), f"exit {code}\n{text}"


@pytest.fixture
async def stage(stages: Callable[..., Stage], receiver: Receiver) -> Stage:
    """A running daemon with the demo's configuration, its next hop being `receiver`."""
    made = stages(receiver.port)
    assert await made.start(), made.log.read_text(encoding="utf-8")
    return made
