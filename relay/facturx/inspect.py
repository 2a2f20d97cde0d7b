"""The check as a whole: the documents of one message in, one report each out; never raises for a bad document. And the
self test: can the engine be trusted?"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

from relay.facturx import identifiers, original_evidence, page_text, schematron, xml
from relay.facturx.document import check_document
from relay.facturx.page_text import PageText
from relay.inspection import Candidate, Finding, Kind, Options, Report, Severity, Verdict
from relay.mime.file_type import is_pdf
from relay.mime.transfer_decoder import decode_document


def inspect(
    candidates: Sequence[Candidate],
    options: Options,
    clock: Callable[[], float] | None = None,
    *,
    given: Mapping[int, Report] = MappingProxyType({}),
    begun: Callable[[int], None] | None = None,
) -> tuple[Report, ...]:
    """One report a candidate, in their order. clock: seconds, for `Report.ms`; without it `ms` is 0.

    given: reports, by index, on documents that are not to be looked at. begun: called with the index of a document each
    time that a part of its check begins.
    """
    say = begun or (lambda index: None)
    pairs: list[tuple[Report, bytes]] = []
    for index, candidate in enumerate(candidates):
        say(index)
        pairs.append((given[index], b"") if index in given else _inspect_one(candidate, options, clock))
    numbers = {report.number for report, _ in pairs if report.number}
    plain = [index for index, (report, _) in enumerate(pairs) if _is_plain(report)]
    if not plain or not (numbers or any(report.kind is Kind.FACTURX for report, _ in pairs)):
        return tuple(report for report, _ in pairs)
    invoices, reports = _stated(pairs, clock, say)
    allowed = original_evidence.MAX_COMPARISONS
    for index in plain:
        wanted = invoices[: max(0, allowed)]
        allowed -= len(wanted)
        say(index)
        reports[index] = _with_text(reports[index], pairs[index][1], numbers, wanted, clock)
    return tuple(reports)


def _stated(
    pairs: Sequence[tuple[Report, bytes]], clock: Callable[[], float] | None, say: Callable[[int], None]
) -> tuple[list[original_evidence.StatedInvoice], list[Report]]:
    """What each Factur-X and bare XML invoice states, and all reports: a Factur-X says whether its pages were read."""
    invoices: list[original_evidence.StatedInvoice] = []
    reports: list[Report] = []
    for index, (report, content) in enumerate(pairs):
        say(index)
        if report.kind is Kind.FACTURX and report.xml_sha256 is not None:
            started = clock() if clock else 0.0
            try:
                invoice = original_evidence.stated_by_facturx(report, content)
            except Exception:  # without it nothing is its original, and all documents are kept
                invoice = None
            if invoice is not None:
                invoices.append(invoice)
                report = replace(report, has_text=bool(invoice.page.lines))
            report = replace(report, ms=report.ms + _ms(clock, started))
        elif report.kind is Kind.CII:
            invoices += _stated_by_xml(report, content)
        reports.append(report)
    return invoices, reports


def _stated_by_xml(report: Report, content: bytes) -> list[original_evidence.StatedInvoice]:
    try:
        invoice = original_evidence.stated_by_xml(report, content)
    except Exception:  # without it the XML is kept beside its PDF
        return []
    return [] if invoice is None else [invoice]


def _inspect_one(candidate: Candidate, options: Options, clock: Callable[[], float] | None) -> tuple[Report, bytes]:
    started = clock() if clock else 0.0
    content, problem = decode_document(candidate)
    report = Report(hashlib.sha256(content).hexdigest(), len(content), Verdict.UNDETERMINED, Kind.OTHER)
    try:
        report = check_document(report, content, candidate, options)
    except Exception as error:  # a fault of ours costs the message a verdict, never the worker (doubt is temporary)
        kind = Kind.PDF if is_pdf(content) else Kind.OTHER
        failure = _warning("CHECK-FAILED", f"the check itself failed: {type(error).__name__}")
        report = replace(report, kind=kind, openable=False, findings=(failure,))
    if problem is not None:
        verdict = Verdict.UNDETERMINED if report.verdict is Verdict.NOT_FACTURX else report.verdict
        report = replace(report, verdict=verdict, findings=(problem, *report.findings))
    return (replace(report, ms=_ms(clock, started)) if clock else report), content


def _is_plain(report: Report) -> bool:
    return report.kind is Kind.PDF and report.openable and not report.encrypted


def _with_text(
    report: Report,
    content: bytes,
    numbers: set[str],
    invoices: Sequence[original_evidence.StatedInvoice],
    clock: Callable[[], float] | None,
) -> Report:
    """The text is read only beside an invoice: it costs more than the whole rest of a plain PDF."""
    started = clock() if clock else 0.0
    try:
        text = page_text.of_pdf(content)
        if text is None:
            return report
        page = PageText.of(text)
        evidence = tuple(original_evidence.compare(page, invoice) for invoice in invoices) if page.lines else ()
    except Exception:  # the text only serves to pair; unread, the document is kept
        return report
    return replace(
        report,
        mentions=page_text.mentions(text, numbers),
        has_text=bool(page.lines),
        evidence=evidence,
        ms=report.ms + _ms(clock, started),
    )


def _ms(clock: Callable[[], float] | None, started: float) -> float:
    return round((clock() - started) * 1000, 3) if clock else 0.0


def _warning(rule: str, words: str) -> Finding:
    return Finding(rule, Severity.WARNING, "pdf", words)


_DOCUMENTS = Path(__file__).parent / "self_test_documents"
"""Made by `relay.demo.samples`: facturx_pdf(invoice_xml()), and the same with wrong_total=True."""


@cache
def _self_test_documents() -> tuple[bytes, bytes]:
    return (_DOCUMENTS / "valid.pdf").read_bytes(), (_DOCUMENTS / "wrong_total.pdf").read_bytes()


def load() -> None:
    """Read all that a check or the self-test reads from files, so that no file need be opened later.

    What cannot be read is left out: the check that needs it says so.
    """
    for read in (_self_test_documents, xml.load, identifiers.load, page_text.load, schematron.load):
        with suppress(Exception):
            read()


def self_test() -> str | None:
    """A good invoice must be clean and a wrong total must give BR-CO-15, at level full: None when both verdicts are
    right, else what went wrong."""
    good, wrong = _self_test_documents()
    clean, faulty = inspect([Candidate(good), Candidate(wrong)], Options(level="full"))
    if clean.verdict is not Verdict.VALID:
        return f"a good invoice is found {clean.verdict.value}: {_rules(clean.findings)}"
    if clean.findings:
        return f"a good invoice gives findings: {_rules(clean.findings)}"
    errors = {finding.rule for finding in faulty.findings if finding.severity is Severity.ERROR}
    if faulty.verdict is not Verdict.INVALID or errors != {"BR-CO-15"}:
        return f"a wrong total is found {faulty.verdict.value} without BR-CO-15 alone: {_rules(faulty.findings)}"
    return None


def _rules(findings: Sequence[Finding]) -> str:
    return ", ".join(sorted({finding.rule for finding in findings})) or "no finding"
