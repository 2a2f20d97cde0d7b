"""Checkpoints in their own connection and thread: copying the log back into the database makes no mail wait."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from relay.spool.database import connect
from relay.spool.faults import meaning
from relay.spool.port import SpoolBroken

OFTEN = 2000
"""Jobs after which the log is copied back: a mail is three (stored, claimed, settled), each a few pages."""

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
        self._jobs = 0
        self._wanted = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="spool-checkpoint", daemon=True)
        self._thread.start()

    def committed(self, jobs: int) -> None:
        """Called after each commit, from the writer's thread."""
        self._jobs += jobs
        if self._jobs >= OFTEN:
            self._jobs = 0
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
            (page,) = connection.execute("PRAGMA page_size").fetchone()
            while True:
                self._wanted.wait()
                if self._ended:
                    return
                self._wanted.clear()
                if self._copy(connection, "PASSIVE") * page >= LARGE:
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
