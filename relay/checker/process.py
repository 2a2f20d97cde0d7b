"""One worker process, seen from the daemon: start, ask, end."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import relay
from relay.checker.frames import Channel
from relay.idle_timer import IdleTimer
from relay.inspection import Octets

SOURCE = str(Path(relay.__file__).resolve().parents[1])

CHILD = "relay.checker.worker"

KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "TMPDIR")
"""The rest stays out: a worker that a PDF has taken over must not find passwords in its environment."""


class Worker:
    """A child that answers one request at a time. Any failure leaves it unusable: kill it and start another."""

    def __init__(self, process: Process, channel: Channel) -> None:
        self._process = process
        self._channel = channel
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._timer = IdleTimer(asyncio.get_running_loop(), self._expire)

    @classmethod
    async def start(cls, cpu_seconds: float) -> "Worker":
        """A fresh process, not a fork: a threaded parent must not be forked. Raises OSError."""
        ours, theirs = socket.socketpair()
        command = (sys.executable, "-B", "-m", CHILD, str(os.getpid()), str(cpu_seconds))
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = SOURCE
        try:
            null = asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(
                *command, stdin=theirs.fileno(), stdout=null, stderr=null, env=environment, cwd="/"
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(process, Channel(ours))

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """False once the process has ended or its channel is unusable."""
        return self._process.returncode is None and self._channel.broken is None

    async def ask(self, pieces: Sequence[Octets], timeout: float) -> dict[str, Any]:
        """Send a request, return the answer's header within `timeout` seconds.

        Raises TimeoutError, OSError (ChannelBroken among them), ValueError.
        """
        self._answer = self._channel.ask(pieces)
        self._timer.begin(timeout)
        try:
            return await self._answer
        finally:
            self._timer.end()

    async def kill(self) -> None:
        """End it now; a stopped process dies of SIGKILL too."""
        self._timer.close()
        self._channel.close()
        if self._process.returncode is None:
            # Process.kill() polls, which steals the exit status from asyncio's watcher when the child has just died.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        await self._process.wait()

    def _expire(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(TimeoutError())
