"""Checkpoints in their own connection and thread: copying the log back into the database never makes a message wait."""

import contextlib
import select
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from relay.observability.event_names import EventName
from relay.spool.port import SpoolBroken
from relay.spool.sqlite.database import connect, spool_error

log = structlog.get_logger(__name__)

JOBS_PER_CHECKPOINT = 2000
"""Jobs after which the log is copied back: a message is three (stored, claimed, settled), each a few pages."""

LARGE = 128 * 1024 * 1024
"""Octets of the log from which it is also begun anew, writers waiting for it: under steady load it is never quite
copied, and only then it is begun anew by itself."""

RETRY_SECONDS = 5.0
"""Seconds after which a checkpoint that failed is tried again."""

_STEP = 0.25


class Checkpointer:
    """Copies the log back when enough was committed. `broken` is called when the disk fails meanwhile.

    copied: called after each copy, in the thread that made it. retry: seconds before another try after a failure.
    failure: why the last copy could not be made, None once one was: until then the log grows.
    """

    def __init__(
        self,
        path: Path,
        broken: Callable[[SpoolBroken], None],
        copied: Callable[[], object],
        *,
        retry: float = RETRY_SECONDS,
    ) -> None:
        self.failure: str | None = None
        self._retry = retry
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
        if self._jobs >= JOBS_PER_CHECKPOINT:
            self._jobs = 0
            self._wanted.set()

    def restart_log(self) -> None:
        """Copy all of the log back, so that the next commit writes over its beginning: that needs no room. Blocks.

        What fails here the commit after it meets too.
        """
        with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(connect(self._path)) as db:
            self._copy(db, "RESTART")

    def close(self) -> None:
        self._ended = True
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        """Whatever fails (no descriptors, a full disk, one remounted read-only) is tried again: this thread never ends
        before `close`."""
        while not self._ended:
            try:
                with contextlib.closing(connect(self._path)) as connection:
                    self._serve(connection)
            except Exception as error:
                self._note(error)
                self._pause()

    def _serve(self, connection: sqlite3.Connection) -> None:
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        while True:
            self._wanted.wait()
            if self._ended:
                return
            if self._copy(connection, "PASSIVE") * page >= LARGE:
                self._copy(connection, "RESTART")
            self.failure = None

    def _note(self, error: Exception) -> None:
        self._wanted.set()
        why = f"the log of the spool cannot be copied back: {spool_error(error)}"
        if self.failure is None:
            log.error(EventName.INTERNAL_ERROR, where="spool-checkpoint", text=why)
        self.failure = why

    def _pause(self) -> None:
        left = self._retry
        while left > 0 and not self._ended:
            select.select((), (), (), _STEP)  # time.sleep is EINVAL under a clock that faketime has set
            left -= _STEP

    def _copy(self, connection: sqlite3.Connection, how: str) -> int:
        """Pages in the log."""
        self._wanted.clear()
        try:
            _, pages, _ = connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
        except sqlite3.Error as error:
            known = spool_error(error)
            if isinstance(known, SpoolBroken):
                self._broken(known)
            if _is_busy(error):  # another process reads or copies: the next one does it
                return 0
            raise
        finally:
            self._copied()
        return int(pages)


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
