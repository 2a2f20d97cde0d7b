"""The room of forgotten mails, given back: segments that no mail needs are removed, holes made in the others.

Nothing is lost by a crash in between: what was not given back is when another mail of its segment is forgotten.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from relay.spool.port import SpoolError
from relay.spool.segments import Place, Segments

_LIVE = "SELECT start, size FROM mails INDEXED BY mails_by_segment WHERE segment = ? ORDER BY start"
_ANY = "SELECT 1 FROM mails INDEXED BY mails_by_segment WHERE segment = ? LIMIT 1"


@dataclass(frozen=True, slots=True)
class Work:
    """dead: segments to remove. holes: number, live octets (start, size), where what may be given back ends (None: at
    the segment's end)."""

    dead: tuple[int, ...]
    holes: tuple[tuple[int, tuple[tuple[int, int], ...], int | None], ...]


def look(db: sqlite3.Connection, segments: Segments, settled: Place, numbers: Iterable[int | None]) -> Work:
    """What can be given back now that mails in the segments `numbers` (None: in none) were forgotten.

    settled: taken before the database is asked; what is stored meanwhile lies behind it.
    """
    closed = [each for each in segments.numbers() if each < settled.segment]
    dead = tuple(each for each in closed if db.execute(_ANY, (each,)).fetchone() is None)
    holes = tuple(
        (each, tuple(db.execute(_LIVE, (each,)).fetchall()), None if each < settled.segment else settled.start)
        for each in sorted({each for each in numbers if each is not None and each <= settled.segment}.difference(dead))
    )
    return Work(dead, holes)


def carry_out(segments: Segments, work: Work) -> None:
    """Blocks for the file system. Raises SpoolError."""
    try:
        for each in work.dead:
            segments.drop(each)
        for number, live, end in work.holes:
            segments.free_around(number, live, end)
    except OSError as error:
        raise SpoolError(f"the room of purged mails cannot be given back: {error}") from error
