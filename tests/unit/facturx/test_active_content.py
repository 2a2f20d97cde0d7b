"""Active content is an error wherever it stands; what is plainly no PDF/A is a warning; real invoices have neither."""

import io
import zlib
from collections.abc import Callable

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, Pdf, String

from relay.demo import samples
from relay.facturx import active_content
from relay.facturx.inspect import inspect
from relay.inspection import Candidate, Kind, Options, Report, Severity, Verdict
from tests.support import corpus

Change = Callable[[Pdf], None]
FACTURX = samples.facturx_pdf(samples.invoice_xml())
PLAIN = samples.plain_pdf("Facture FA-2026-0001")


def check(content: bytes, **options: object) -> Report:
    (report,) = inspect([Candidate(content)], Options(**({"level": "structure"} | options)))  # type: ignore[arg-type]
    return report


def rules(report: Report) -> set[str]:
    return {finding.rule for finding in report.findings}


def changed(change: Change, content: bytes = FACTURX, **how: object) -> bytes:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(content)) as pdf:
        change(pdf)
        pdf.save(out, **({"compress_streams": False} | how))
    return out.getvalue()


# Objects as they stand in a file: each document reads its own.
JAVASCRIPT = "<< /S /JavaScript /JS (app.alert) >>"
LAUNCH = "<< /S /Launch /F (cmd.exe) >>"
SUBMIT = "<< /S /SubmitForm /F (http://a.example/) >>"
IMPORT = "<< /S /ImportData /F (a.fdf) >>"
LINK = "<< /S /URI /URI (https://a.example/) >>"
GO_TO = "<< /S /GoTo /D (a) >>"


def parsed(text: str) -> pikepdf.Object:
    return pikepdf.Object.parse(text.encode())


def put(node: pikepdf.Object, values: dict[str, str]) -> None:
    for name, text in values.items():
        node[f"/{name}"] = parsed(text)


def in_root(**values: str) -> Change:
    return lambda pdf: put(pdf.Root, values)


def in_page(**values: str) -> Change:
    return lambda pdf: put(pdf.pages[0].obj, values)


def note(values: str) -> Change:
    return in_page(Annots=f"[ << /Type /Annot /Rect [ 0 0 9 9 ] {values} >> ]")


def field(values: str) -> Change:
    return in_root(AcroForm=f"<< /Fields [ << /T (parent) /Kids [ << /FT /Tx /T (a) {values} >> ] >> ] >>")


def in_names(pdf: Pdf) -> None:
    leaf = pdf.make_indirect(Dictionary(Names=Array([String("a"), parsed(JAVASCRIPT)])))
    pdf.Root.Names.JavaScript = Dictionary(Kids=Array([pdf.make_indirect(Dictionary(Kids=Array([leaf])))]))


def on_the_last_page(pdf: Pdf) -> None:
    for _ in range(120):
        pdf.add_blank_page()
    pdf.pages[-1].obj.AA = Dictionary(O=parsed(JAVASCRIPT))


def in_an_outline(pdf: Pdf) -> None:
    last = pdf.make_indirect(Dictionary(Title=String("c"), A=parsed(LAUNCH)))
    child = pdf.make_indirect(Dictionary(Title=String("b"), Next=last))
    pdf.Root.Outlines = Dictionary(First=pdf.make_indirect(Dictionary(Title=String("a"), First=child)))


def xfa(content: bytes, *, packed: bool = False) -> Change:
    def change(pdf: Pdf) -> None:
        stream = pdf.make_stream(b"")
        if packed:
            stream.write(zlib.compress(content), filter=Name.FlateDecode)
        else:
            stream.write(content)
        pdf.Root.AcroForm = Dictionary(Fields=Array([]), XFA=Array([String("template"), stream]))

    return change


def attached(name: str, content: bytes) -> Change:
    def change(pdf: Pdf) -> None:
        spec = Dictionary(
            Type=Name.Filespec, F=String(name), UF=String(name), EF=Dictionary(F=pdf.make_stream(content))
        )
        pdf.Root.Names.EmbeddedFiles.Names.extend([String(name), pdf.make_indirect(spec)])

    return change


def other_version(pdf: Pdf) -> None:
    """The invoice for one system, a program for another."""
    pdf.Root.AF[0].EF.F = pdf.make_stream(b"MZ\x90\0")


def hung_on_a_page(pdf: Pdf) -> None:
    spec = Dictionary(Type=Name.Filespec, UF=String("a"), EF=Dictionary(F=pdf.make_stream(b"\x7fELF\2\1")))
    pdf.pages[0].obj.Annots = Array([Dictionary(Subtype=Name.FileAttachment, FS=spec)])


def loop(pdf: Pdf) -> None:
    action = pdf.make_indirect(Dictionary(S=Name.GoTo))
    action.Next = Array([action, action, parsed(JAVASCRIPT)])
    pdf.Root.OpenAction = action


ACTIVE: dict[str, tuple[Change, str]] = {
    "open-action": (in_root(OpenAction=JAVASCRIPT), "PDF-JAVASCRIPT"),
    "open-action-next": (in_root(OpenAction=f"<< /S /GoTo /Next {JAVASCRIPT} >>"), "PDF-JAVASCRIPT"),
    "open-action-next-of-many": (
        in_root(OpenAction=f"<< /S /GoTo /Next [ {LINK} {LAUNCH} ] >>"),
        "PDF-LAUNCH",
    ),
    "open-action-in-a-loop": (loop, "PDF-JAVASCRIPT"),
    "catalog-trigger": (in_root(AA=f"<< /WC {JAVASCRIPT} >>"), "PDF-JAVASCRIPT"),
    "page-trigger": (in_page(AA=f"<< /O {JAVASCRIPT} >>"), "PDF-JAVASCRIPT"),
    "last-page-trigger": (on_the_last_page, "PDF-JAVASCRIPT"),
    "names": (in_names, "PDF-JAVASCRIPT"),
    "link": (note(f"/Subtype /Link /A {LAUNCH}"), "PDF-LAUNCH"),
    "widget-trigger": (note(f"/Subtype /Widget /AA << /U {SUBMIT} >>"), "PDF-SUBMIT-FORM"),
    "field": (field(f"/A {IMPORT}"), "PDF-IMPORT-DATA"),
    "field-trigger": (field(f"/AA << /K {JAVASCRIPT} >>"), "PDF-JAVASCRIPT"),
    "outline": (in_an_outline, "PDF-LAUNCH"),
    "rendition-with-a-script": (in_root(OpenAction="<< /S /Rendition /JS (x) >>"), "PDF-JAVASCRIPT"),
    "rich-media": (note("/Subtype /RichMedia"), "PDF-RICH-MEDIA"),
    "3d": (note("/Subtype /3D"), "PDF-RICH-MEDIA"),
    "movie": (in_root(OpenAction="<< /S /Movie >>"), "PDF-RICH-MEDIA"),
    "xfa-script": (xfa(b"<template><event><script>x</script></event></template>"), "PDF-JAVASCRIPT"),
    "xfa-script-packed": (
        xfa(b"<template><event><script>x</script></event></template>", packed=True),
        "PDF-JAVASCRIPT",
    ),
    "xfa-submit": (xfa(b"<template><submit target='http://a.example/'/></template>"), "PDF-SUBMIT-FORM"),
    "program-of-windows": (attached("notice.txt", b"MZ\x90\0\3"), "PDF-EMBEDDED-PROGRAM"),
    "program-of-linux": (attached("notice", b"\x7fELF\2\1\1"), "PDF-EMBEDDED-PROGRAM"),
    "program-of-macos": (attached("notice", b"\xcf\xfa\xed\xfe\7\0"), "PDF-EMBEDDED-PROGRAM"),
    "shell-script": (attached("notice", b"#!/bin/sh\n"), "PDF-EMBEDDED-PROGRAM"),
    "named-xml": (attached("notice.xml", b"MZ\x90\0\3"), "PDF-EMBEDDED-PROGRAM"),
    "script-by-name": (attached("facture.JS", b"x=1"), "PDF-EMBEDDED-PROGRAM"),
    "script-by-name-and-blank": (attached("facture.vbs ", b"x=1"), "PDF-EMBEDDED-PROGRAM"),
    "batch-by-name": (attached("facture.pdf.bat", b"del"), "PDF-EMBEDDED-PROGRAM"),
    "html-application": (attached("facture.hta", b"<html><script>x</script></html>"), "PDF-EMBEDDED-PROGRAM"),
    "version-for-another-system": (other_version, "PDF-EMBEDDED-PROGRAM"),
    "hung-on-a-page": (hung_on_a_page, "PDF-EMBEDDED-PROGRAM"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "object-streams"])
@pytest.mark.parametrize("name", ACTIVE)
def test_active_content_is_an_error(name: str, packed: bool) -> None:
    change, rule = ACTIVE[name]
    mode = pikepdf.ObjectStreamMode.generate if packed else pikepdf.ObjectStreamMode.disable
    report = check(changed(change, object_stream_mode=mode))
    assert rule in report.active
    assert set(report.active) <= active_content.RULES
    assert (report.verdict, report.number) == (Verdict.INVALID, "FA-2026-0001")
    assert {each.severity for each in report.findings if each.rule == rule} == {Severity.ERROR}


@pytest.mark.parametrize(
    "change",
    [
        in_root(OpenAction=GO_TO),
        in_root(OpenAction="[ 0 /Fit ]"),
        note(f"/Subtype /Link /A {LINK}"),
        field("/V (x)"),
        in_root(AcroForm="7", Outlines="[ ]", AA="[ 1 ]", OpenAction="(x)"),
        in_page(Annots="[ 1 null (x) << >> ]"),
        xfa(b"<template><subform/></template>"),
        attached("notice.txt", b"Bonjour, MZ"),
        attached("conditions.pdf", PLAIN),
        attached("javascript.txt", b"x"),
        lambda pdf: pdf.Root.Names.__setitem__("/JavaScript", Dictionary(Names=Array([]))),
    ],
)
def test_a_pdf_without_automatic_actions_has_no_active_content(change: Change) -> None:
    report = check(changed(change))
    assert (report.active, report.verdict) == ((), Verdict.VALID)


def test_active_content_of_a_plain_pdf_is_reported_without_a_verdict() -> None:
    report = check(changed(in_root(OpenAction=JAVASCRIPT), PLAIN))
    assert (report.kind, report.verdict, report.active) == (Kind.PDF, Verdict.NOT_FACTURX, ("PDF-JAVASCRIPT",))


@pytest.mark.parametrize("content", [FACTURX, PLAIN], ids=["factur-x", "plain"])
def test_the_severity_of_a_rule_decides_whether_it_is_active_content(content: bytes) -> None:
    pdf = changed(in_root(OpenAction=JAVASCRIPT, AA=f"<< /WC {SUBMIT} >>"), content)
    report = check(pdf, severities={"PDF-JAVASCRIPT": Severity.INFO, "PDF-SUBMIT-FORM": Severity.WARNING})
    assert report.active == ()
    assert report.verdict in (Verdict.VALID, Verdict.NOT_FACTURX)
    assert check(pdf, level="off").active == ()


def many_notes(pdf: Pdf) -> None:
    pdf.pages[0].obj.Annots = parsed("[ " + "<< /Subtype /Link >> " * 20_000 + "]")


def many_fields(pdf: Pdf) -> None:
    node = pdf.make_indirect(Dictionary())
    node.Kids = parsed("[ " + ("<< /Kids [ " + "<< >> " * 90 + "] >> ") * 90 + "]")
    pdf.Root.AcroForm = Dictionary(Fields=Array([node]))


@pytest.mark.parametrize("change", [many_notes, many_fields])
def test_a_pdf_with_too_many_actions_to_search_has_a_finding(change: Change) -> None:
    assert check(changed(change)).active == ("PDF-ACTIVE-UNSEARCHED",)


def plain_font(pdf: Pdf) -> None:
    font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica)
    pdf.pages[0].Resources.Font.F1 = pdf.make_indirect(font)


def composite_font(pdf: Pdf) -> None:
    below = Dictionary(Type=Name.Font, Subtype=Name.CIDFontType2, FontDescriptor=Dictionary())
    pdf.pages[0].Resources.Font.F1 = Dictionary(Type=Name.Font, Subtype=Name.Type0, DescendantFonts=Array([below]))


def unused_font(pdf: Pdf) -> None:
    pdf.pages[0].Resources.Font.F9 = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica)


def invisible_text(pdf: Pdf) -> None:
    plain_font(pdf)
    pdf.pages[0].Contents = pdf.make_stream(b"BT 3 Tr /F1 12 Tf (texte reconnu) Tj ET")


def font_of_a_form(pdf: Pdf) -> None:
    font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica)
    form = pdf.make_stream(b"BT /F1 9 Tf (x) Tj ET", Subtype=Name.Form, Resources=Dictionary(Font=Dictionary(F1=font)))
    pdf.pages[0].Resources.XObject = Dictionary(X=form)


def no_intent(content: bytes | None = None, **resources: str) -> Change:
    def change(pdf: Pdf) -> None:
        del pdf.Root.OutputIntents
        if content is not None:
            pdf.pages[0].Contents = pdf.make_stream(content)
        put(pdf.pages[0].Resources, resources)

    return change


def image(pdf: Pdf) -> None:
    no_intent(b"q /I Do Q")(pdf)
    stream = pdf.make_stream(b"\0\0\0", Subtype=Name.Image, Width=1, Height=1, ColorSpace=Name.DeviceRGB)
    pdf.pages[0].Resources.XObject = Dictionary(I=stream)


INTENT, FONT = {"PDFA-OUTPUT-INTENT"}, {"PDFA-FONT-NOT-EMBEDDED"}


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        (plain_font, FONT),
        (composite_font, FONT),
        (font_of_a_form, FONT),
        (unused_font, set()),
        (invisible_text, set()),
        (no_intent(), INTENT),
        (no_intent(b"1 0 0 rg 0 0 9 9 re f"), INTENT),
        (no_intent(b"0 0 0 1 k\n0 0 9 9 re\nf"), INTENT),
        (no_intent(b"0 0 9 9 re f"), INTENT),
        (no_intent(b"/DeviceRGB cs 1 0 0 sc 0 0 9 9 re f"), INTENT),
        (image, INTENT),
        (no_intent(b""), set()),
        (no_intent(b"/C0 cs 1 0 0 scn 0 0 9 9 re f"), set()),
        (no_intent(b"1 0 0 rg 0 0 9 9 re f", ColorSpace="<< /DefaultRGB /Cs1 >>"), set()),
        (in_root(OutputIntents="[ << /S /GTS_PDFX >> ]"), INTENT),
    ],
)
def test_a_pdf_that_is_plainly_no_pdfa_has_a_warning(change: Change, reported: set[str]) -> None:
    report = check(changed(change), level="full")
    assert (report.verdict, rules(report)) == (Verdict.VALID, reported)
    assert all(each.severity is Severity.WARNING and "ISO 19005-3 §6.2" in each.text for each in report.findings)


@corpus.needed
@pytest.mark.parametrize("row", [row for row in corpus.rows() if row["verapdf"] == "PASS"], ids=lambda row: row["file"])
def test_a_pdf_that_a_validator_passes_has_no_pdfa_finding(row: dict[str, str]) -> None:
    report = check((corpus.FOLDER / row["file"]).read_bytes(), level="full")
    assert report.active == ()
    assert not {each for each in rules(report) if each.startswith(("PDFA-OUTPUT", "PDFA-FONT", "PDF-"))}
