"""Factur-X that few programs write and every reader takes: rare filters, large texts, UTF-16, odd places and names."""

import io
import zlib
from collections.abc import Callable

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, Pdf, String

from relay.demo import samples
from relay.facturx import container, pdf_streams
from relay.facturx.inspect import inspect
from relay.facturx.invoice import BY_NAME, EXTENDED_CTC_FR
from relay.facturx.xml import parse
from relay.inspection import Candidate, Finding, Options, Report, Severity, Verdict
from tests.support import hostile_documents

XML = samples.invoice_xml()


def check(content: bytes, level: str = "structure") -> Report:
    (report,) = inspect([Candidate(content)], Options(level=level))
    return report


def rules(report: Report) -> set[str]:
    return {finding.rule for finding in report.findings}


def changed(change: Callable[[Pdf], None], xml: bytes = XML) -> bytes:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(samples.facturx_pdf(xml))) as pdf:
        change(pdf)
        pdf.save(out, compress_streams=False, object_stream_mode=pikepdf.ObjectStreamMode.disable)
    return out.getvalue()


def packed(data: bytes, filters: object, parameters: object = None) -> bytes:
    return changed(lambda pdf: pdf.Root.AF[0].EF.F.write(data, filter=filters, decode_parms=parameters))


def lzw(data: bytes, early: int = 1) -> bytes:
    """LZW of ISO 32000-1 §7.4.4; the writer is one entry of the table ahead of the reader."""
    table, width, current, bits = {bytes([octet]): octet for octet in range(256)}, 9, b"", format(256, "09b")
    following = 258
    for octet in data:
        longer = current + bytes([octet])
        if longer in table:
            current = longer
            continue
        bits += format(table[current], f"0{width}b")
        if following < 4094:
            table[longer], following = following, following + 1
            width = min(12, max(9, (following - 1 + early).bit_length()))
        else:
            bits += format(256, f"0{width}b")
            table, width, following = {bytes([each]): each for each in range(256)}, 9, 258
        current = bytes([octet])
    bits += format(table[current], f"0{width}b")
    bits += format(257, f"0{min(12, max(9, (following + early).bit_length()))}b")
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8))


def png(data: bytes, columns: int, kind: int) -> bytes:
    """Rows under PNG filter `kind`: 0 none, 1 sub, 2 up (of one octet a pixel)."""
    data += b" " * (-len(data) % columns)
    rows, before = [], bytes(columns)
    for place in range(0, len(data), columns):
        row = data[place : place + columns]
        left = {0: bytes(columns), 1: b"\0" + row[:-1], 2: before}[kind]
        rows.append(bytes([kind]) + bytes((a - b) % 256 for a, b in zip(row, left, strict=True)))
        before = row
    return b"".join(rows)


def tiff(data: bytes, columns: int) -> bytes:
    data += b" " * (-len(data) % columns)
    rows = [data[place : place + columns] for place in range(0, len(data), columns)]
    return b"".join(bytes((a - b) % 256 for a, b in zip(row, b"\0" + row[:-1], strict=True)) for row in rows)


def run_lengths(data: bytes) -> bytes:
    pieces = [data[place : place + 100] for place in range(0, len(data), 100)]
    return b"".join(bytes([len(each) - 1]) + each for each in pieces) + bytes([257 - 5]) + b" " + b"\x80"


FLATE = Name.FlateDecode
PACKED: dict[str, Callable[[], bytes]] = {
    "png-none": lambda: packed(zlib.compress(png(XML, 64, 0)), FLATE, Dictionary(Predictor=10, Columns=64)),
    "png-sub": lambda: packed(zlib.compress(png(XML, 5, 1)), FLATE, Dictionary(Predictor=11, Columns=5)),
    "png-up": lambda: packed(zlib.compress(png(XML, 64, 2)), FLATE, Dictionary(Predictor=12, Columns=64)),
    "png-optimum": lambda: packed(zlib.compress(png(XML, 1, 2)), FLATE, Dictionary(Predictor=15, Columns=1)),
    "tiff": lambda: packed(zlib.compress(tiff(XML, 32)), FLATE, Dictionary(Predictor=2, Columns=32)),
    "no-predictor-said": lambda: packed(zlib.compress(XML), FLATE, Dictionary(Predictor=1, Columns=64)),
    "parameters-in-an-array": lambda: packed(
        zlib.compress(png(XML, 64, 2)).hex().encode() + b">",
        Array([Name.ASCIIHexDecode, FLATE]),
        Array([None, Dictionary(Predictor=12, Columns=64)]),
    ),
    "run-length": lambda: packed(run_lengths(XML), Name.RunLengthDecode),
    "run-length-in-flate": lambda: packed(zlib.compress(run_lengths(XML)), Array([FLATE, Name.RunLengthDecode])),
    "lzw": lambda: packed(lzw(XML), Name.LZWDecode),
    "lzw-late": lambda: packed(lzw(XML, 0), Name.LZWDecode, Dictionary(EarlyChange=0)),
    "lzw-png": lambda: packed(lzw(png(XML, 64, 2)), Name.LZWDecode, Dictionary(Predictor=12, Columns=64)),
    "crypt-identity": lambda: packed(XML, Array([Name.Crypt]), Array([Dictionary(Name=Name.Identity)])),
}


@pytest.mark.parametrize("name", PACKED)
def test_an_invoice_under_a_rare_filter_is_read(name: str) -> None:
    report = check(PACKED[name]())
    assert (report.number, report.verdict) == ("FA-2026-0001", Verdict.VALID)
    assert rules(report) == ({"PDFA-LZW"} if "lzw" in name else set())


@pytest.mark.parametrize("early", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 255, 600, 5000, 70_000])
def test_lzw_is_read_as_qpdf_reads_it(size: int, early: int) -> None:
    data = (XML * (1 + size // len(XML)))[:size]
    pdf = Pdf.new()
    stream = pdf.make_stream(b"")
    stream.write(lzw(data, early), filter=Name.LZWDecode, decode_parms=Dictionary(EarlyChange=early))
    assert pdf_streams.content(stream, size) == bytes(stream.read_bytes()) == data


@pytest.mark.parametrize(
    ("data", "filters", "parameters"),
    [
        (lambda: hostile_documents.packed_zeros(5000), Name.LZWDecode, None),
        (lambda: b"\x81\x00" * 100, Name.RunLengthDecode, None),
        (lambda: zlib.compress(b"\2" * 5000), FLATE, Dictionary(Predictor=12, Columns=1)),
        (lambda: zlib.compress(b"\2" * 5000), FLATE, Dictionary(Predictor=2, Columns=100)),
        (lambda: zlib.compress(zlib.compress(b"\0" * 5000)), Array([FLATE, FLATE]), None),
    ],
)
def test_no_filter_gives_more_than_the_limit(data: Callable[[], bytes], filters: object, parameters: object) -> None:
    pdf = Pdf.new()
    stream = pdf.make_stream(b"")
    stream.write(data(), filter=filters, decode_parms=parameters)
    with pytest.raises(pdf_streams.TooLarge):
        pdf_streams.content(stream, 1000)
    assert len(pdf_streams.head(stream, 500)) == 500


def test_damaged_lzw_is_undecodable() -> None:
    assert "XML-UNREADABLE" in rules(check(packed(b"\xff\xff\xff\xff", Name.LZWDecode)))


LONG = b"A" * 11_000_000


@pytest.mark.parametrize(
    "xml",
    [
        XML.replace(b"</rsm:ExchangedDocument>", b"</rsm:ExchangedDocument><!--" + LONG + b"-->"),
        XML.replace(b"<ram:Content>", b"<ram:Content>" + LONG, 1),
        XML.replace(b"<ram:Content>", b"<ram:Content><![CDATA[" + LONG + b"]]>", 1),
    ],
    ids=["comment", "text", "cdata"],
)
def test_a_text_of_more_than_ten_megabytes_is_read(xml: bytes) -> None:
    assert not isinstance(parse(xml), Finding)
    assert check(samples.facturx_pdf(xml)).number == "FA-2026-0001"


def test_beyond_twenty_megabytes_nothing_is_read() -> None:
    report = check(samples.facturx_pdf(XML.replace(b"<ram:Content>", b"<ram:Content>" + LONG * 2, 1)))
    assert (rules(report), report.number) == ({"XML-TOO-LARGE"}, None)


def test_a_long_text_opens_no_way_for_an_entity() -> None:
    found = parse(b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;' + LONG + b"</a>")
    assert isinstance(found, Finding) and found.rule == "XML-DOCTYPE"


def packet() -> bytes:
    with pikepdf.open(io.BytesIO(samples.facturx_pdf(XML))) as pdf:
        return bytes(pdf.Root.Metadata.read_bytes())


PACKET = packet()
BARE = PACKET[PACKET.index(b"<x:xmpmeta") : PACKET.index(b"<?xpacket end")].decode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "utf-32"])
@pytest.mark.parametrize("start", ["", '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n', "\n"])
@pytest.mark.parametrize("end", ["", "\n   \n"])
def test_xmp_is_read_in_every_encoding(encoding: str, start: str, end: str) -> None:
    def change(pdf: Pdf) -> None:  # under another name while it is saved: pikepdf writes metadata anew
        del pdf.Root.Metadata
        pdf.Root["/Metadatb"] = pdf.make_stream((start + BARE + end).encode(encoding))

    report = check(changed(change).replace(b"/Metadatb", b"/Metadata"))
    assert report.claimed
    assert report.verdict is Verdict.VALID
    assert rules(report) == (set() if encoding.startswith("utf-8") else {"XMP-ENCODING"})


def test_xmp_that_declares_utf_16_is_read() -> None:
    packet = ('<?xml version="1.0" encoding="UTF-16"?>' + BARE).encode("utf-16")
    assert (found := container.read(packet)) is not None and found.part == "3"


@pytest.mark.parametrize("packet", [b"\xff\xfe<", b"<\x00\xff", b"\x00", b"\x00<\xd8\x00", b""])
def test_octets_that_are_no_xmp_are_none(packet: bytes) -> None:
    assert container.read(packet) is None


def without_names(pdf: Pdf) -> None:
    del pdf.Root.Names


def on_the_page(pdf: Pdf) -> None:
    del pdf.Root.Names
    pdf.pages[0].AF = pdf.Root.AF
    del pdf.Root.AF


def one_and_no_array(pdf: Pdf) -> None:
    del pdf.Root.Names
    pdf.Root.AF = pdf.Root.AF[0]


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        (without_names, {"FX-NOT-IN-NAMES"}),
        (one_and_no_array, {"FX-NOT-IN-NAMES"}),
        (on_the_page, {"FX-NOT-IN-NAMES", "FX-AF-MISSING"}),
    ],
)
def test_an_invoice_in_af_only_is_found(change: Callable[[Pdf], None], reported: set[str]) -> None:
    report = check(changed(change))
    assert (report.number, rules(report)) == ("FA-2026-0001", reported)


@pytest.mark.parametrize("name", ["factur-x", "facture", "invoice.dat", "", "FACTUR-X.XML "])
@pytest.mark.parametrize(
    "xml",
    [
        XML,
        XML.partition(b"?>\n")[2],
        b"\xef\xbb\xbf" + XML,
        b"\r\n <!-- c -->" + XML.partition(b"?>\n")[2],
        XML.decode().replace("UTF-8", "UTF-16").encode("utf-16"),
        XML.decode().replace("UTF-8", "UTF-16").encode("utf-16-be"),
    ],
    ids=["declared", "bare", "bom", "comment", "utf-16", "utf-16-be"],
)
@pytest.mark.parametrize("subtype", [None, Name("/application/octet-stream")])
def test_an_invoice_is_found_by_its_content_whatever_it_is_called(name: str, xml: bytes, subtype: object) -> None:
    def change(pdf: Pdf) -> None:
        spec = pdf.Root.AF[0]
        spec.F = spec.UF = String(name)
        stream = spec.EF.F
        stream.write(xml)
        if subtype is None:
            del stream.Subtype
        else:
            stream.Subtype = subtype

    report = check(changed(change))
    assert report.number == "FA-2026-0001"
    assert rules(report) <= {"FX-XML-NAME", "XMP-FILENAME-MISMATCH", "FX-MIME"}


@pytest.mark.parametrize("prefix", ["urn.cpro.gouv.fr", "urn:cpro.gouv.fr"])
def test_extended_ctc_fr_is_checked_by_its_own_rules_with_a_remark(prefix: str) -> None:
    urn = EXTENDED_CTC_FR.urn.replace("urn.cpro.gouv.fr", prefix).encode()
    good, wrong = (
        samples.invoice_xml(profile="extended", wrong_total=each).replace(BY_NAME["extended"].urn.encode(), urn)
        for each in (False, True)
    )
    report = check(samples.facturx_pdf(good, level="EXTENDED"), "full")
    assert (report.verdict, report.profile) == (Verdict.VALID, "extended")
    assert [(each.rule, each.severity) for each in report.findings] == [("FX-EXTENDED-CTC-FR", Severity.INFO)]
    report = check(samples.facturx_pdf(wrong, level="EXTENDED"), "full")
    assert (report.verdict, "BR-FREXT-CO-15" in rules(report)) == (Verdict.INVALID, True)


@pytest.mark.parametrize("tail", ["extended-ctc-frx", "extended-ctc", "EXTENDED-CTC-FR", "ereporting"])
def test_what_only_resembles_extended_ctc_fr_is_unknown(tail: str) -> None:
    urn = EXTENDED_CTC_FR.urn.replace("extended-ctc-fr", tail).encode()
    xml = samples.invoice_xml(profile="extended").replace(BY_NAME["extended"].urn.encode(), urn)
    assert "FX-LEVEL-UNKNOWN" in rules(check(samples.facturx_pdf(xml, level="EXTENDED")))
