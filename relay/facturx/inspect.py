"""The check as a whole: the documents of one mail in, one report each out. Pure; never raises for a bad document."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from relay.facturx import text
from relay.facturx.document import judge
from relay.facturx.encoding import decode_document
from relay.file_type import is_pdf
from relay.inspection import Candidate, Options
from relay.report import Finding, Kind, Report, Severity, Verdict


def inspect(
    candidates: Sequence[Candidate], options: Options, clock: Callable[[], float] | None = None
) -> tuple[Report, ...]:
    """One report a candidate, in their order. clock: seconds, for `Report.ms`; without it `ms` is 0."""
    pairs = [_one(candidate, options, clock) for candidate in candidates]
    numbers = {report.number for report, _ in pairs if report.number}
    return tuple(
        _with_mentions(report, content, numbers, clock) if _is_plain(report) else report for report, content in pairs
    )


def _one(candidate: Candidate, options: Options, clock: Callable[[], float] | None) -> tuple[Report, bytes]:
    started = clock() if clock else 0.0
    content, problem = decode_document(candidate)
    report = Report(hashlib.sha256(content).hexdigest(), len(content), Verdict.UNDETERMINED, Kind.OTHER)
    try:
        report = judge(report, content, candidate, options)
    except Exception as error:  # a fault of ours costs the mail a verdict, never the worker (DESIGN rule 3)
        kind = Kind.PDF if is_pdf(content) else Kind.OTHER
        found = _warning("CHECK-FAILED", f"the check itself failed: {type(error).__name__}")
        report = replace(report, kind=kind, openable=False, findings=(found,))
    if problem is not None:
        verdict = Verdict.UNDETERMINED if report.verdict is Verdict.NOT_FACTURX else report.verdict
        report = replace(report, verdict=verdict, findings=(problem, *report.findings))
    return replace(report, ms=_ms(clock, started)), content


def _is_plain(report: Report) -> bool:
    return report.kind is Kind.PDF and report.openable and not report.encrypted


def _with_mentions(report: Report, content: bytes, numbers: set[str], clock: Callable[[], float] | None) -> Report:
    """The text is read only when there is a number to look for: it costs more than the whole rest of a plain PDF."""
    if not numbers:
        return report
    started = clock() if clock else 0.0
    try:
        words = text.of_pdf(content)
    except Exception:  # the text only serves to pair; unread, the document is kept
        words = None
    if words is None:
        return report
    found = text.mentions(words, numbers)
    return replace(report, mentions=found, has_text=bool(words.strip()), ms=report.ms + _ms(clock, started))


def _ms(clock: Callable[[], float] | None, started: float) -> float:
    return round((clock() - started) * 1000, 3) if clock else 0.0


def _warning(rule: str, words: str) -> Finding:
    return Finding(rule, Severity.WARNING, "pdf", words)
