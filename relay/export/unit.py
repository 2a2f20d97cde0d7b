"""Unit: documents that travel together, where to, and the ruling on them; Case: the mail under decision."""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.export.directory import Directory
from relay.export.documents import Sorting
from relay.export.terms import Policy
from relay.mail.message import Entity, Message
from relay.model import Disposition, DocumentPart, Envelope, Role
from relay.reason import Reason
from relay.report import Report


@dataclass(frozen=True, slots=True)
class Ruling:
    """What becomes of a unit and why. RELAY has no reason."""

    disposition: Disposition = Disposition.RELAY
    reason: Reason | None = None
    detail: str = ""

    @property
    def passes(self) -> bool:
        return self.disposition is Disposition.RELAY


RELAY = Ruling()


def hold(reason: Reason, detail: str = "") -> Ruling:
    return Ruling(Disposition.HOLD, reason, detail)


def by_policy(policy: Policy, reason: Reason, detail: str = "") -> Ruling:
    """What the setting `policy` makes of `reason`."""
    if policy is Policy.RELAY:
        return RELAY
    return Ruling(Disposition.HOLD if policy is Policy.HOLD else Disposition.REFUSE, reason, detail)


@dataclass(frozen=True, slots=True)
class Unit:
    """Numbers are indexes of message.attachments.

    core: travel in one mail or not at all. loose: come along, in a mail of their own if they do not fit.
    removed: documents of this unit that do not leave. role_by: as of a Plan.
    """

    core: tuple[int, ...]
    loose: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    role: Role = Role.UNKNOWN
    to: str | None = None
    ruling: Ruling = RELAY
    role_by: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One mail under decision: what was received, what was found in it, and the terms in force.

    checked: is a verdict to be expected at all? documents: all attachments but those of the letter itself.
    """

    envelope: Envelope
    message: Message
    reports: Sequence[Report]
    directory: Directory
    queue_id: str
    received: bytes
    entities: tuple[Entity, ...]
    checked: bool
    sorting: Sorting
    parts: dict[int, DocumentPart]
    documents: tuple[int, ...]


def parts_of(sorting: Sorting, xml: frozenset[int]) -> dict[int, DocumentPart]:
    """The part each document plays. `xml`: bare XML invoices among the others."""
    parts = {index: DocumentPart.XML if index in xml else DocumentPart.OTHER for index in sorting.others}
    for split in sorting.split:
        parts |= {split.xml: DocumentPart.XML} | dict.fromkeys(split.pdfs, DocumentPart.OTHER)
    for invoice in sorting.invoices:
        parts |= dict.fromkeys(invoice.others, DocumentPart.OTHER)
        parts |= dict.fromkeys(invoice.xml, DocumentPart.XML)
        parts |= dict.fromkeys(invoice.originals, DocumentPart.ORIGINAL)
        parts |= dict.fromkeys((invoice.facturx, *invoice.rivals), DocumentPart.FACTURX)
    return parts
