"""Signals: those that ask for nothing do no harm, also while the daemon starts; the demo cleans up."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.demo.receiver import Receiver
from relay.demo.stage import Stage

IGNORED = ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGXCPU")


async def test_signals_that_ask_for_nothing_are_logged_and_ignored(stage: Stage) -> None:
    for times, name in enumerate(IGNORED, 1):
        stage.send_signal(getattr(signal, name))
        await stage.logged("signal_ignored", 60, times)
    log = stage.log.read_text("utf-8")
    # SIGIO has a second name.
    assert all(f'"signal": "{name}"' in log or (name == "SIGIO" and '"SIGPOLL"' in log) for name in IGNORED)
    assert await stage.command("queue", "list") == []
    assert await stage.stop(60) == 0


async def test_sigquit_drains_as_sigterm_does(stage: Stage) -> None:
    stage.send_signal(signal.SIGQUIT)
    await stage.logged("stopped", 60)
    assert await stage.stop(60) == 0


@pytest.mark.parametrize(
    ("number", "event"), [(signal.SIGHUP, "reloaded"), (signal.SIGUSR1, "signal_ignored"), (signal.SIGTERM, "stopped")]
)
async def test_a_signal_while_it_starts_is_obeyed_once_it_has_started(
    stages: Callable[..., Stage], receiver: Receiver, number: signal.Signals, event: str
) -> None:
    stage = stages(receiver.port)
    starting = asyncio.create_task(stage.start(120))
    async with asyncio.timeout(60):
        while not stage.log.exists() or "spool_opened" not in stage.log.read_text("utf-8"):
            await asyncio.sleep(0)
    stage.send_signal(number)
    assert await starting
    await stage.logged(event, 60)
    if number is signal.SIGTERM:
        assert stage._process is not None and await stage._process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_the_kept_demo_ends_its_daemon_and_removes_its_folder(tmp_path: Path, number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "relay.cli", "demo", "--keep"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        # A shell starts what runs in the background with SIGINT ignored, and so the tests that it runs.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(180):
            while b"Ctrl-C ends it" not in (line := await process.stdout.readline()):
                assert line, "the demo ended early"
            assert [each.name for each in tmp_path.iterdir() if each.name.startswith("agiris-relay-demo-")]
            process.send_signal(number)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert not [each.name for each in tmp_path.iterdir() if each.name.startswith("agiris-relay-demo-")]
