"""The verdict on one document: which of its files is the invoice, which checks it goes through, what their findings
amount to."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lxml import etree

from relay.facturx import active_content, container, identifiers, pdf, schematron, xml
from relay.facturx.container import NAME
from relay.facturx.invoice import Invoice, Profile
from relay.facturx.invoice import read as read_invoice
from relay.facturx.pdf import Attachment, Container
from relay.facturx.xml import looks_like_xml, parse
from relay.inspection import PDF_WITHIN, Candidate, Finding, Kind, Options, Report, Severity, Verdict
from relay.mime.file_type import PDF, SNIFF, file_type, is_pdf

_NAMES = frozenset({NAME, "zugferd-invoice.xml", "xrechnung.xml"})
_ROOT = re.compile(rb"<(\w+:)?CrossIndustry(Invoice|Document)\b")


@dataclass(frozen=True, slots=True)
class Embedded:
    """root: of the parsed XML, or why it cannot be read. invoice: what it says, None when it cannot be read."""

    attachment: Attachment
    root: etree._Element | Finding
    invoice: Invoice | None


def invoices(pdf_container: Container) -> list[Embedded]:
    """The invoices in the PDF, `factur-x.xml` first. An order beside one is a supporting document, not a second."""
    embedded = [invoice for invoice in map(_embedded, pdf_container.attachments) if invoice is not None]
    embedded.sort(key=lambda item: item.attachment.name != NAME)
    proper = [item for item in embedded if item.invoice is None or item.invoice.kind is not Kind.ORDERX]
    return proper or embedded[:1]


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


LEVELS = ("off", "structure", "full")
_FOREIGN = frozenset({Kind.XRECHNUNG, Kind.UBL, Kind.ORDERX, Kind.ZUGFERD1})
_FRENCH_VAT = re.compile(r"FR[0-9A-Z]{2}[0-9]{9}")


def check_document(blank: Report, data: bytes, candidate: Candidate, options: Options) -> Report:
    """The report on `data`; `blank` has its sha256 and size. May raise only for a fault of our own."""
    if is_pdf(data):
        return _pdf(blank, data, options)
    outer = file_type(data)
    looked_at = SNIFF if outer is not None and outer.startswith("image/") else len(data)
    if outer not in (None, "text/xml") and data.find(b"%PDF-", 0, looked_at) >= 0:
        text = f"a PDF within another format ({outer}), which is not looked into: the document is no PDF"
        return replace(blank, verdict=Verdict.NOT_FACTURX, findings=(_warning(PDF_WITHIN, "pdf", text),))
    named = candidate.media_type.lower() == PDF or candidate.filename.lower().endswith(".pdf")
    if named:
        problem = _warning("PDF-HEADER-MISSING", "pdf", "said to be a PDF, but it has no header %PDF-")
        return replace(blank, kind=Kind.PDF, openable=False, findings=(problem,))
    return _other(blank, data)


def _pdf(blank: Report, data: bytes, options: Options) -> Report:
    opened = pdf.read(data, appearance_too=options.level == "full")
    if isinstance(opened, pdf.Unreadable):
        return replace(blank, kind=Kind.PDF, openable=False, encrypted=opened.encrypted, findings=(opened.finding,))
    facts: dict[str, Any] = {"incomplete": opened.incomplete, "active": _active(opened.findings, options)}
    claims = container.read(opened.xmp) if opened.xmp else None
    several = invoices(opened)
    if not several:
        return _without_invoice(replace(blank, **facts), opened, claims)
    first = several[0]
    findings = list(opened.findings)
    if len(several) > 1:
        findings.append(_error("FX-MULTIPLE-XML", "pdf", f"{len(several)} invoice XMLs are embedded; one is allowed"))
    facts |= {"claimed": _claimed(claims), **_terms(first.invoice)}
    if first.invoice is not None and first.invoice.kind in _FOREIGN:
        return _foreign(blank, first.invoice.kind, findings, facts)
    profile = first.invoice.profile if first.invoice is not None else None
    verdict, final = Verdict.UNDETERMINED, tuple[Finding, ...]()
    if options.level != "off":
        findings += container.check(opened, first.attachment, profile, claims)
        verdict, final = _concluded(findings, options, finished=_invoice(first, findings, options))
    named = profile.name if profile else None
    return Report(blank.sha256, blank.size, verdict, Kind.FACTURX, named, findings=final, **facts)


def _invoice(first: Embedded, findings: list[Finding], options: Options) -> bool:
    """Findings of the invoice itself into `findings`; False when a check could not tell."""
    if isinstance(first.root, Finding) or first.invoice is None:
        findings.append(first.root if isinstance(first.root, Finding) else _unknown())
        return True
    invoice, profile = first.invoice, first.invoice.profile
    if profile is None:
        findings.append(_unknown())
        return True
    if profile.remark:
        findings.append(Finding("FX-EXTENDED-CTC-FR", Severity.INFO, "xml", profile.remark))
    breaches = xml.xsd(first.root, profile)
    findings += breaches
    finished = True
    if options.level == "full" and not breaches:
        finished = _rules(first.root, invoice, profile, findings, options)
    findings += identifiers.check_digits(invoice.seller, invoice.buyer, invoice.ibans)
    return finished


def _unknown() -> Finding:
    return _error("FX-LEVEL-UNKNOWN", "xml", "the guideline (BT-24) is none of the five Factur-X profiles")


def _rules(root: etree._Element, invoice: Invoice, profile: Profile, findings: list[Finding], options: Options) -> bool:
    """Business rules into `findings`; False when an engine could not tell what might have made it invalid."""
    finished, rules = True, schematron.Rules(root)
    try:
        findings += rules.check(profile)
    except (schematron.EngineError, FileNotFoundError) as error:
        findings.append(_warning("ENGINE-FAILED", "rules", f"the business rules were not checked: {error}"))
        finished = False
    if options.french_rules == "off" or profile.name == "minimum" or not _seller_is_french(root, invoice):
        return finished
    eased = options.french_rules == "warning"
    try:
        for finding in rules.french():
            warns = eased and finding.severity is Severity.ERROR
            findings.append(replace(finding, severity=Severity.WARNING) if warns else finding)
    except (schematron.EngineError, FileNotFoundError) as error:
        # They end in a fault of their own on a date that is none. As warnings they could not have made it invalid.
        findings.append(_warning("ENGINE-FAILED", "french-rules", f"the French rules were not checked: {error}"))
        finished = finished and eased
    return finished


def _seller_is_french(root: etree._Element, invoice: Invoice) -> bool:
    """BT-30 under scheme 0002, or a French VAT number (BT-31)."""
    if _FRENCH_VAT.fullmatch(invoice.seller.vat or ""):
        return True
    return root.find(".//{*}SellerTradeParty/{*}SpecifiedLegalOrganization/{*}ID[@schemeID='0002']") is not None


def _without_invoice(blank: Report, opened: pdf.Container, claims: container.Xmp | None) -> Report:
    """A claim without an invoice is a broken Factur-X; without a claim it is an ordinary PDF."""
    if _claimed(claims):
        lacking = _error("FX-NO-XML", "pdf", "the XMP claims a Factur-X, but no invoice is embedded")
        unread = [each.problem for each in opened.attachments if each.problem is not None]
        findings = (*opened.findings, *unread, lacking)
        return replace(blank, kind=Kind.FACTURX, verdict=Verdict.INVALID, findings=findings, claimed=True)
    kinds = {container.ORDERX: Kind.ORDERX, container.ZUGFERD1: Kind.ZUGFERD1}
    kind = kinds.get(claims.namespace or "", Kind.PDF) if claims is not None else Kind.PDF
    return _foreign(blank, kind, opened.findings, {})


def _claimed(claims: container.Xmp | None) -> bool:
    return claims is not None and claims.claims_facturx


def _foreign(blank: Report, kind: Kind, findings: Sequence[Finding], facts: dict[str, Any]) -> Report:
    """Not a Factur-X: its findings stay as remarks."""
    remarks = tuple(
        replace(each, severity=Severity.INFO) if each.severity is Severity.ERROR else each for each in findings
    )
    return replace(blank, verdict=Verdict.NOT_FACTURX, kind=kind, findings=remarks, **facts)


def _other(blank: Report, data: bytes) -> Report:
    if not looks_like_xml(data[: pdf.SNIFF]):
        return replace(blank, verdict=Verdict.NOT_FACTURX)
    root = parse(data)
    if isinstance(root, Finding):
        return _foreign(blank, blank.kind, [root], {})
    invoice = read_invoice(root, data)
    profile = invoice.profile.name if invoice.profile else None
    return Report(blank.sha256, blank.size, Verdict.NOT_FACTURX, invoice.kind, profile, **_terms(invoice))


def _terms(invoice: Invoice | None) -> dict[str, Any]:
    """What a report repeats of the invoice."""
    if invoice is None:
        return {}
    return {
        "number": invoice.number,
        "type_code": invoice.type_code,
        "issued": invoice.issued,
        "seller": invoice.seller,
        "buyer": invoice.buyer,
        "xml_sha256": invoice.sha256,
        "totals": invoice.totals,
    }


def _concluded(findings: Sequence[Finding], options: Options, *, finished: bool) -> tuple[Verdict, tuple[Finding, ...]]:
    final = tuple(_overridden(each, options.severities) for each in findings)
    if any(each.severity is Severity.ERROR for each in final):
        return Verdict.INVALID, final
    return (Verdict.VALID if finished else Verdict.UNDETERMINED), final


def _active(findings: Sequence[Finding], options: Options) -> tuple[str, ...]:
    """The rules of active content that count as errors, in whatever PDF; none when the check is off."""
    if options.level == "off":
        return ()
    active = (_overridden(finding, options.severities) for finding in findings if finding.rule in active_content.RULES)
    return tuple(finding.rule for finding in active if finding.severity is Severity.ERROR)


def _overridden(finding: Finding, severities: Mapping[str, Severity]) -> Finding:
    wanted = severities.get(finding.rule)
    return replace(finding, severity=wanted) if wanted is not None else finding


def _error(rule: str, where: str, words: str) -> Finding:
    return Finding(rule, Severity.ERROR, where, words)


def _warning(rule: str, where: str, words: str) -> Finding:
    return Finding(rule, Severity.WARNING, where, words)
