"""Peers that mean harm, against the whole relay in its own process: memory stays bounded and good messages pass."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from relay.demo.receiver import Receiver
from relay.demo.stage import Stage
from tests.support.parallel_sessions import GREETING, MARTIN, MIB, Peak, crowd, good_mail, poured
from tests.support.smtp_fuzz import faults, mutated, replies, resident
from tests.support.smtp_server import six_listeners


@pytest.fixture
async def make(stages: Callable[..., Stage], receiver: Receiver, tmp_path: Path) -> Callable[[str], Stage]:
    def prepared(accept: str) -> Stage:
        stage = stages(receiver.port)
        six_listeners(stage, tmp_path, {"jefacture": "correct horse"}, accept)
        return stage

    return prepared


async def started(stage: Stage) -> Stage:
    assert await stage.start(), stage.log.read_text(encoding="utf-8")
    return stage


@pytest.mark.parametrize(
    ("verb", "piece"),
    [
        (b"DATA\r\n", b"x" * 65536),
        (b"DATA\r\n", b"\r\n" * 32768),
        (b"BDAT 10000000\r\n", b"x" * 65536),
        (b"", b"x" * 65536),
    ],
    ids=["line-without-end", "empty-lines", "bdat-without-end", "command-without-end"],
)
async def test_what_never_ends_costs_no_more_than_one_message(
    make: Callable[[str], Stage], verb: bytes, piece: bytes
) -> None:
    stage = await started(make("  max_mail_size: 20 MiB\n"))
    assert await asyncio.to_thread(good_mail, stage) == 250
    peak = Peak(stage.pid)
    head = GREETING + verb
    await asyncio.to_thread(poured, stage, head, (piece for _ in range(400 * MIB // len(piece))))
    assert peak.grown() <= 24 * MIB  # the limit of one message, and what the allocator keeps
    assert await asyncio.to_thread(good_mail, stage) == 250


async def test_twenty_large_messages_at_once_are_taken_or_put_off_within_300_mb(make: Callable[[str], Stage]) -> None:
    stage = await started(make(""))
    line = b"x" * 76 + b"\r\n"
    mails = [b"From: a@sender.example\r\nSubject: %d\r\n\r\n" % n + line * (25_000_000 // len(line)) for n in range(4)]
    peak = Peak(stage.pid)
    work = [asyncio.to_thread(good_mail, stage, "127.0.0.3", mails[n % 4] + b"%d\r\n" % n) for n in range(20)]
    codes = await asyncio.gather(*work, asyncio.to_thread(good_mail, stage), return_exceptions=True)
    assert codes[-1] == 250
    assert set(codes) <= {250, 451, 452, 421} and 250 in codes[:-1], codes
    assert peak.octets() <= 300 * MIB


async def test_idle_slow_and_reset_connections_hold_nobody_up(make: Callable[[str], Stage]) -> None:
    stage = await started(make("  max_connections: 1000\n  max_connections_per_host: 600\n"))
    async with crowd(stage.smtp, idle=300, slow=60) as resetting:
        good = asyncio.create_task(asyncio.to_thread(good_mail, stage))
        await resetting(500)
        assert await good == 250
        assert await asyncio.to_thread(good_mail, stage) == 250


async def test_one_host_cannot_take_all_connections(make: Callable[[str], Stage]) -> None:
    stage = await started(make("  max_connections: 100\n  max_connections_per_host: 50\n"))
    async with crowd(stage.smtp, idle=300, slow=0):
        assert await asyncio.to_thread(good_mail, stage) == 250


@pytest.fixture
async def stage(make: Callable[[str], Stage]) -> AsyncIterator[Stage]:
    yield await started(make("  max_mail_size: 1 MiB\n"))


async def test_no_dialogue_surprises_the_relay(stage: Stage) -> None:
    """8,000 sessions from a fixed seed; `python -m tests.support.smtp_fuzz --seconds 3600` for more."""
    chance = random.Random(11)

    async def torment(number: int) -> None:
        for _ in range(number):
            streams = [mutated(chance, MARTIN.encode()) for _ in range(8)]
            work = [replies(("127.0.0.1", stage.smtp), each, chance) for each in streams]
            for stream, said in zip(streams, await asyncio.gather(*work), strict=True):
                assert faults(said) == [], stream

    await torment(300)
    before = resident(stage.pid)
    await torment(700)
    assert resident(stage.pid) - before < 16 * MIB
    assert await asyncio.to_thread(good_mail, stage) == 250
    assert '"event": "internal_error"' not in stage.log.read_text(encoding="utf-8")
