"""The check as a whole: the documents of one mail in, one report each out. Pure; never raises for a bad document."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from relay.facturx import evidence, page_text
from relay.facturx.document import check_document
from relay.facturx.encoding import decode_document
from relay.facturx.page_text import Page
from relay.inspection import Candidate, Finding, Kind, Options, Report, Severity, Verdict
from relay.mime.file_type import is_pdf


def inspect(
    candidates: Sequence[Candidate], options: Options, clock: Callable[[], float] | None = None
) -> tuple[Report, ...]:
    """One report a candidate, in their order. clock: seconds, for `Report.ms`; without it `ms` is 0."""
    pairs = [_one(candidate, options, clock) for candidate in candidates]
    numbers = {report.number for report, _ in pairs if report.number}
    plain = [index for index, (report, _) in enumerate(pairs) if _is_plain(report)]
    if not plain or not (numbers or any(report.kind is Kind.FACTURX for report, _ in pairs)):
        return tuple(report for report, _ in pairs)
    invoices, reports = _stated(pairs, clock)
    allowed = evidence.MAX_COMPARISONS
    for index in plain:
        wanted = invoices[: max(0, allowed)]
        allowed -= len(wanted)
        reports[index] = _with_text(reports[index], pairs[index][1], numbers, wanted, clock)
    return tuple(reports)


def _stated(
    pairs: Sequence[tuple[Report, bytes]], clock: Callable[[], float] | None
) -> tuple[list[evidence.Stated], list[Report]]:
    """What each Factur-X and bare XML invoice states, and all reports: a Factur-X says whether its pages were read."""
    found: list[evidence.Stated] = []
    reports: list[Report] = []
    for report, content in pairs:
        told = report
        if report.kind is Kind.FACTURX and report.xml_sha256 is not None:
            started = clock() if clock else 0.0
            try:
                one = evidence.stated(report, content)
            except Exception:  # without it nothing is its original, and all documents are kept
                one = None
            if one is not None:
                found.append(one)
                told = replace(report, has_text=bool(one.page.lines))
            told = replace(told, ms=told.ms + _ms(clock, started))
        elif report.kind is Kind.CII:
            found += _stated_by_xml(report, content)
        reports.append(told)
    return found, reports


def _stated_by_xml(report: Report, content: bytes) -> list[evidence.Stated]:
    try:
        one = evidence.stated_by_xml(report, content)
    except Exception:  # without it the XML is kept beside its PDF
        return []
    return [] if one is None else [one]


def _one(candidate: Candidate, options: Options, clock: Callable[[], float] | None) -> tuple[Report, bytes]:
    started = clock() if clock else 0.0
    content, problem = decode_document(candidate)
    report = Report(hashlib.sha256(content).hexdigest(), len(content), Verdict.UNDETERMINED, Kind.OTHER)
    try:
        report = check_document(report, content, candidate, options)
    except Exception as error:  # a fault of ours costs the message a verdict, never the worker (DESIGN rule 3)
        kind = Kind.PDF if is_pdf(content) else Kind.OTHER
        found = _warning("CHECK-FAILED", f"the check itself failed: {type(error).__name__}")
        report = replace(report, kind=kind, openable=False, findings=(found,))
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
    invoices: Sequence[evidence.Stated],
    clock: Callable[[], float] | None,
) -> Report:
    """The text is read only beside an invoice: it costs more than the whole rest of a plain PDF."""
    started = clock() if clock else 0.0
    try:
        words = page_text.of_pdf(content)
        if words is None:
            return report
        page = Page.of(words)
        found = tuple(evidence.compare(page, invoice) for invoice in invoices) if page.lines else ()
    except Exception:  # the text only serves to pair; unread, the document is kept
        return report
    return replace(
        report,
        mentions=page_text.mentions(words, numbers),
        has_text=bool(page.lines),
        evidence=found,
        ms=report.ms + _ms(clock, started),
    )


def _ms(clock: Callable[[], float] | None, started: float) -> float:
    return round((clock() - started) * 1000, 3) if clock else 0.0


def _warning(rule: str, words: str) -> Finding:
    return Finding(rule, Severity.WARNING, "pdf", words)
