"""Messages for the spool, short to write."""

import hashlib
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path

from relay.inspection import Finding, Kind, Report, Severity, Verdict
from relay.model import (
    Action,
    Disposition,
    Document,
    DocumentPart,
    Envelope,
    Message,
    Plan,
    Recipient,
    Span,
    new_queue_id,
)
from relay.spool.sqlite.segments import Segments

_serial = count(1)
CLIENT = "compta.acme@agiris.example"


def facturx(number: str = "F-1", content: bytes = b"%PDF", action: Action = Action.KEEP) -> Document:
    digest = hashlib.sha256(content + number.encode(errors="surrogateescape")).hexdigest()
    finding = Finding("BR-CO-15", Severity.ERROR, "rules", "totals do not add up")
    report = Report(digest, len(content), Verdict.INVALID, Kind.FACTURX, "en16931", "380", number, findings=(finding,))
    return Document(f"{number}.pdf", Span(10, 20), DocumentPart.FACTURX, action, report)


def plan(*to: str, disposition: Disposition = Disposition.RELAY, **fields: object) -> Plan:
    values: dict[str, object] = {"firm": "cabinet", "dossier": "ACME", **fields}
    return Plan(disposition, to=to, **values)  # type: ignore[arg-type]


def mail(*plans: Plan, at: float = 1_000_000.0, raw: bytes | None = None, **fields: object) -> Message:
    serial = next(_serial)
    values: dict[str, object] = {
        "queue_id": new_queue_id(),
        "envelope": Envelope("platform@jefacture.example", (Recipient("acme@export.relay.example"),), "192.0.2.1"),
        "raw": raw if raw is not None else b"Subject: %d\r\n\r\nbody\r\n" % serial,
        "plans": plans or (plan(CLIENT, documents=(facturx(f"F-{serial}"),)),),
        "arrived": at,
        "fingerprint": f"fingerprint-{serial}",
        "message_id": f"<{serial}@jefacture.example>",
        **fields,
    }
    return Message(**values)  # type: ignore[arg-type]


def octets_at(database: Path, queue_id: str) -> tuple[Path, int, int]:
    """Segment, offset and size of a message's octets."""
    with closing(sqlite3.connect(database)) as db:
        found = db.execute("SELECT segment, start, size FROM mails WHERE queue_id = ?", (queue_id,)).fetchone()
    segment, start, size = found
    return Segments(database).file(segment), start, size


def overwrite(database: Path, queue_id: str, octets: bytes) -> None:
    """Damage a message's octets where they lie."""
    segment, start, size = octets_at(database, queue_id)
    assert len(octets) <= size
    with segment.open("r+b") as file:
        file.seek(start)
        file.write(octets)
