"""Where the lines of the log go: those of one turn of the event loop in one write(2).

A write lets go of the GIL and has to win it back from the spool's thread: with five lines a mail that cost as much as
its replies. An error does not wait, nor does a line of a thread without a loop: each takes along what waits, so that
order is kept. What a kill -9 can lose is the lines of one turn.
"""

import asyncio
import atexit
from threading import RLock
from typing import BinaryIO

WHOLE = 4096  # PIPE_BUF: what other processes write to the same pipe does not come in between (pipe(7))


class Lines:
    """The logger that structlog renders for: a method for each level, which takes one line without its end.

    Raises OSError, ValueError only where it writes at once.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = RLock()  # what is collected as garbage meanwhile may have a warning to log
        self._waiting: list[bytes] = []
        self._octets = 0
        self._turn: asyncio.AbstractEventLoop | None = None  # whose end of turn is waited for
        atexit.register(self.flush)

    def debug(self, line: bytes) -> None:
        """Write `line` at the end of this turn."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.error(line)
            return
        with self._lock:
            if self._octets + len(line) >= WHOLE:
                self._write()
            self._add(line)
            if self._turn is not loop:
                self._turn = loop
                loop.call_soon(self.flush)

    info = warning = debug

    def error(self, line: bytes) -> None:
        """Write `line` now, after what waits."""
        with self._lock:
            self._add(line)
            self._write()

    critical = exception = error

    def flush(self) -> None:
        """Write what waits. Never raises: a full disk or a closed pipe behind the log must not cost a mail."""
        with self._lock:
            self._turn = None
            try:
                self._write()
            except (OSError, ValueError):
                return

    def close(self) -> None:
        """Write what waits; another takes its place."""
        self.flush()
        atexit.unregister(self.flush)

    def _add(self, line: bytes) -> None:
        self._waiting += (line, b"\n")
        self._octets += len(line) + 1

    def _write(self) -> None:
        if self._waiting:
            octets = b"".join(self._waiting)
            self._waiting.clear()
            self._octets = 0
            self._file.write(octets)
            self._file.flush()
