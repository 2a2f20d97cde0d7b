"""An invoice in two parts of a message: its PDF, and beside it the XML that a Factur-X would have within."""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.export.content import is_xml
from relay.export.pairing import is_that_invoice, stem
from relay.mail.message import Message
from relay.report import Kind, Report, Term, TextEvidence


@dataclass(frozen=True, slots=True)
class SplitInvoice:
    """Numbers are indexes of message.attachments. xml: XML of an invoice. pdfs: those to be judged with it.

    told: the only PDF is that invoice by its text, so that the XML may be left out where the destination takes none.
    """

    xml: int
    pdfs: tuple[int, ...]
    told: bool = False

    @property
    def members(self) -> tuple[int, ...]:
        return tuple(sorted((self.xml, *self.pdfs)))


def split_invoices(
    message: Message, reports: Sequence[Report], names: Sequence[str], others: Sequence[int], alone: bool
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
        mine = [index for index in xml if _tells(reports[pdf], reports[index], names[pdf], names[index])]
        owners = mine or (xml if alone else [])
        if len(owners) == 1:
            groups.setdefault(owners[0], []).append(pdf)
    return tuple(SplitInvoice(index, tuple(of), _is_told(of, index, reports)) for index, of in groups.items())


def _is_told(pdfs: Sequence[int], xml: int, reports: Sequence[Report]) -> bool:
    """The only PDF is headed as an invoice of this number, and its text says nothing else than the XML: one that only
    mentions the number (a delivery note, a reminder) never stands for the XML."""
    if len(pdfs) != 1:
        return False
    evidence = [each for each in reports[pdfs[0]].evidence if each.facturx == reports[xml].sha256]
    return any(is_that_invoice(each) or _is_headed_so(each) for each in evidence)


def _is_headed_so(evidence: TextEvidence) -> bool:
    headed = {Term.NUMBER, Term.KIND} <= set(evidence.found)
    return headed and evidence.announced and not evidence.contradicted


def _tells(pdf: Report, xml: Report, pdf_name: str, xml_name: str) -> bool:
    """The text holds the invoice number (one of four characters at least: shorter ones stand in any text), or there is
    no such text and both files have one name."""
    number = (xml.number or "").strip()
    if len(number) >= 4 and xml.number in pdf.mentions:
        return True
    return bool(stem(pdf_name)) and stem(pdf_name) == stem(xml_name)
