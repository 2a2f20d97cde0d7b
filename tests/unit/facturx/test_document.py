"""What the check says of each single fault, and that it says nothing of a good document."""

import base64
import hashlib
import io
import quopri

import pikepdf
import pytest

from relay.demo import samples
from relay.facturx import document, page_text, schematron
from relay.facturx import pdf as facturx_pdf
from relay.facturx.inspect import inspect, self_test
from relay.facturx.invoice import PROFILES
from relay.facturx.xml import parse
from relay.inspection import Candidate, Finding, Kind, Options, Report, Severity, Verdict

CREDIT_NOTES = ("381", "261", "262", "396", "502", "503")


def check(content: bytes, **options: object) -> Report:
    (report,) = inspect([Candidate(content)], Options(**options))  # type: ignore[arg-type]
    return report


def errors(report: Report) -> set[str]:
    return {finding.rule for finding in report.findings if finding.severity is Severity.ERROR}


@pytest.mark.parametrize("profile", [profile.name for profile in PROFILES])
@pytest.mark.parametrize("type_code", ["380", "381"])
def test_our_samples_are_clean_in_every_profile(profile: str, type_code: str) -> None:
    report = check(samples.facturx_pdf(samples.invoice_xml(profile=profile, type_code=type_code)), french_rules="error")
    assert report.findings == ()
    assert (report.verdict, report.kind, report.profile) == (Verdict.VALID, Kind.FACTURX, profile)


def test_samples_are_the_same_every_time() -> None:
    assert samples.facturx_pdf(samples.invoice_xml()) == samples.facturx_pdf(samples.invoice_xml())


def test_the_report_repeats_the_terms_of_the_invoice() -> None:
    xml = samples.invoice_xml("AV-7", type_code="381", seller_siren="552100554", buyer_siren="732829320")
    report = check(samples.facturx_pdf(xml))
    assert (report.number, report.type_code, report.issued) == ("AV-7", "381", "2026-11-02")
    assert (report.seller.siren, report.buyer.siren) == ("552100554", "732829320")
    assert (report.seller.siret, report.seller.vat) == (samples.siret_of("552100554"), samples.vat_of("552100554"))
    assert (report.seller.country, report.seller.name) == ("FR", "Menuiserie Dupont SARL")
    assert report.xml_sha256 == hashlib.sha256(xml).hexdigest()
    assert report.claimed


def test_a_wrong_total_is_br_co_15_and_only_at_level_full() -> None:
    pdf = samples.facturx_pdf(samples.invoice_xml(wrong_total=True))
    assert (check(pdf).verdict, errors(check(pdf))) == (Verdict.INVALID, {"BR-CO-15"})
    assert check(pdf, level="structure").verdict is Verdict.VALID
    off = check(pdf, level="off")
    assert (off.verdict, off.findings, off.kind) == (Verdict.UNDETERMINED, (), Kind.FACTURX)


@pytest.mark.parametrize(
    ("arguments", "rules"),
    [
        ({"xmp": False}, {"XMP-MISSING"}),
        ({"level": "BASIC"}, {"XMP-LEVEL-MISMATCH"}),
        ({"filename": "facture.xml"}, {"FX-XML-NAME"}),
        ({"relationship": ""}, {"FX-AFRELATIONSHIP-MISSING"}),
        ({"relationship": "Supplement"}, {"FX-AFRELATIONSHIP"}),
        ({"associate": False}, {"FX-AF-MISSING"}),
        ({"attach": False}, {"FX-NO-XML"}),
    ],
)
def test_each_fault_of_the_container_has_its_finding(arguments: dict[str, object], rules: set[str]) -> None:
    report = check(samples.facturx_pdf(samples.invoice_xml(), **arguments))  # type: ignore[arg-type]
    assert errors(report) == rules
    assert (report.verdict, report.kind) == (Verdict.INVALID, Kind.FACTURX)


@pytest.mark.parametrize("profile", ["minimum", "basicwl"])
@pytest.mark.parametrize(("relationship", "rules"), [("Data", set()), ("Alternative", {"FX-AFRELATIONSHIP"})])
def test_low_profiles_are_data_only(profile: str, relationship: str, rules: set[str]) -> None:
    pdf = samples.facturx_pdf(samples.invoice_xml(profile=profile), relationship=relationship)
    assert errors(check(pdf, level="structure")) == rules


@pytest.mark.parametrize("relationship", ["Data", "Alternative", "Source"])
def test_high_profiles_take_three_relationships(relationship: str) -> None:
    pdf = samples.facturx_pdf(samples.invoice_xml(), relationship=relationship)
    assert check(pdf, level="structure").verdict is Verdict.VALID


def with_file(pdf: bytes, name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        opened.attachments[name] = pikepdf.AttachedFileSpec(opened, content, filename=name, mime_type="text/xml")
        opened.save(out)
    return out.getvalue()


ORDER = b'<o:SCRDMCCBDACIOMessageStructure xmlns:o="urn:un:unece:uncefact:data:SCRDMCCBDACIOMessageStructure:100"/>'


@pytest.mark.parametrize(
    ("name", "content", "rules"),
    [
        ("order-x.xml", ORDER, set()),
        ("data.xml", b"<measures/>", set()),
        ("notes.xml", b"not xml at all", set()),
        ("other.xml", samples.invoice_xml("F-2"), {"FX-MULTIPLE-XML"}),
        ("ZUGFeRD-invoice.xml", b"<broken", {"FX-MULTIPLE-XML"}),
    ],
)
def test_a_second_embedded_invoice_is_an_error_and_another_file_is_not(
    name: str, content: bytes, rules: set[str]
) -> None:
    report = check(with_file(samples.facturx_pdf(samples.invoice_xml()), name, content))
    assert errors(report) == rules
    assert report.number == "FA-2026-0001"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (ORDER, Kind.ORDERX),
        (b'<r:CrossIndustryDocument xmlns:r="urn:ferd:CrossIndustryDocument:invoice:1p0"/>', Kind.ZUGFERD1),
        (b'<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"/>', Kind.UBL),
        (
            samples.invoice_xml().replace(
                b">urn:cen.eu:en16931:2017<",
                b">urn:cen.eu:en16931:2017#compliant#urn:xeinkauf.de:kosit:xrechnung_3.0<",
            ),
            Kind.XRECHNUNG,
        ),
    ],
)
def test_what_is_no_facturx_is_called_by_its_name(content: bytes, kind: Kind) -> None:
    report = check(with_file(samples.plain_pdf("x"), "a.xml", content))
    assert (report.kind, report.verdict, errors(report)) == (kind, Verdict.NOT_FACTURX, set())


def test_pdfa_must_be_part_3() -> None:
    pdf = samples.facturx_pdf(samples.invoice_xml()).replace(b"<pdfaid:part>3<", b"<pdfaid:part>1<")
    assert errors(check(pdf)) == {"PDFA-NOT-PART-3"}


def test_an_xsd_breach_names_the_element_and_not_its_value() -> None:
    xml = (
        samples.invoice_xml()
        .replace(b"<ram:TypeCode>380<", b"<ram:Typo>secret<")
        .replace(b"</ram:TypeCode><ram:Issue", b"</ram:Typo><ram:Issue")
    )
    report = check(samples.facturx_pdf(xml))
    found = [finding for finding in report.findings if finding.where == "xsd"]
    assert report.verdict is Verdict.INVALID
    assert "Typo" in found[0].text
    assert "secret" not in " ".join(finding.text for finding in report.findings)


def test_french_rules_off_warning_error() -> None:
    pdf = samples.facturx_pdf(samples.invoice_xml().replace(b"<ram:ID>B1<", b"<ram:ID>A1<"))
    assert [check(pdf, french_rules=each).verdict for each in ("off", "warning", "error")] == [
        Verdict.VALID,
        Verdict.VALID,
        Verdict.INVALID,
    ]
    assert check(pdf, french_rules="off").findings == ()
    (finding,) = check(pdf).findings
    assert (finding.rule, finding.severity, finding.where) == ("BR-FR-08", Severity.WARNING, "french-rules")


def test_a_severity_can_be_overridden_by_rule() -> None:
    pdf = samples.facturx_pdf(samples.invoice_xml(wrong_total=True))
    assert check(pdf, severities={"BR-CO-15": Severity.WARNING}).verdict is Verdict.VALID
    named = samples.facturx_pdf(samples.invoice_xml(), filename="facture.xml")
    assert check(named, severities={"FX-XML-NAME": Severity.INFO}).verdict is Verdict.VALID


def test_identifiers_only_warn() -> None:
    report = check(samples.facturx_pdf(samples.invoice_xml(seller_siren="732829321")))
    assert report.verdict is Verdict.VALID
    assert {finding.rule for finding in report.findings} >= {"SIREN-KEY"}


def test_without_an_engine_nothing_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise schematron.EngineError("saxonche is not installed")

    monkeypatch.setattr(schematron, "_engine", missing)
    pdf = samples.facturx_pdf(samples.invoice_xml())
    assert check(pdf).verdict is Verdict.UNDETERMINED
    assert check(pdf, level="structure").verdict is Verdict.VALID
    assert self_test() is not None


def test_a_blind_engine_fails_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    assert self_test() is None
    monkeypatch.setattr(schematron.Rules, "check", lambda self, profile: [])
    assert "BR-CO-15" in (self_test() or "")
    broken = Finding("BR-01", Severity.ERROR, "rules", "")
    monkeypatch.setattr(schematron.Rules, "check", lambda self, profile: [broken])
    assert "invalid" in (self_test() or "")


def test_a_fault_of_our_own_is_undetermined(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes, **how: object) -> facturx_pdf.Container:
        raise ZeroDivisionError

    monkeypatch.setattr(document.pdf, "read", broken)
    report = check(samples.facturx_pdf(samples.invoice_xml()))
    assert (report.verdict, report.kind, report.findings[0].rule) == (Verdict.UNDETERMINED, Kind.PDF, "CHECK-FAILED")
    assert not report.openable


def test_an_encrypted_pdf_is_undetermined_with_a_finding() -> None:
    report = check(samples.encrypted_pdf(samples.plain_pdf("x")))
    assert (report.verdict, report.encrypted, report.openable) == (Verdict.UNDETERMINED, True, False)


def test_plain_text_and_other_things() -> None:
    assert check(b"hello").kind is Kind.OTHER
    assert check(b"hello").verdict is Verdict.NOT_FACTURX
    (report,) = inspect([Candidate(b"hello", filename="a.pdf")], Options())
    assert (report.verdict, report.kind, report.openable) == (Verdict.UNDETERMINED, Kind.PDF, False)


def test_an_invoice_xml_alone_is_cii_with_its_number() -> None:
    report = check(samples.invoice_xml("F-9"))
    assert (report.kind, report.verdict, report.number) == (Kind.CII, Verdict.NOT_FACTURX, "F-9")


@pytest.mark.parametrize("encoding", ["base64", "BASE64 ", "quoted-printable", "binary", "8bit", "7bit"])
def test_the_transfer_encoding_is_undone(encoding: str) -> None:
    pdf = samples.facturx_pdf(samples.invoice_xml())
    kind = encoding.strip().lower()
    sent = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}.get(kind, bytes)(pdf)
    (report,) = inspect([Candidate(sent, encoding)], Options(level="structure"))
    assert (report.sha256, report.size) == (hashlib.sha256(pdf).hexdigest(), len(pdf))
    assert report.verdict is Verdict.VALID


def test_damaged_and_unknown_encodings_have_findings() -> None:
    pdf = samples.plain_pdf("x")
    sent = base64.b64encode(pdf)[:-3]
    (damaged,) = inspect([Candidate(sent, "base64")], Options())
    (unknown,) = inspect([Candidate(pdf, "x-unknown")], Options())
    assert (damaged.findings[0].rule, damaged.verdict) == ("ENCODING-DAMAGED", Verdict.UNDETERMINED)
    assert (unknown.findings[0].rule, unknown.verdict) == ("ENCODING-UNKNOWN", Verdict.UNDETERMINED)


@pytest.mark.parametrize(
    ("words", "number", "found"),
    [
        ("Facture n° FA-2026-0001 du 2 novembre", "FA-2026-0001", True),
        ("facture fa-2026-0001", "FA-2026-0001", True),
        ("FA-2026-00012", "FA-2026-0001", False),
        ("XFA-2026-0001", "FA-2026-0001", False),
        ("REF-FA-2026-0001", "FA-2026-0001", False),
        ("FA-2026-0001-B", "FA-2026-0001", False),
        ("FA-2026-0001.", "FA-2026-0001", True),
        ("le 12 mars", "12", False),
        ("Facture n° 12 du", "12", True),
        ("Invoice No. 12", "12", True),
        ("F 2026\n 17", "F 2026 17", True),
        ("a.b", "a+b", False),
    ],
)
def test_a_number_is_a_word_of_its_own(words: str, number: str, found: bool) -> None:
    assert page_text.mentions(words, [number]) == ((number,) if found else ())


def test_a_scan_has_no_text_and_mentions_nothing() -> None:
    pdf = samples.facturx_pdf(samples.invoice_xml())
    _, scan = inspect([Candidate(pdf), Candidate(samples.plain_pdf(""))], Options(level="structure"))
    assert (scan.has_text, scan.mentions) == (False, ())
    (alone,) = inspect([Candidate(samples.plain_pdf("FA-2026-0001"))], Options())
    assert (alone.has_text, alone.mentions) == (None, ())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_a_doctype_is_a_finding_before_anything_of_it_is_parsed(encoding: str) -> None:
    broken = '<?xml version="1.0"?><!-- c --><!docTYPE a [<!ENTITY x "y">]><a>&x;'.encode(encoding)
    found = parse(broken)
    assert isinstance(found, Finding)
    assert found.rule == "XML-DOCTYPE"


def test_a_doctype_within_the_root_is_text() -> None:
    assert not isinstance(parse(b"<a><!-- <!DOCTYPE --><![CDATA[<!DOCTYPE]]></a>"), Finding)
