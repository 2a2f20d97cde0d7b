"""One worker process, seen from the daemon: start, ask, end."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import relay
from relay.workers import frames

SOURCE = str(Path(relay.__file__).resolve().parents[1])

CHILD = "relay.workers.child"

KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "TMPDIR")
"""The rest stays out: a worker that a PDF has taken over shall not find passwords in its environment."""


class Worker:
    """A child that answers one request at a time. Any failure leaves it unusable: kill it and start another."""

    def __init__(self, process: Process, channel: socket.socket) -> None:
        self._process = process
        self._channel = channel

    @classmethod
    async def start(cls, cpu_seconds: float) -> "Worker":
        """A fresh process, not a fork: a threaded parent must not be forked. Raises OSError."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
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
        return cls(process, ours)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """False once the process has ended."""
        return self._process.returncode is None

    async def ask(self, pieces: Sequence[bytes]) -> dict[str, Any]:
        """Send a request, return the answer's header. Raises OSError (frames.Broken among them), ValueError."""
        loop = asyncio.get_running_loop()
        for piece in pieces:
            await loop.sock_sendall(self._channel, piece)
        (length,) = frames.LENGTH.unpack(await self._receive(frames.LENGTH.size))
        if length > frames.MAX_HEADER:
            raise frames.Broken("an answer beyond measure")
        answer = json.loads(await self._receive(length))
        if not isinstance(answer, dict):
            raise frames.Broken("an answer that is no object")
        return answer

    async def _receive(self, size: int) -> bytearray:
        data = bytearray(size)
        view, got = memoryview(data), 0
        loop = asyncio.get_running_loop()
        while got < size:
            count = await loop.sock_recv_into(self._channel, view[got:])
            if not count:
                raise frames.Broken("end of stream")
            got += count
        return data

    async def kill(self) -> None:
        """End it now; a stopped process dies of SIGKILL too."""
        self._channel.close()
        if self.alive:
            # Process.kill() polls, which steals the exit status from asyncio's watcher when the child has just died.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        await self._process.wait()
