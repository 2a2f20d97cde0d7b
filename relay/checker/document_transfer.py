"""Documents on their way to a worker and the reports that come back; the report on one that no worker could finish."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from relay import serialization
from relay.inspection import Candidate, Finding, Kind, Options, Report, Severity, Verdict
from relay.mime.transfer_decoder import decode_document

TIMEOUT, CRASHED = "CHECK-TIMEOUT", "CHECK-CRASHED"
"""Rules of the finding on a document at which the worker ended, twice."""

_TEXTS = {
    TIMEOUT: "the check did not end in time, twice",
    CRASHED: "the check brought its process down, twice",
}


def documents_header(candidates: Sequence[Candidate], options: Options) -> dict[str, Any]:
    """The header of a request to inspect `candidates`, whose contents are sent beside it."""
    documents = [
        {"encoding": each.encoding, "filename": each.filename, "media_type": each.media_type} for each in candidates
    ]
    return {"op": "inspect", "options": options, "documents": documents}


def read_documents(header: dict[str, Any], contents: Sequence[memoryview]) -> tuple[list[Candidate], Options]:
    """The worker's side of `documents_header`."""
    candidates = [
        Candidate(content, said["encoding"], said["filename"], said["media_type"])
        for said, content in zip(header["documents"], contents, strict=True)
    ]
    return candidates, serialization.build(Options, header["options"])


def read_reports(header: dict[str, Any], count: int) -> tuple[Report, ...]:
    """The reports of an answer. Raises ValueError unless there is one a document."""
    reports = serialization.build(tuple[Report, ...], header.get("reports"))
    if len(reports) != count:
        raise ValueError(f"{len(reports)} reports on {count} documents")
    return reports


def unfinished(candidate: Candidate, rule: str) -> Report:
    """UNDETERMINED. rule: TIMEOUT or CRASHED. The document is decoded and hashed: 20 MB take some 100 ms."""
    content, problem = decode_document(candidate)
    return Report(
        hashlib.sha256(content).hexdigest(),
        len(content),
        Verdict.UNDETERMINED,
        Kind.PDF if b"%PDF-" in content[:1029] else Kind.OTHER,
        findings=(Finding(rule, Severity.WARNING, "pdf", _TEXTS[rule]), *([problem] if problem else [])),
        openable=False,
    )


def mark_untrusted(reports: Sequence[Report], options: Options, failure: str | None) -> tuple[Report, ...]:
    """Never valid by an engine that failed its own test. failure: what went wrong in it, None if nothing."""
    if failure is None or options.level != "full":
        return tuple(reports)
    doubt = Finding("ENGINE-FAILED", Severity.WARNING, "rules", f"the engine failed its self-test: {failure}")
    return tuple(
        replace(report, verdict=Verdict.UNDETERMINED, findings=(*report.findings, doubt))
        if report.verdict is Verdict.VALID
        else report
        for report in reports
    )


def given_up(header: dict[str, Any], candidates: Sequence[Candidate]) -> Mapping[int, Report]:
    """By index, reports on the documents that are not to be looked at again, as the request says."""
    return {
        int(index): unfinished(candidates[int(index)], rule)
        for index, rule in header.get("given_up", {}).items()
        if int(index) < len(candidates)
    }
