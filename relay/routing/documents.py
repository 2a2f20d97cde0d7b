"""Which attachment is the Factur-X, a copy of it, its original PDF, an invoice in two parts, or only comes along.
By content, never by file name alone."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

from relay.inspection import PDF_WITHIN, Kind, Party, Report, Term, TextEvidence, Verdict
from relay.mime.classification import is_decorative
from relay.mime.file_type import PDF, SNIFF, file_type
from relay.mime.file_type import is_pdf as is_pdf_by_octets
from relay.mime.message import Entity, MimeMessage, is_document
from relay.mime.transfer_decoder import head
from relay.routing.originals import is_that_invoice, pair, stem
from relay.routing.policy import Kinds
from relay.routing.role import is_statement
from relay.routing.trace_steps import Step

_BODY_TYPES = frozenset(
    {
        "text/plain",
        "text/html",
        "text/calendar",
        "text/x-amp-html",
        "text/enriched",
        "text/watch-html",
        "text/rfc822-headers",
    }
)
_SIGNATURES = frozenset({"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"})
_PDF_KINDS = frozenset({Kind.FACTURX, Kind.ORDERX, Kind.ZUGFERD1, Kind.PDF})
_PLAINER = ("image/", "text/", "application/xml")
"""Of these types a file shows all it holds: no container is one of them."""
_XML_KINDS = frozenset({Kind.CII, Kind.UBL, Kind.XRECHNUNG})
_XML_TYPES = frozenset({"application/xml", "text/xml"})


def is_body(message: MimeMessage, entity: Entity, report: Report) -> bool:
    """Is it part of the message text and not a document: text, a report, a signature, an image that decorates the text?

    By its octets, too: what begins as a document is none of these, whatever it is called.
    """
    if is_pdf(message=None, entity=entity, report=report) or report.kind in _XML_KINDS or is_container(report):
        return False
    if entity.media_type in _SIGNATURES:
        return True
    if entity.media_type in _BODY_TYPES or entity.media_type.startswith("message/"):
        return not is_document(_head(message, entity), entity.media_type)
    return is_decorative(message, entity)


def is_pdf(message: MimeMessage | None, entity: Entity, report: Report) -> bool:
    """Is it a PDF? Its octets are asked only in doubt: UBL may stand in a PDF or alone, a name may lie."""
    if report.kind is Kind.PDF and not report.openable and not report.encrypted and message is not None:
        return is_pdf_by_octets(_head(message, entity))
    if report.kind in _PDF_KINDS or report.claimed:
        return True
    if report.kind in (Kind.UBL, Kind.XRECHNUNG):
        return message is not None and is_pdf_by_octets(_head(message, entity))
    unread = report.encrypted or not report.openable or report.verdict is Verdict.UNDETERMINED
    if not unread or report.kind is Kind.CII or not _says_pdf(entity):
        return False
    return message is None or file_type(_head(message, entity)) in (None, PDF)


def is_container(report: Report) -> bool:
    """Does it hold a PDF within another format (ZIP, PKCS #7, a message, HTML …)? It is no PDF, and no body either."""
    return any(finding.rule == PDF_WITHIN for finding in report.findings)


def is_xml(message: MimeMessage, entity: Entity, report: Report) -> bool:
    """Is it an invoice as bare XML?"""
    if report.kind is Kind.CII:
        return True
    return report.kind in (Kind.UBL, Kind.XRECHNUNG) and not is_pdf(message, entity, report)


def content_type(message: MimeMessage, entity: Entity, report: Report) -> str:
    """The media type its content bears out; a declared PDF that is none becomes application/octet-stream."""
    if is_pdf(message, entity, report):
        return "application/pdf"
    if is_xml(message, entity, report):
        return "application/xml"
    if entity.media_type == PDF or (is_container(report) and entity.media_type.startswith(_PLAINER)):
        return "application/octet-stream"
    return entity.media_type


def allowed(media_type: str, types: tuple[str, ...]) -> bool:
    """Does the destination take it? `types` may hold patterns (`image/*`); empty takes all. Both XML types are one."""
    if not types:
        return True
    names = _XML_TYPES if media_type in _XML_TYPES else {media_type}
    return any(_any_of(types).match(name) for name in names)


@lru_cache(maxsize=64)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern.lower()) for pattern in patterns))


def _says_pdf(entity: Entity) -> bool:
    return entity.media_type == PDF or (entity.filename or "").casefold().endswith(".pdf")


def body_text(message: MimeMessage, entity: Entity, limit: int) -> str:
    """The first octets of a text part, decoded as far as it goes; for searching, not for showing."""
    return _decoded(message, entity, limit).decode("utf-8", "replace")


def _head(message: MimeMessage, entity: Entity) -> bytes:
    return _decoded(message, entity, SNIFF)


def _decoded(message: MimeMessage, entity: Entity, limit: int) -> bytes:
    """Up to `limit` octets of the decoded body."""
    return head(memoryview(message.raw)[entity.body.start : entity.body.end], entity.encoding, limit)


@dataclass(frozen=True, slots=True)
class SplitInvoice:
    """Numbers are indexes of message.attachments. xml: XML of an invoice. pdfs: those to be judged with it.

    text_matches: the only PDF is that invoice by its text, so that the XML may be removed where the destination accepts
    none.
    """

    xml: int
    pdfs: tuple[int, ...]
    text_matches: bool = False

    @property
    def members(self) -> tuple[int, ...]:
        return tuple(sorted((self.xml, *self.pdfs)))


def split_invoices(
    message: MimeMessage, reports: Sequence[Report], names: Sequence[str], others: Sequence[int], alone: bool
) -> tuple[SplitInvoice, ...]:
    """The invoices in two parts among the documents `others`, which belong to no Factur-X. alone: there is none.

    A PDF goes with the XML whose number its text holds, or whose file name it has; with none of these, with the only
    XML of a message without any Factur-X: judged together it can at worst be held, judged apart it may leave with
    another client's invoice on it.
    """
    xml = [index for index in others if is_xml(message, message.attachments[index], reports[index])]
    pdfs = [index for index in others if reports[index].kind is Kind.PDF]
    groups: dict[int, list[int]] = {}
    for pdf in pdfs:
        mine = [index for index in xml if _belongs_to(reports[pdf], reports[index], names[pdf], names[index])]
        owners = mine or (xml if alone else [])
        if len(owners) == 1:
            groups.setdefault(owners[0], []).append(pdf)
    return tuple(SplitInvoice(index, tuple(of), _text_matches(of, index, reports)) for index, of in groups.items())


def _text_matches(pdfs: Sequence[int], xml: int, reports: Sequence[Report]) -> bool:
    """The only PDF is headed as an invoice of this number, and its text says nothing else than the XML: one that only
    mentions the number (a delivery note, a reminder) never stands for the XML."""
    if len(pdfs) != 1:
        return False
    evidence = [item for item in reports[pdfs[0]].evidence if item.facturx == reports[xml].sha256]
    return any(is_that_invoice(item) or _is_headed_so(item) for item in evidence)


def _is_headed_so(evidence: TextEvidence) -> bool:
    headed = {Term.NUMBER, Term.KIND} <= set(evidence.found)
    return headed and evidence.announced and not evidence.contradicted


def _belongs_to(pdf: Report, xml: Report, pdf_name: str, xml_name: str) -> bool:
    """The text holds the invoice number (one of four characters at least: shorter ones stand in any text), or there is
    no such text and both files have one name."""
    number = (xml.number or "").strip()
    if len(number) >= 4 and xml.number in pdf.mentions:
        return True
    return bool(stem(pdf_name)) and stem(pdf_name) == stem(xml_name)


@dataclass(frozen=True, slots=True)
class Invoice:
    """One invoice of the message; numbers are indexes of message.attachments.

    originals: its original PDF, or further copies of the same XML. xml: the same invoice as bare XML. others: what
    clearly belongs to it without being its original. conflicting: PDFs with the same number and another XML.
    """

    facturx: int
    originals: tuple[int, ...] = ()
    xml: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    conflicting: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Classification:
    """All attachments by what they are. others: documents of no invoice. body: text, signatures, decorative images.

    split: invoices in two parts, PDF and XML.
    """

    invoices: tuple[Invoice, ...]
    others: tuple[int, ...]
    body: tuple[int, ...]
    steps: tuple[Step, ...] = ()
    split: tuple[SplitInvoice, ...] = ()


def classify_documents(
    message: MimeMessage,
    reports: Sequence[Report],
    always_paired: bool = False,
    checked: bool = True,
    kinds: Kinds = Kinds(),  # noqa: B008 (frozen)
) -> Classification:
    """What each of message.attachments is, by its report (`reports` is aligned). `always_paired`: see policy.Check.

    `checked` False: the check is off by configuration, and no verdict is expected. `kinds`: a bank statement names the
    invoices it pays and is the original of none.
    """
    entities = message.attachments
    names = [entity.filename or "" for entity in entities]
    body: list[int] = []
    candidates: list[int] = []
    rest: list[int] = []
    for index, entity in enumerate(entities):
        report = reports[index]
        (body if is_body(message, entity, report) else candidates if _is_facturx(report) else rest).append(index)
    invoices = _invoices(candidates, reports)
    plain = [index for index in rest if is_plain(reports[index], checked) and not is_statement(names[index], kinds)]
    pairs, steps = pair(invoices, plain, reports, names, always_paired)
    xml = _xml_of(invoices, [index for index in rest if is_xml(message, entities[index], reports[index])], reports)
    broken = _broken(invoices, [index for index in rest if _is_broken(reports[index])], reports)
    complete = [
        Invoice(
            invoice.facturx,
            originals=invoice.originals + pairs.get(invoice.facturx, ()),
            xml=xml.get(invoice.facturx, ()),
            others=broken.get(invoice.facturx, ()),
            conflicting=invoice.conflicting,
        )
        for invoice in invoices
    ]
    complete += [Invoice(index) for index in broken.get(None, ())]
    of_invoices = {index for invoice in complete for index in members(invoice)}
    others = tuple([index for index in rest if index not in of_invoices])
    split = split_invoices(message, reports, names, others, alone=not complete)
    of_split_invoices = {index for invoice in split for index in invoice.members}
    others = tuple([index for index in others if index not in of_split_invoices])
    all_steps = (*steps, *_named(message, others, reports))
    return Classification(tuple(complete), others, tuple(body), all_steps, split)


def members(invoice: Invoice) -> tuple[int, ...]:
    """All attachments of one invoice, in the order of the message."""
    parts = (invoice.facturx, *invoice.originals, *invoice.xml, *invoice.others, *invoice.conflicting)
    return tuple(sorted(parts))


def is_plain(report: Report, checked: bool = True) -> bool:
    """A PDF that opens, is complete and claims to be nothing more: only such a one can be an original."""
    determined = (
        report.openable
        and not report.incomplete
        and not report.encrypted
        and not (checked and report.verdict is Verdict.UNDETERMINED)
    )
    return report.kind is Kind.PDF and determined and not report.claimed and report.xml_sha256 is None


def can_stand_alone(report: Report, checked: bool) -> bool:
    """May the original go, this Factur-X staying? Not when it is broken, incomplete, locked, unreadable or unchecked.

    `checked` False: the check is off by configuration, and no verdict is expected.
    """
    whole = report.openable and not report.incomplete and not report.encrypted and not _is_broken(report)
    return whole and (not checked or report.verdict in (Verdict.VALID, Verdict.INVALID))


def _is_facturx(report: Report) -> bool:
    return report.kind is Kind.FACTURX and not _is_broken(report)


def _is_broken(report: Report) -> bool:
    """It claims to be a Factur-X (XMP, name of the file inside) without a readable XML: broken, and no original."""
    claims = report.kind is Kind.FACTURX or (report.claimed and report.kind in (Kind.PDF, Kind.OTHER))
    return claims and report.xml_sha256 is None


def _identity(index: int, report: Report) -> tuple[str, str]:
    """One invoice is one number of one seller: the same number from two sellers is two invoices."""
    if report.number is None:
        return ("", report.xml_sha256 or report.sha256 or str(index))
    return (report.number.strip(), _seller(report.seller))


def _seller(party: Party) -> str:
    return party.siren or party.vat or (party.name or "").strip().casefold()


def _invoices(candidates: Sequence[int], reports: Sequence[Report]) -> list[Invoice]:
    groups: dict[tuple[str, str], list[int]] = {}
    for index in candidates:
        groups.setdefault(_identity(index, reports[index]), []).append(index)
    return [_invoice(group, reports) for group in groups.values()]


def _invoice(group: Sequence[int], reports: Sequence[Report]) -> Invoice:
    """Same XML: copies, the valid one is the Factur-X and the others originals. Another XML: conflicting."""
    best = next((index for index in group if reports[index].verdict is Verdict.VALID), group[0])
    copies = [index for index in group if index != best and _same_xml(reports[index], reports[best])]
    conflicting = [index for index in group if index != best and index not in copies]
    return Invoice(best, originals=tuple(copies), conflicting=tuple(conflicting))


def _same_xml(one: Report, other: Report) -> bool:
    if one.xml_sha256 is None or other.xml_sha256 is None:
        return one.sha256 == other.sha256
    return one.xml_sha256 == other.xml_sha256


def _xml_of(invoices: Iterable[Invoice], xml: Iterable[int], reports: Sequence[Report]) -> dict[int, tuple[int, ...]]:
    """Bare XML beside the Factur-X: of the same invoice when it is the same XML, or the same number and seller."""
    by_facturx: dict[int, tuple[int, ...]] = {}
    for index in xml:
        for invoice in invoices:
            report, facturx = reports[index], reports[invoice.facturx]
            same = report.number is not None and _identity(index, report) == _identity(invoice.facturx, facturx)
            if same or report.sha256 == facturx.xml_sha256:
                by_facturx[invoice.facturx] = (*by_facturx.get(invoice.facturx, ()), index)
                break
    return by_facturx


def _broken(
    invoices: Sequence[Invoice], broken: Iterable[int], reports: Sequence[Report]
) -> dict[int | None, tuple[int, ...]]:
    """A broken Factur-X whose text names one good invoice of the message goes with it; else (None) it stands alone."""
    by_facturx: dict[int | None, tuple[int, ...]] = {}
    for index in broken:
        named = [invoice.facturx for invoice in invoices if reports[invoice.facturx].number in reports[index].mentions]
        key = named[0] if len(named) == 1 else None
        by_facturx[key] = (*by_facturx.get(key, ()), index)
    return by_facturx


def _named(message: MimeMessage, others: Iterable[int], reports: Sequence[Report]) -> Iterable[Step]:
    """Say of each remaining document what it is."""
    for index in others:
        entity, report = message.attachments[index], reports[index]
        if report.encrypted or not report.openable or report.verdict is Verdict.UNDETERMINED:
            yield Step("unreadable", str(index + 1))
        elif is_xml(message, entity, report):
            yield Step("other_xml", f"{index + 1} ({report.kind})")
        elif is_pdf(message, entity, report) and not is_plain(report):
            yield Step("not_facturx", f"{index + 1} ({report.kind})")
        else:
            yield Step("other", str(index + 1))
