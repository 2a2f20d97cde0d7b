"""Originals by content: what is removed beside its Factur-X, and what never is."""

import io
from collections.abc import Sequence

import pikepdf
import pytest

from relay import serialization
from relay.demo.sample_pdf import facturx_pdf, plain_pdf
from relay.facturx.inspect import inspect
from relay.inspection import Candidate, Kind, Options, Report, Term
from relay.routing.originals import stem
from tests.support import corpus
from tests.support.originals import HYBRID, ORIGINALS, OTHERS, B, page, removed, stripped, sums

LEVEL = Options(level="structure")


@pytest.mark.parametrize("layout", ORIGINALS)
def test_an_original_of_any_layout_is_removed(layout: str) -> None:
    made = ORIGINALS[layout]()
    pair = list(zip(made.names, (made.facturx, made.original), strict=True))
    assert removed(pair) == [made.names[1]]
    assert removed(pair[::-1]) == [made.names[1]]
    assert removed(pair, button=True) == []


@pytest.mark.parametrize("what", OTHERS)
def test_a_document_that_only_mentions_the_invoice_is_kept(what: str) -> None:
    facturx, other = facturx_pdf(B.xml(), text=HYBRID), page(OTHERS[what])
    for names in (("facture.pdf", "facture.pdf"), ("F-2026-117_facturx.pdf", "F-2026-117.pdf")):
        assert removed(list(zip(names, (facturx, other), strict=True))) == []


@pytest.mark.parametrize("what", OTHERS)
def test_a_document_is_kept_beside_the_original(what: str) -> None:
    made = ORIGINALS["legal mentions and references"]()
    parts = [("F-2026-117_facturx.pdf", made.facturx), ("F-2026-117.pdf", page(OTHERS[what])), ("o.pdf", made.original)]
    assert removed(parts) == ["o.pdf"]


SAYS_ELSE = [
    "delivery note",
    "credit note",
    "reminder",
    "quote",
    "pro forma",
    "prepayment",
    "certificate",
    "receipt",
    "account statement",
    "another seller",
    "another seller of the same name",
    "another invoice",
    "another invoice that names ours",
    "another total",
    "another date",
]


@pytest.mark.parametrize("what", SAYS_ELSE)
def test_always_paired_does_not_cover_a_text_that_contradicts(what: str) -> None:
    parts = [("a.pdf", facturx_pdf(B.xml(), text=HYBRID)), ("b.pdf", page(OTHERS[what]))]
    assert removed(parts, always_paired=True) == []


@pytest.mark.parametrize("lines", [[], ["Moulins Durand", "F-2026-117"], ["Facture F-2026-117", "Total TTC 1 234,56"]])
def test_always_paired_covers_a_scan_and_a_text_that_states_little(lines: Sequence[str]) -> None:
    parts = [("a.pdf", facturx_pdf(B.xml(), text=HYBRID)), ("b.pdf", page(lines) if lines else plain_pdf(""))]
    assert removed(parts) == []
    assert removed(parts, always_paired=True) == ["b.pdf"]


def near(lines: Sequence[str], old: str, new: str) -> list[str]:
    """The same template with another figure."""
    assert any(old in line for line in lines)
    return [line.replace(old, new) for line in lines]


TEMPLATE = ("MOULINS DURAND", "Facture F-2026-117 du 27/11/2026", *(f"ligne {n} farine" for n in range(40)), *sums(B))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("F-2026-117", "F-2026-118"),
        ("1 234,56", "1 234,57"),
        ("27/11/2026", "28/11/2026"),
        ("205,76", "205,77"),
        ("F-2026-117 du", "F-2026-118 qui suit F-2026-117 du"),
    ],
)
def test_the_same_template_with_another_figure_is_another_invoice(old: str, new: str) -> None:
    facturx = facturx_pdf(B.xml(), text="\n".join(TEMPLATE))
    assert removed([("a.pdf", facturx), ("b.pdf", page(TEMPLATE))]) == ["b.pdf"]
    other = page(near(TEMPLATE, old, new))
    _, report = inspect([Candidate(facturx), Candidate(other)], LEVEL)
    assert report.evidence[0].similarity > 0.9
    assert removed([("a.pdf", facturx), ("b.pdf", other)]) == []


def test_a_factur_x_whose_pages_do_not_open_has_no_original() -> None:
    made = ORIGINALS["scan named after the number"]()
    with pikepdf.open(io.BytesIO(made.facturx)) as pdf:
        pdf.Root.Pages.Kids = pikepdf.Array([])
        pdf.Root.Pages.Count = 0
        out = io.BytesIO()
        pdf.save(out)
    reports = inspect([Candidate(out.getvalue()), Candidate(made.original)], LEVEL)
    assert (reports[0].kind, reports[0].has_text, reports[1].evidence) == (Kind.FACTURX, None, ())
    assert removed(list(zip(made.names, (out.getvalue(), made.original), strict=True))) == []


def test_a_scan_beside_two_factur_x_of_its_name_is_kept() -> None:
    first = facturx_pdf(B.xml(), text=HYBRID)
    second = facturx_pdf(ORIGINALS_XML, text=HYBRID)
    parts = [("n12.pdf", first), ("n12 (1).pdf", second), ("n12_original.pdf", plain_pdf(""))]
    assert removed(parts) == []


ORIGINALS_XML = B.xml().replace(b"F-2026-117", b"F-2026-118")


def test_two_factur_x_each_have_their_own_original() -> None:
    first, second = facturx_pdf(B.xml(), text=HYBRID), facturx_pdf(ORIGINALS_XML, text=HYBRID)
    lines = ["Moulins Durand", "Facture F-2026-117 du 27/11/2026", *sums(B)]
    originals = [page(lines), page(near(lines, "F-2026-117", "F-2026-118"))]
    parts = list(
        zip(("o2.pdf", "f1.pdf", "o1.pdf", "f2.pdf"), (originals[1], first, originals[0], second), strict=True)
    )
    assert sorted(removed(parts)) == ["o1.pdf", "o2.pdf"]


def test_the_evidence_crosses_to_the_daemon_and_holds_no_content() -> None:
    made = ORIGINALS["blank between thousands"]()
    facturx, plain = inspect([Candidate(made.facturx), Candidate(made.original)], LEVEL)
    assert serialization.load(Report, serialization.dump(plain)) == plain
    (evidence,) = plain.evidence
    assert evidence.facturx == facturx.sha256
    assert set(evidence.found) == set(Term)
    assert not {"F-2026-117", "Durand", "1234"} & set(serialization.dump(evidence).decode().split('"'))
    assert (facturx.totals.currency, facturx.totals.without_vat, facturx.totals.vat) == ("EUR", "1028.80", "205.76")
    assert (facturx.totals.with_vat, facturx.totals.due) == ("1234.56", "1234.56")


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("facture.pdf", ""),
        ("Votre facture (2).pdf", ""),
        ("scan.pdf", ""),
        ("pièce jointe.pdf", ""),
        ("F-2026-117_facturx.pdf", "f-2026-117"),
        ("facture 12.PDF", "facture 12"),
        ("C:\\Users\\x\\Durand_original.pdf", "durand"),
    ],
)
def test_a_file_name_of_common_words_identifies_nothing(name: str, reported: str) -> None:
    assert stem(name) == reported


@corpus.needed
def test_the_hybrids_of_the_corpus_know_their_originals_and_no_others() -> None:
    """Each without its XML is its original; no other document of the corpus is."""
    contents = [path.read_bytes() for path in sorted(corpus.FOLDER.glob("*.pdf"))]
    reports = [inspect([Candidate(each)], LEVEL)[0] for each in contents]
    hybrids = [each for each, report in zip(contents, reports, strict=True) if _reads(report)]
    recognised, wrong = 0, 0
    originals = [stripped(each) for each in hybrids]
    texts = [inspect([Candidate(hybrids[0]), Candidate(each)], LEVEL)[1] for each in originals]
    assert len(hybrids) >= 20 and all(each.has_text for each in texts)
    numbers = [inspect([Candidate(each)], LEVEL)[0].number for each in hybrids]
    for mine, facturx in enumerate(hybrids):
        for theirs, original in enumerate(originals):
            found = bool(_told([facturx, original]))
            recognised += found and mine == theirs
            wrong += found and mine != theirs and numbers[mine] != numbers[theirs]
    print(f"{recognised} of {len(hybrids)} originals of the corpus recognised, {wrong} other documents")
    assert (recognised, wrong) == (len(hybrids), 0)


def _reads(report: Report) -> bool:
    return report.kind is Kind.FACTURX and report.xml_sha256 is not None


def _told(contents: Sequence[bytes]) -> list[bool]:
    from relay.routing.originals import is_that_invoice

    _, plain = inspect([Candidate(each) for each in contents], LEVEL)
    return [True for each in plain.evidence if is_that_invoice(each)]
