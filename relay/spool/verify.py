"""Is a spool, or a backup of one, sound? Every page, every mail's octets against their digest, every plan read."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from relay.spool import rows
from relay.spool.backup import Progress, integrity
from relay.spool.faults import meaning
from relay.spool.restore import open_sound


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
            return Verified(schema, mails, states, tuple(_faults(db, mails, progress)))
    except sqlite3.Error as error:
        raise meaning(error) from error


def _faults(db: sqlite3.Connection, mails: int, progress: Progress) -> Iterator[str]:
    for done, (number, queue_id) in enumerate(db.execute("SELECT id, queue_id FROM mails ORDER BY id"), 1):
        content = db.execute("SELECT raw FROM content WHERE mail = ?", (number,)).fetchone()
        try:
            found = rows.read_mail(db, queue_id, None)
            rows.deliveries(db, "mail = ?", number)
        except ValueError:
            yield f"mail {queue_id}: its envelope, plans or deliveries cannot be read"
            continue
        if found is not None and content is not None and sha256(content[0]).digest() != found[1]:
            yield f"mail {queue_id}: its octets are not those that were accepted"
        progress(done / mails)
