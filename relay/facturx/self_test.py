"""Can the engine be trusted? A good invoice must be clean and a wrong total must give BR-CO-15."""

from pathlib import Path

from relay.facturx.inspect import inspect
from relay.inspection import Candidate, Finding, Options, Severity, Verdict

_DOCUMENTS = Path(__file__).parent / "self_test_documents"
"""Made by `relay.demo.samples`: facturx_pdf(invoice_xml()), and the same with wrong_total=True."""


def self_test() -> str | None:
    """None when both verdicts are right at level full, else what went wrong."""
    good, wrong = ((_DOCUMENTS / name).read_bytes() for name in ("valid.pdf", "wrong_total.pdf"))
    clean, faulty = inspect([Candidate(good), Candidate(wrong)], Options(level="full"))
    if clean.verdict is not Verdict.VALID:
        return f"a good invoice is found {clean.verdict.value}: {_rules(clean.findings)}"
    if clean.findings:
        return f"a good invoice gives findings: {_rules(clean.findings)}"
    errors = {finding.rule for finding in faulty.findings if finding.severity is Severity.ERROR}
    if faulty.verdict is not Verdict.INVALID or errors != {"BR-CO-15"}:
        return f"a wrong total is found {faulty.verdict.value} without BR-CO-15 alone: {_rules(faulty.findings)}"
    return None


def _rules(findings: tuple[Finding, ...]) -> str:
    return ", ".join(sorted({finding.rule for finding in findings})) or "no finding"
