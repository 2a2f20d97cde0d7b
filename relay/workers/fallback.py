"""The report on a document that two workers could not finish. Its sha256 is all the daemon takes of it."""

import hashlib

from relay.facturx.encoding import decode_document
from relay.inspection import Candidate
from relay.report import Finding, Kind, Report, Severity, Verdict


def report(candidate: Candidate, *, timed_out: bool) -> Report:
    """UNDETERMINED; runs in a thread, for hashing 20 MB would hold the loop."""
    content, problem = decode_document(candidate)
    rule = "CHECK-TIMEOUT" if timed_out else "CHECK-CRASHED"
    text = "the check did not end in time, twice" if timed_out else "the check brought its process down, twice"
    return Report(
        hashlib.sha256(content).hexdigest(),
        len(content),
        Verdict.UNDETERMINED,
        Kind.PDF if b"%PDF-" in content[:1029] else Kind.OTHER,
        findings=(Finding(rule, Severity.WARNING, "pdf", text), *([problem] if problem else [])),
        openable=False,
    )
