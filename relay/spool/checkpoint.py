"""Checkpoints in their own connection and thread: copying the log back into the database makes no mail wait."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from relay.spool.database import PAGE, connect
from relay.spool.faults import meaning
from relay.spool.port import SpoolBroken

OFTEN = 16 * 1024 * 1024
COMMITS = 500
"""Octets and commits after which the log is copied back."""

LARGE = 128 * 1024 * 1024
"""Octets of the log from which it is also begun anew, writers waiting for it: under steady load it is never quite
copied, and only then it is begun anew by itself."""


class Checkpointer:
    """Copies the log back when enough was committed. `broken` is told when the disk fails meanwhile.

    copied: called after each copy, in the thread that made it.
    """

    def __init__(self, path: Path, broken: Callable[[SpoolBroken], None], copied: Callable[[], object]) -> None:
        self._path = path
        self._copied = copied
        self._broken = broken
        self._octets = 0
        self._commits = 0
        self._wanted = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="spool-checkpoint", daemon=True)
        self._thread.start()

    def committed(self, octets: int) -> None:
        """Called after each commit, from the writer's thread."""
        self._octets += octets
        self._commits += 1
        if self._octets >= OFTEN or self._commits >= COMMITS:
            self._octets = self._commits = 0
            self._wanted.set()

    def begin_anew(self) -> None:
        """Copy all of the log back, so that the next commit writes over its beginning: that needs no room. Blocks."""
        connection = connect(self._path)
        try:
            self._copy(connection, "RESTART")
        finally:
            connection.close()

    def close(self) -> None:
        self._ended = True
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        connection = connect(self._path)
        try:
            while True:
                self._wanted.wait()
                if self._ended:
                    return
                self._wanted.clear()
                if self._copy(connection, "PASSIVE") * PAGE >= LARGE:
                    self._copy(connection, "RESTART")
        finally:
            connection.close()

    def _copy(self, connection: sqlite3.Connection, how: str) -> int:
        """Pages in the log."""
        try:
            _, pages, _ = connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
            return int(pages)
        except sqlite3.Error as error:
            known = meaning(error)
            if isinstance(known, SpoolBroken):
                self._broken(known)
            return 0
        finally:
            self._copied()
