"""Open a spool by its URL: `sqlite:///absolute/path` or `sqlite:relative/path`. A new engine is chosen here."""

import time
from collections.abc import Callable
from pathlib import Path

from relay.spool.port import RetentionWindows, Spool
from relay.spool.sqlite.opening import open_sqlite


def open_spool(
    url: str,
    exclusive: bool = True,
    *,
    clock: Callable[[], float] = time.time,
    windows: RetentionWindows | None = None,
    ceiling: float = 3600.0,
) -> Spool:
    """The spool at `url`.

    exclusive: the daemon's way. It takes the lock, makes the file when there is none, and takes over at once what an
    earlier daemon left active. Without it (the commands) the file must be there, whether or not a daemon runs.
    ceiling: `retry.ceiling` in seconds. Blocks for the time of a few reads.
    A damaged database file is moved to `corrupt/` beside it, what can be read of it goes over to a new one, and the
    daemon serves: it says so in `notices` (for the log) and in `Stats.corrupt`. Nothing is deleted; segments without a
    database are moved there too.
    Raises SpoolBusy, SpoolError (a sentence for the operator), ValueError for a URL of no known kind.
    """
    return open_sqlite(path_of(url), exclusive, clock=clock, windows=windows or RetentionWindows(), ceiling=ceiling)


def path_of(url: str) -> Path:
    """The database file that the URL of an SQLite spool names. Raises ValueError for another URL."""
    kind, _, rest = url.partition(":")
    if kind != "sqlite" or not rest.strip("/"):
        raise ValueError(f"{url!r} is no spool: write sqlite:///absolute/path or sqlite:relative/path")
    return Path(rest.removeprefix("//") if rest.startswith("///") else rest)
