"""A PDF of which something is missing is not a good Factur-X; one that is only written a little carelessly is."""

import io
import re
import zlib
from collections.abc import Callable

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, Pdf

from relay.demo import samples
from relay.facturx.inspect import inspect
from relay.inspection import Candidate, Kind, Options, Report, Severity, Verdict

XML = samples.invoice_xml()
PDF = samples.facturx_pdf(XML)


def check(content: bytes, **options: object) -> Report:
    (report,) = inspect([Candidate(content)], Options(level="structure", **options))  # type: ignore[arg-type]
    return report


def rules(report: Report) -> set[str]:
    return {finding.rule for finding in report.findings}


def changed(change: Callable[[Pdf], None], **how: object) -> bytes:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(PDF)) as pdf:
        change(pdf)
        pdf.save(out, **({"compress_streams": False} | how))
    return out.getvalue()


def nothing(pdf: Pdf) -> None:
    """The same document."""


def reordered(last: bytes) -> bytes:
    """The objects of the sample written anew, those with `last` in them at the end: a cut loses them first."""
    bodies = re.findall(rb"\d+ 0 obj\n.*?\nendobj\n", PDF, re.DOTALL)
    bodies.sort(key=lambda body: last in body)
    out, places = b"%PDF-1.7\n", {}
    for body in bodies:
        places[int(body.split()[0])] = len(out)
        out += body
    table = b"".join(b"%010d 00000 n \n" % places[number] for number in sorted(places))
    root = re.search(rb"/Root (\d+) 0 R", PDF)
    assert root is not None
    tail = b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root %s 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    return out + tail % (len(places) + 1, table, len(places) + 1, root.group(1), len(out))


PAGE_LAST = reordered(b"Tj")
OBJECTS_IN_STREAMS = changed(nothing, object_stream_mode=pikepdf.ObjectStreamMode.generate)
LINEAR = changed(nothing, linearize=True)


def updated() -> bytes:
    """The sample with an incremental update, as a signing program appends it."""
    place = PDF.rindex(b"startxref\n")
    before = int(PDF[place:].split()[1])
    update = (
        b"%s99 0 obj\n<< /A 1 >>\nendobj\nxref\n99 1\n%010d 00000 n \ntrailer\n<< /Size 100 /Prev %d /Root %s 0 R >>\n"
    )
    root = re.search(rb"/Root (\d+) 0 R", PDF)
    assert root is not None
    body = update % (b"", len(PDF), before, root.group(1))
    return PDF + body + b"startxref\n%d\n%%%%EOF\n" % (len(PDF) + body.index(b"xref\n99"))


def without_content(pdf: Pdf) -> None:
    pdf.pages[0].Contents = pdf.make_stream(b"not packed at all " * 20)
    pdf.pages[0].Contents.stream_dict.Filter = Name.FlateDecode


def page_of_streams(pdf: Pdf) -> None:
    pdf.pages[0].Contents = Array(
        [pdf.make_stream(b"BT "), pdf.make_stream(zlib.compress(b"ET"), Filter=Name.LZWDecode)]
    )


def no_pages(pdf: Pdf) -> None:
    pdf.Root.Pages.Kids, pdf.Root.Pages.Count = Array([]), 0


LOST: dict[str, Callable[[], bytes]] = {
    "cut-within-the-last-object": lambda: PAGE_LAST[: PAGE_LAST.rindex(b"Tj")],
    "cut-before-the-last-object": lambda: PAGE_LAST[: PAGE_LAST.rindex(b" 0 obj") - 1],
    "cut-after-the-objects": lambda: PDF[: PDF.rindex(b"xref\n0 ")],
    "cut-within-the-table": lambda: PDF[: PDF.rindex(b"xref\n0 ") + 40],
    "cut-before-the-trailer": lambda: PDF[: PDF.rindex(b"trailer")],
    "cut-within-the-trailer": lambda: PDF[: PDF.rindex(b"trailer") + 15],
    "cut-before-startxref": lambda: PDF[: PDF.rindex(b"startxref")],
    "cut-within-startxref": lambda: PDF[: PDF.rindex(b"startxref") + 12],
    "cut-object-streams": lambda: OBJECTS_IN_STREAMS[: OBJECTS_IN_STREAMS.rindex(b"endstream")],
    "cut-linear": lambda: LINEAR[: int(len(LINEAR) * 0.97)],
    "cut-update": lambda: (whole := updated())[: whole.index(b"99 0 obj") + 20],
    "no-trailer": lambda: PDF[: PDF.rindex(b"trailer")] + PDF[PDF.rindex(b"startxref") :],
    "page-content-no-object": lambda: re.sub(rb"/Contents \d+ 0 R", rb"/Contents 9 7 R", PDF),
    "page-content-undecodable": lambda: changed(without_content),
    "page-content-of-a-lost-stream": lambda: changed(page_of_streams),
    "page-no-object": lambda: re.sub(rb"/Kids \[ \d+ 0 R", b"/Kids [ 0 0 R", PDF),
    "no-page": lambda: changed(no_pages),
}


@pytest.mark.parametrize("name", LOST)
def test_what_lost_octets_or_pages_is_not_valid(name: str) -> None:
    content = LOST[name]()
    report = check(content)
    assert report.verdict is not Verdict.VALID
    if report.openable:
        assert report.incomplete
        assert "PDF-INCOMPLETE" in rules(report)


@pytest.mark.parametrize("share", range(5, 100, 5))
@pytest.mark.parametrize(
    "whole", [PDF, PAGE_LAST, OBJECTS_IN_STREAMS, LINEAR], ids=["plain", "page-last", "packed", "linear"]
)
def test_no_part_of_a_factur_x_is_valid(whole: bytes, share: int) -> None:
    report = check(whole[: len(whole) * share // 100])
    assert report.verdict is not Verdict.VALID
    assert report.incomplete or not report.openable


def crlf(content: bytes) -> bytes:
    """Line ends made CR LF by a transfer as text; nothing is packed, so that only the places of the objects suffer."""
    return content.replace(b"\n", b"\r\n")


CARELESS: dict[str, Callable[[], bytes]] = {
    "as-it-is": lambda: PDF,
    "page-last": lambda: PAGE_LAST,
    "object-streams": lambda: OBJECTS_IN_STREAMS,
    "linear": lambda: LINEAR,
    "update": updated,
    "no-last-line-end": lambda: PDF.rstrip(b"\n"),
    "no-eof": lambda: PDF[: PDF.rindex(b"%%EOF")],
    "line-ends-behind": lambda: PDF + b"\r\n\r\n",
    "nul-behind": lambda: PDF + b"\0" * 3000,
    "text-behind": lambda: PDF + b"<!-- appended by a web server -->\n" * 100,
    "octets-before": lambda: b"\r\n\r\n" + PDF,
    "startxref-wrong": lambda: re.sub(rb"startxref\n\d+", b"startxref\n7", PDF),
    "startxref-nought": lambda: re.sub(rb"startxref\n\d+", b"startxref\n0", PDF),
    "table-shifted": lambda: PDF.replace(b"%PDF-1.7\n", b"%PDF-1.7\n%comment put in afterwards\n"),
    "table-of-cr-lf": lambda: crlf(PDF),
    "page-empty": lambda: changed(lambda pdf: pdf.pages[0].__delitem__("/Contents")),
    "page-content-empty": lambda: changed(lambda pdf: setattr(pdf.pages[0], "Contents", pdf.make_stream(b""))),
    "page-content-packed-empty": lambda: changed(
        lambda pdf: pdf.pages[0].Contents.write(zlib.compress(b""), filter=Name.FlateDecode)
    ),
    "page-content-in-pieces": lambda: changed(
        lambda pdf: setattr(pdf.pages[0], "Contents", Array([pdf.make_stream(b"BT "), pdf.make_stream(b"ET")]))
    ),
    "page-content-no-checksum": lambda: changed(
        lambda pdf: pdf.pages[0].Contents.write(zlib.compress(b"BT ET " * 50)[:-4], filter=Name.FlateDecode)
    ),
    "count-wrong": lambda: changed(lambda pdf: setattr(pdf.Root.Pages, "Count", 7)),
    "pages-nested": lambda: changed(
        lambda pdf: setattr(
            pdf.Root.Pages,
            "Kids",
            Array([pdf.make_indirect(Dictionary(Type=Name.Pages, Count=1, Kids=Array([pdf.pages[0].obj])))]),
        )
    ),
}


@pytest.mark.parametrize("name", CARELESS)
def test_what_is_whole_stays_valid_however_carelessly_it_is_written(name: str) -> None:
    report = check(CARELESS[name]())
    assert (report.verdict, report.incomplete, report.number) == (Verdict.VALID, False, "FA-2026-0001"), report.findings


def test_the_severity_of_the_rule_may_be_changed_and_the_original_stays() -> None:
    report = check(LOST["cut-after-the-objects"](), severities={"PDF-INCOMPLETE": Severity.WARNING})
    assert (report.verdict, report.incomplete) == (Verdict.VALID, True)


def test_an_incomplete_plain_pdf_is_reported_incomplete() -> None:
    plain = samples.plain_pdf("Facture FA-2026-0001")
    report = check(plain[: plain.rindex(b"xref\n0 ")])
    assert (report.kind, report.verdict, report.incomplete) == (Kind.PDF, Verdict.NOT_FACTURX, True)
