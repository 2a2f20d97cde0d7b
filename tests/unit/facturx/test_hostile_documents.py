"""Every hostile document ends within its limit, is never valid, and the next message is checked as if nothing was."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from relay.checker import CheckerPool
from relay.demo import samples
from relay.inspection import Candidate, Options, Report, Verdict
from tests.support import hostile_documents

GOOD = Candidate(samples.facturx_pdf(samples.invoice_xml()))
CASES = [("xml", name) for name in hostile_documents.XML] + [("pdf", name) for name in hostile_documents.PDF]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[CheckerPool]:
    made = CheckerPool(1, 20)
    await made.start()
    yield made
    await made.close()


def document(kind: str, name: str) -> bytes:
    return samples.facturx_pdf(hostile_documents.XML[name]()) if kind == "xml" else hostile_documents.PDF[name]()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("kind", "name"), CASES)
async def test_a_hostile_document_ends_and_is_never_valid(pool: CheckerPool, kind: str, name: str) -> None:
    async with asyncio.timeout(120):  # ends at all; how long it may take is the pool's own limit
        bad, good = await pool.inspect([Candidate(document(kind, name)), GOOD], Options(french_rules="error"))
    assert bad.verdict is not Verdict.VALID or "PDF-DAMAGED" in rules(bad)
    assert bad.findings or bad.verdict is Verdict.NOT_FACTURX
    assert good.verdict is Verdict.VALID


def rules(report: Report) -> set[str]:
    return {finding.rule for finding in report.findings}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "name", [name for name in hostile_documents.XML if name.startswith(("xxe", "dtd", "billion", "quad", "entity"))]
)
async def test_a_doctype_is_refused_before_it_is_read(pool: CheckerPool, name: str) -> None:
    (report,) = await pool.inspect([Candidate(document("xml", name))], Options())
    assert "XML-DOCTYPE" in rules(report)
    assert report.number is None


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("kind", "name", "rule"),
    [
        ("pdf", "flate-bomb", "XML-TOO-LARGE"),
        ("pdf", "flate-nested", "XML-TOO-LARGE"),
        ("pdf", "flate-predictor", "XML-TOO-LARGE"),
        ("pdf", "lzw-bomb", "XML-TOO-LARGE"),
        ("pdf", "run-length-bomb", "XML-TOO-LARGE"),
        ("pdf", "predictor-of-huge-rows", "XML-UNREADABLE"),
        ("pdf", "filter-lzw", "XML-NOT-WELL-FORMED"),
        ("xml", "long-text-and-deep", "XML-TOO-DEEP"),
        ("pdf", "xmp-bomb", "XMP-TOO-LARGE"),
        ("pdf", "encrypted", "PDF-ENCRYPTED"),
        ("xml", "beyond-limit", "XML-TOO-LARGE"),
        ("xml", "urn-suffix", "FX-LEVEL-UNKNOWN"),
        ("xml", "truncated", "XML-NOT-WELL-FORMED"),
    ],
)
async def test_a_hostile_document_has_the_finding_of_its_kind(
    pool: CheckerPool, kind: str, name: str, rule: str
) -> None:
    (report,) = await pool.inspect([Candidate(document(kind, name))], Options())
    assert rule in rules(report)
