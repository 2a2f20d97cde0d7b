"""One worker process, seen from the daemon: start, ask, end."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from pathlib import Path

import relay
from relay.checker.frames import Answer, Channel
from relay.checker.progress import Place, ProgressPage
from relay.inspection import Octets

SOURCE = str(Path(relay.__file__).resolve().parents[1])

CHILD = "relay.checker.worker"

KEPT_ENVIRONMENT = ("LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
"""The rest stays out: a worker that a PDF has taken over must not find passwords in its environment."""


class WorkerProcess:
    """A child that answers one request after the other. Any failure leaves it unusable: kill it and start another."""

    def __init__(self, process: Process, channel: Channel, progress: ProgressPage) -> None:
        self._process = process
        self._channel = channel
        self._progress = progress

    @classmethod
    async def start(
        cls, cpu_seconds: float, answered: Callable[[Answer], None], failed: Callable[[Exception], None]
    ) -> "WorkerProcess":
        """A fresh process, not a fork: a threaded parent must not be forked. Raises OSError.

        cpu_seconds: that one message may use. answered: called with each answer. failed: called once it is unusable.
        """
        progress = ProgressPage.create()
        ours, theirs = socket.socketpair()
        shared = progress.descriptor
        command = (sys.executable, "-B", "-m", CHILD, str(os.getpid()), str(cpu_seconds), str(shared))
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = SOURCE
        try:
            null = asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=theirs.fileno(),
                stdout=null,
                stderr=null,
                env=environment,
                cwd="/",
                pass_fds=(shared,),
            )
        except BaseException:
            ours.close()
            progress.close()
            raise
        finally:
            theirs.close()
        return cls(process, Channel(ours, answered, failed), progress)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """False once the process has ended or its channel is unusable."""
        return self._process.returncode is None and self._channel.broken is None

    @property
    def place(self) -> Place:
        """At which message of the last frame, and at which document of it, the worker says it is."""
        return self._progress.read()

    def send(self, pieces: Sequence[Octets]) -> None:
        """Send a request."""
        self._channel.send(pieces)

    def close(self) -> None:
        """Nobody is called any more."""
        self._channel.close()

    async def kill(self) -> None:
        """End it now; a stopped process dies of SIGKILL too. Nobody is called any more."""
        self.close()
        if self._process.returncode is None:
            # Process.kill() polls, which steals the exit status from asyncio's watcher when the child has just died.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        await self._process.wait()
        self._progress.close()
