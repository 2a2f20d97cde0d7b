"""What is asked of the check of a message's documents, and the report on each. Pure values; they cross to a worker
and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

PDF_WITHIN = "PDF-WITHIN-CONTAINER"
"""Rule of the finding on a ZIP archive, a signed file (PKCS #7), a message and the like in which a PDF is."""


class Verdict(StrEnum):
    """Never valid by omission: what could not be finished is `UNDETERMINED`."""

    VALID = "valid"
    INVALID = "invalid"
    UNDETERMINED = "undetermined"
    NOT_FACTURX = "not-factur-x"


class Kind(StrEnum):
    """What the document is, by its content and never by its file name."""

    FACTURX = "factur-x"
    ORDERX = "order-x"
    ZUGFERD1 = "zugferd-1"
    XRECHNUNG = "xrechnung"
    UBL = "ubl"
    CII = "cii"
    PDF = "pdf"
    OTHER = "other"


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check found.

    rule: the official id where one exists (BR-CO-15, BR-FR-08, …), else ours in capitals (XMP-MISSING).
    where: pdf | xmp | xml | xsd | rules | french-rules | identifiers.
    text: the rule's own words; never content of the invoice that a log may not hold.
    """

    rule: str
    severity: Severity
    where: str
    text: str


class Identifier(NamedTuple):
    """One identifier of a party that names a SIREN.

    siren: 9 digits. term: business term of EN 16931 that holds it ("BT-30"; "FC" for a buyer's local tax number).
    scheme: as written, "" for none. rank: 0 is a legal registration, 1 an identifier of the company, 2 a tax number or
    an electronic address: these may be a parent company's.
    """

    siren: str
    term: str
    scheme: str = ""
    rank: int = 0

    def __str__(self) -> str:
        return f"{self.term} ({self.scheme})" if self.scheme else self.term


@dataclass(frozen=True, slots=True)
class Party:
    """Seller (BG-4) or buyer (BG-7).

    siren: 9 digits, the first of `identifiers`, else None. siret: 14 digits. identifiers: all that name a SIREN, the
    surest first; they may disagree.
    """

    name: str | None = None
    siren: str | None = None
    siret: str | None = None
    vat: str | None = None
    country: str | None = None
    identifiers: tuple[Identifier, ...] = ()

    @property
    def sirens(self) -> tuple[str, ...]:
        """Each SIREN that the party's identifiers name, the surest first."""
        sirens = [identifier.siren for identifier in self.identifiers]
        return tuple(dict.fromkeys([*sirens, *filter(None, (self.siren, (self.siret or "")[:9]))]))


CREDIT_NOTES = frozenset({"81", "83", "261", "262", "296", "308", "381", "396", "420", "458", "502", "503", "532"})
"""Codes of UNTDID 1001 that EN 16931 reads as a credit note."""

_INVOICES = frozenset({Kind.FACTURX, Kind.ZUGFERD1, Kind.XRECHNUNG, Kind.UBL, Kind.CII})


@dataclass(frozen=True, slots=True)
class Totals:
    """The document totals (BG-22) as exact decimals in plain notation ("-1234.50"), None where the XML has none.

    currency: BT-5. without_vat: BT-109. vat: BT-110, in that currency. with_vat: BT-112. prepaid: BT-113. due: BT-115.
    """

    currency: str | None = None
    without_vat: str | None = None
    vat: str | None = None
    with_vat: str | None = None
    prepaid: str | None = None
    due: str | None = None


class Term(StrEnum):
    """What an invoice states and its original PDF states too."""

    NUMBER = "number"
    KIND = "kind"
    DATE = "date"
    SELLER = "seller"
    WITH_VAT = "with_vat"
    WITHOUT_VAT = "without_vat"
    VAT = "vat"


@dataclass(frozen=True, slots=True)
class TextEvidence:
    """What the text of a plain PDF has in common with one Factur-X of the same message; nothing of its content.

    facturx: sha256 of the Factur-X document. similarity: to the text of its own pages, 0 to 1; 0 when they have none.
    found, missing: the terms of its XML that the text states, and those that it does not; an amount of zero is not
    asked for. contradicted: terms for which the text states something else (KIND: headed as another kind of document).
    same_figures: the same amounts, dates and numbers stand on both, and at least one amount. identical: the same words.
    announced: the text names the number as its own (a line `Facture F-1`). nothing_else: all of its words and figures
    are those of the XML, or words that only label them, and no other kind of document is named anywhere.
    """

    facturx: str
    similarity: float = 0.0
    found: tuple[Term, ...] = ()
    missing: tuple[Term, ...] = ()
    contradicted: tuple[Term, ...] = ()
    same_figures: bool = False
    identical: bool = False
    announced: bool = False
    nothing_else: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on one document.

    sha256: of the decoded document, hex. size: its octets.
    number: BT-1. type_code: BT-3. issued: BT-2 as YYYY-MM-DD.
    xml_sha256: of the embedded invoice XML (two copies of one invoice share it).
    claimed: the XMP claims a Factur-X, whether or not an XML is there.
    encrypted: the PDF asks for a password. openable: the document could be read at all.
    incomplete: the PDF is cut off, or pages of it cannot be shown: it stands for no other document.
    active: rules of active content (scripts, programs …) that the PDF breaks, those that count as errors.
    mentions: invoice numbers (BT-1 of the other documents of the same message) that this PDF's text holds.
    has_text: False for a scan; None when the text was not read, or could not be: pages that do not open.
    evidence: of a plain PDF, how its text compares with each Factur-X of the same message whose pages open.
    totals: of the invoice.
    ms: wall clock of the check in milliseconds.
    """

    sha256: str
    size: int
    verdict: Verdict
    kind: Kind
    profile: str | None = None
    type_code: str | None = None
    number: str | None = None
    issued: str | None = None
    seller: Party = Party()
    buyer: Party = Party()
    findings: tuple[Finding, ...] = ()
    xml_sha256: str | None = None
    claimed: bool = False
    encrypted: bool = False
    openable: bool = True
    incomplete: bool = False
    active: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    has_text: bool | None = None
    ms: float = 0.0
    evidence: tuple[TextEvidence, ...] = ()
    totals: Totals = Totals()

    @property
    def is_credit_note(self) -> bool:
        return self.type_code in CREDIT_NOTES

    @property
    def invoice_key(self) -> str | None:
        """What two documents of one invoice share, whatever their octets: number, seller, whether it is a credit note,
        and the year, for a seller may begin again with 1. None where number or seller is not known."""
        party = self.seller
        seller = party.siren or party.vat or (party.name or "").strip().casefold()
        if self.kind not in _INVOICES or not self.number or not seller:
            return None
        sort = "credit note" if self.is_credit_note else "invoice"
        return "\0".join((sort, self.number.strip(), seller, (self.issued or "")[:4]))

    @property
    def invoice_xml(self) -> str | None:
        """sha256 of the invoice XML, embedded or by itself; None where there is none."""
        return self.xml_sha256 if self.kind in _INVOICES else None


Octets = bytes | memoryview
"""A memoryview is of octets (format B), and lives as long as what it was taken from."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One attachment as it stands in the message. `encoding`: its Content-Transfer-Encoding, lower case."""

    content: Octets
    encoding: str = "binary"
    filename: str = ""
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Options:
    """level: off (sha256 and kind only) | structure | full. french_rules: off | warning | error."""

    level: str = "full"
    french_rules: str = "warning"
    severities: Mapping[str, Severity] = field(default_factory=dict)
