"""The verdict on one document: what it is, which checks it goes through, what their findings amount to."""

import re
from collections.abc import Mapping
from dataclasses import replace

from lxml import etree

from relay.facturx import checks, container, extract, schematron, xmp
from relay.facturx.embedded import Embedded, invoices
from relay.facturx.invoice import Invoice
from relay.facturx.invoice import read as read_invoice
from relay.facturx.profiles import Profile
from relay.facturx.xml import parse
from relay.inspection import Candidate, Options
from relay.report import Finding, Kind, Report, Severity, Verdict

LEVELS = ("off", "structure", "full")
_FOREIGN = frozenset({Kind.XRECHNUNG, Kind.UBL, Kind.ORDERX, Kind.ZUGFERD1})
_FRENCH_VAT = re.compile(r"FR[0-9A-Z]{2}[0-9]{9}")


def judge(blank: Report, data: bytes, candidate: Candidate, options: Options) -> Report:
    """The report on `data`; `blank` has its sha256 and size. May raise only for a fault of our own."""
    if extract.is_pdf(data):
        return _pdf(blank, data, options)
    named = candidate.media_type.lower() == "application/pdf" or candidate.filename.lower().endswith(".pdf")
    if named:
        found = _warning("PDF-HEADER-MISSING", "pdf", "said to be a PDF, but it has no header %PDF-")
        return replace(blank, kind=Kind.PDF, openable=False, findings=(found,))
    return _other(blank, data)


def _pdf(blank: Report, data: bytes, options: Options) -> Report:
    opened = extract.read(data)
    if isinstance(opened, extract.Unreadable):
        return replace(blank, kind=Kind.PDF, openable=False, encrypted=opened.encrypted, findings=(opened.finding,))
    claims = xmp.read(opened.xmp) if opened.xmp else None
    claimed = claims is not None and claims.claims_facturx
    report = replace(blank, kind=Kind.PDF, claimed=claimed)
    several = invoices(opened)
    if not several:
        return _without_invoice(report, opened, claims)
    first = several[0]
    findings = list(opened.findings)
    if len(several) > 1:
        findings.append(_error("FX-MULTIPLE-XML", "pdf", f"{len(several)} invoice XMLs are embedded; one is allowed"))
    if first.invoice is not None:
        report = _filled(report, first.invoice)
        if first.invoice.kind in _FOREIGN:
            return _foreign(replace(report, kind=first.invoice.kind), findings)
    profile = first.invoice.profile if first.invoice is not None else None
    report = replace(report, kind=Kind.FACTURX, profile=profile.name if profile else None)
    if options.level == "off":
        return report
    findings += container.check(opened, first.attachment, profile, claims)
    return _concluded(report, findings, options, finished=_invoice(first, findings, options))


def _invoice(first: Embedded, findings: list[Finding], options: Options) -> bool:
    """Findings of the invoice itself into `findings`; False when a check could not tell."""
    if isinstance(first.root, Finding) or first.invoice is None:
        findings.append(first.root if isinstance(first.root, Finding) else _unknown())
        return True
    invoice, profile = first.invoice, first.invoice.profile
    if profile is None:
        findings.append(_unknown())
        return True
    breaches = checks.xsd(first.root, profile)
    findings += breaches
    finished = True
    if options.level == "full" and not breaches:
        finished = _rules(first.root, invoice, profile, findings, options)
    findings += checks.identifiers(invoice)
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
        for each in rules.french():
            warns = eased and each.severity is Severity.ERROR
            findings.append(replace(each, severity=Severity.WARNING) if warns else each)
    except (schematron.EngineError, FileNotFoundError) as error:
        # They end in a fault of their own on a date that is none. As warnings they could not have made it invalid.
        findings.append(_warning("ENGINE-FAILED", "french-rules", f"the French rules were not checked: {error}"))
        finished = finished and eased
    return finished


def _seller_is_french(root: etree._Element, invoice: Invoice) -> bool:
    """BT-30 under scheme 0002, or a French VAT number (BT-31)."""
    registered = root.find(".//{*}SellerTradeParty/{*}SpecifiedLegalOrganization/{*}ID[@schemeID='0002']")
    return registered is not None or bool(_FRENCH_VAT.fullmatch(invoice.seller.vat or ""))


def _without_invoice(report: Report, opened: extract.Container, claims: xmp.Xmp | None) -> Report:
    """A claim without an invoice is a broken Factur-X; without a claim it is an ordinary PDF."""
    if report.claimed:
        lacking = _error("FX-NO-XML", "pdf", "the XMP claims a Factur-X, but no invoice is embedded")
        unread = [each.problem for each in opened.attachments if each.problem is not None]
        return replace(
            report, kind=Kind.FACTURX, verdict=Verdict.INVALID, findings=(*opened.findings, *unread, lacking)
        )
    if claims is not None and claims.namespace == xmp.ORDERX:
        return _foreign(replace(report, kind=Kind.ORDERX), list(opened.findings))
    if claims is not None and claims.namespace == xmp.ZUGFERD1:
        return _foreign(replace(report, kind=Kind.ZUGFERD1), list(opened.findings))
    return _foreign(report, list(opened.findings))


def _foreign(report: Report, findings: list[Finding]) -> Report:
    """Not ours to judge: what was seen stays as a remark."""
    remarks = tuple(
        replace(each, severity=Severity.INFO) if each.severity is Severity.ERROR else each for each in findings
    )
    return replace(report, verdict=Verdict.NOT_FACTURX, findings=remarks)


def _other(blank: Report, data: bytes) -> Report:
    head = data[: extract.SNIFF].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\x00")
    if not head.startswith((b"<", b"<\x00")):
        return replace(blank, verdict=Verdict.NOT_FACTURX)
    root = parse(data)
    if isinstance(root, Finding):
        return _foreign(blank, [root])
    invoice = read_invoice(root, data)
    profile = invoice.profile
    report = replace(_filled(blank, invoice), kind=invoice.kind, profile=profile.name if profile else None)
    return replace(report, verdict=Verdict.NOT_FACTURX)


def _filled(report: Report, invoice: Invoice) -> Report:
    return replace(
        report,
        number=invoice.number,
        type_code=invoice.type_code,
        issued=invoice.issued,
        seller=invoice.seller,
        buyer=invoice.buyer,
        xml_sha256=invoice.sha256,
    )


def _concluded(report: Report, findings: list[Finding], options: Options, *, finished: bool) -> Report:
    final = tuple(_overridden(each, options.severities) for each in findings)
    if any(each.severity is Severity.ERROR for each in final):
        verdict = Verdict.INVALID
    else:
        verdict = Verdict.VALID if finished else Verdict.UNDETERMINED
    return replace(report, verdict=verdict, findings=final)


def _overridden(finding: Finding, severities: Mapping[str, Severity]) -> Finding:
    wanted = severities.get(finding.rule)
    return replace(finding, severity=wanted) if wanted is not None else finding


def _error(rule: str, where: str, words: str) -> Finding:
    return Finding(rule, Severity.ERROR, where, words)


def _warning(rule: str, where: str, words: str) -> Finding:
    return Finding(rule, Severity.WARNING, where, words)
