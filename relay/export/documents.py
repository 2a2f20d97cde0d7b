"""Which attachment is the Factur-X, which the original PDF, which only comes along: the table of shared/FACTURX.md.

By content, never by file name alone. What is not sure is not an original, and only an original may be removed:
plain PDFs without a Factur-X, Order-X and its kin, encrypted and unreadable files stay what they are, "other".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay.export.content import is_body, is_pdf, is_xml
from relay.export.pairing import pair
from relay.export.role import is_statement
from relay.export.split_invoice import SplitInvoice, split_invoices
from relay.export.steps import Step
from relay.export.terms import Kinds
from relay.mail.message import Message
from relay.report import Kind, Party, Report, Verdict


@dataclass(frozen=True, slots=True)
class Invoice:
    """One invoice of the mail; numbers are indexes of message.attachments.

    originals: its original PDF, or further copies of the same XML. xml: the same invoice as bare XML. others: what
    clearly belongs to it without being its original. rivals: PDFs with the same number and another XML: a conflict.
    """

    facturx: int
    originals: tuple[int, ...] = ()
    xml: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    rivals: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Sorting:
    """All attachments sorted. others: documents of no invoice. body: text, signatures, images of the letter.

    split: invoices in two parts, PDF and XML.
    """

    invoices: tuple[Invoice, ...]
    others: tuple[int, ...]
    body: tuple[int, ...]
    steps: tuple[Step, ...] = ()
    split: tuple[SplitInvoice, ...] = ()


def sort_documents(
    message: Message,
    reports: Sequence[Report],
    always_paired: bool = False,
    checked: bool = True,
    kinds: Kinds = Kinds(),  # noqa: B008 (frozen)
) -> Sorting:
    """Sort message.attachments by their `reports` (aligned). `always_paired`: see terms.Check.

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
    plain = [each for each in rest if is_plain(reports[each], checked) and not is_statement(names[each], kinds)]
    pairs, steps = pair(invoices, plain, reports, names, always_paired)
    xml = _xml_of(invoices, [index for index in rest if is_xml(message, entities[index], reports[index])], reports)
    broken = _broken(invoices, [index for index in rest if _is_broken(reports[index])], reports)
    found = [
        Invoice(
            invoice.facturx,
            originals=invoice.originals + pairs.get(invoice.facturx, ()),
            xml=xml.get(invoice.facturx, ()),
            others=broken.get(invoice.facturx, ()),
            rivals=invoice.rivals,
        )
        for invoice in invoices
    ]
    found += [Invoice(index) for index in broken.get(None, ())]
    taken = {each for invoice in found for each in members(invoice)}
    others = tuple([index for index in rest if index not in taken])
    split = split_invoices(message, reports, names, others, alone=not found)
    taken = {each for invoice in split for each in invoice.members}
    others = tuple([index for index in others if index not in taken])
    told = [*steps, *_named(message, others, reports)]
    return Sorting(tuple(found), others, tuple(body), tuple(told), split)


def members(invoice: Invoice) -> tuple[int, ...]:
    """All attachments of one invoice, in the order of the mail."""
    parts = (invoice.facturx, *invoice.originals, *invoice.xml, *invoice.others, *invoice.rivals)
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
    """May the original go, this Factur-X staying? Not when it is broken, incomplete, locked, unreadable or unjudged.

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
    """Same XML: copies, the valid one is the Factur-X and the others originals. Another XML: rivals."""
    best = next((each for each in group if reports[each].verdict is Verdict.VALID), group[0])
    copies = [each for each in group if each != best and _same_xml(reports[each], reports[best])]
    rivals = [each for each in group if each != best and each not in copies]
    return Invoice(best, originals=tuple(copies), rivals=tuple(rivals))


def _same_xml(one: Report, other: Report) -> bool:
    if one.xml_sha256 is None or other.xml_sha256 is None:
        return one.sha256 == other.sha256
    return one.xml_sha256 == other.xml_sha256


def _xml_of(invoices: Iterable[Invoice], xml: Iterable[int], reports: Sequence[Report]) -> dict[int, tuple[int, ...]]:
    """Bare XML beside the Factur-X: of the same invoice when it is the same XML, or the same number and seller."""
    found: dict[int, tuple[int, ...]] = {}
    for index in xml:
        for invoice in invoices:
            report, facturx = reports[index], reports[invoice.facturx]
            same = report.number is not None and _identity(index, report) == _identity(invoice.facturx, facturx)
            if same or report.sha256 == facturx.xml_sha256:
                found[invoice.facturx] = (*found.get(invoice.facturx, ()), index)
                break
    return found


def _broken(
    invoices: Sequence[Invoice], broken: Iterable[int], reports: Sequence[Report]
) -> dict[int | None, tuple[int, ...]]:
    """A broken Factur-X whose text names one good invoice of the mail goes with it; else (None) it stands alone."""
    found: dict[int | None, tuple[int, ...]] = {}
    for index in broken:
        named = [each.facturx for each in invoices if reports[each.facturx].number in reports[index].mentions]
        key = named[0] if len(named) == 1 else None
        found[key] = (*found.get(key, ()), index)
    return found


def _named(message: Message, others: Iterable[int], reports: Sequence[Report]) -> Iterable[Step]:
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
