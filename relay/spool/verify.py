"""Is a spool, or a backup of one, sound? Every page, every mail's octets against their digest, every plan read."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from relay.mail.identity import is_intact
from relay.spool import rows
from relay.spool.backup import Progress, integrity
from relay.spool.content import get, has_segments
from relay.spool.faults import meaning
from relay.spool.restore import open_sound
from relay.spool.segments import Segments


@dataclass(frozen=True, slots=True)
class Verified:
    """schema: version of the file. deliveries: number by state. faults: what is wrong, a sentence each."""

    schema: int
    mails: int = 0
    deliveries: dict[str, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def verify(path: Path, progress: Progress = lambda _: None) -> Verified:
    """Read all of the spool at `path`, whether or not a daemon runs; changes nothing.

    Raises SpoolError when it is no spool of this relay or a newer one's, and when it cannot be opened.
    """
    try:
        with closing(open_sound(path)) as db:
            db.execute("BEGIN")  # one state of it, whatever the daemon commits meanwhile
            (schema,) = db.execute("PRAGMA user_version").fetchone()
            if faults := integrity(db):
                return Verified(schema, faults=tuple(faults))
            (mails,) = db.execute("SELECT COUNT(*) FROM mails").fetchone()
            states = dict(db.execute("SELECT state, COUNT(*) FROM deliveries GROUP BY state ORDER BY state"))
            return Verified(schema, mails, states, tuple(_faults(db, path, mails, progress)))
    except sqlite3.Error as error:
        raise meaning(error) from error


def _faults(db: sqlite3.Connection, path: Path, mails: int, progress: Progress) -> Iterator[str]:
    segments, older = Segments(path), not has_segments(db)
    for done, (number, queue_id) in enumerate(db.execute("SELECT id, queue_id FROM mails ORDER BY id"), 1):
        raw = get(db, segments, queue_id, older=older)
        try:
            found = rows.read_mail(db, queue_id, None)
            rows.deliveries(db, "mail = ?", number)
        except ValueError:
            yield f"mail {queue_id}: its envelope, plans or deliveries cannot be read"
            continue
        if found is not None and (raw is None or not is_intact(raw, found[1])) and _still(path, queue_id):
            yield f"mail {queue_id}: its octets are not those that were accepted"
        progress(done / mails)


def _still(path: Path, queue_id: str) -> bool:
    """Whether the mail is there at this moment: the daemon may have purged it since."""
    with closing(open_sound(path)) as db:
        return db.execute("SELECT 1 FROM mails WHERE queue_id = ?", (queue_id,)).fetchone() is not None
