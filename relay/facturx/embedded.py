"""Which of a PDF's files are invoices: by their root element, and only where none can be read by their name."""

import re
from dataclasses import dataclass

from lxml import etree

from relay.facturx.container import NAME
from relay.facturx.extract import Attachment, Container
from relay.facturx.invoice import Invoice
from relay.facturx.invoice import read as read_invoice
from relay.facturx.xml import parse
from relay.report import Finding, Kind

_NAMES = frozenset({NAME, "zugferd-invoice.xml", "xrechnung.xml"})
_ROOT = re.compile(rb"<(\w+:)?CrossIndustry(Invoice|Document)\b")


@dataclass(frozen=True, slots=True)
class Embedded:
    """root: of the parsed XML, or why it cannot be read. invoice: what it says, None when it cannot be read."""

    attachment: Attachment
    root: etree._Element | Finding
    invoice: Invoice | None


def invoices(container: Container) -> list[Embedded]:
    """The invoices in the PDF, `factur-x.xml` first. An order beside one is a supporting document, not a second."""
    found = [each for each in map(_embedded, container.attachments) if each is not None]
    found.sort(key=lambda each: each.attachment.name != NAME)
    proper = [each for each in found if each.invoice is None or each.invoice.kind is not Kind.ORDERX]
    return proper or found[:1]


def _embedded(attachment: Attachment) -> Embedded | None:
    named = attachment.name.lower() in _NAMES
    if attachment.content is None:
        problem = attachment.problem if named else None
        return Embedded(attachment, problem, None) if problem is not None else None
    root = parse(attachment.content)
    if isinstance(root, Finding):
        looks = named or _ROOT.search(attachment.content) is not None
        return Embedded(attachment, root, None) if looks else None
    invoice = read_invoice(root, attachment.content)
    if invoice.kind is Kind.OTHER and attachment.name != NAME:
        return None
    return Embedded(attachment, root, invoice)
