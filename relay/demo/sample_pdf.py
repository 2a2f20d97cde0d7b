"""PDFs of our own making: a Factur-X container (PDF/A-3 identified, XMP, /AF) round any XML, and plain PDFs."""

import io
import re
import zlib
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

import pikepdf
from pikepdf import Array, Dictionary, Name, Pdf, String

from relay.facturx.invoice import BY_URN

FX = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"

_DATA = Path(__file__).parent / "sample_data"
"""aileron.ttf: Aileron of Sora Sagano, its ASCII characters (CC0 1.0). srgb.icc: sRGB, as Little CMS writes it."""

# fmt: off
_WIDTHS = (
    216, 242, 339, 580, 580, 740, 654, 176, 315, 315, 560, 580, 220, 274, 220, 303, 580, 580, 580, 580, 580, 580,
    580, 580, 580, 580, 220, 220, 580, 580, 580, 499, 852, 639, 627, 699, 709, 587, 567, 710, 730, 264, 544, 609,
    575, 866, 718, 737, 598, 733, 619, 585, 612, 682, 622, 952, 625, 581, 591, 307, 303, 295, 580, 500, 300, 531,
    611, 529, 615, 549, 290, 615, 593, 238, 233, 522, 247, 855, 593, 586, 611, 615, 330, 459, 313, 592, 514, 785,
    482, 513, 462, 303, 250, 303, 580,
)
# fmt: on
"""Of the characters 32 to 126 in aileron.ttf, thousandths of the size."""

_PROPERTIES = ("DocumentFileName", "DocumentType", "Version", "ConformanceLevel")

_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">
<pdfaid:part>3</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance></rdf:Description>
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title></rdf:Description>
<rdf:Description rdf:about="" xmlns:fx="{fx}"><fx:ConformanceLevel>{level}</fx:ConformanceLevel>
<fx:DocumentFileName>{filename}</fx:DocumentFileName><fx:DocumentType>INVOICE</fx:DocumentType>
<fx:Version>1.0</fx:Version></rdf:Description>
<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/"
 xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">
<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">
<pdfaSchema:schema>Factur-X PDFA Extension Schema</pdfaSchema:schema>
<pdfaSchema:namespaceURI>{fx}</pdfaSchema:namespaceURI><pdfaSchema:prefix>fx</pdfaSchema:prefix>
<pdfaSchema:property><rdf:Seq>{properties}</rdf:Seq></pdfaSchema:property>
</rdf:li></rdf:Bag></pdfaExtension:schemas></rdf:Description>
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""

_PROPERTY = (
    '<rdf:li rdf:parseType="Resource"><pdfaProperty:name>{name}</pdfaProperty:name>'
    "<pdfaProperty:valueType>Text</pdfaProperty:valueType><pdfaProperty:category>external</pdfaProperty:category>"
    "<pdfaProperty:description>{name} of the embedded invoice</pdfaProperty:description></rdf:li>"
)


def facturx_pdf(
    xml: bytes,
    *,
    level: str | None = None,
    relationship: str | None = None,
    filename: str = "factur-x.xml",
    xmp: bool = True,
    text: str | None = None,
    attach: bool = True,
    associate: bool = True,
    archival: bool = True,
    padding: int = 0,
) -> bytes:
    """A Factur-X round `xml`; by default everything agrees with the profile that the XML names.

    level: fx:ConformanceLevel of the XMP. relationship: AFRelationship, "" leaves it out. xmp: False: no XMP.
    text: the page's text; by default it shows the invoice number. attach: False embeds nothing (a broken Factur-X).
    associate: False leaves /AF out of the catalog. archival: False leaves out what PDF/A asks of the pages, an embedded
    font and an output intent (12 KB). padding: octets of noise, to reach a size.
    """
    urn = _first(rb"GuidelineSpecifiedDocumentContextParameter>\s*<ram:ID>([^<]*)", xml)
    profile = BY_URN.get(urn)
    number = _first(rb"ExchangedDocument>\s*<ram:ID>([^<]*)", xml)
    shown = text if text is not None else f"Facture {number}"
    pdf = _page(shown, max(0, padding - _octets_of_data()) if archival else padding, embedded=archival)
    if archival:
        pdf.Root.OutputIntents = Array([_output_intent(pdf)])
    if attach:
        data_only = profile is not None and profile.data_only
        chosen = relationship if relationship is not None else ("Data" if data_only else "Alternative")
        spec = _file_specification(pdf, xml, filename, chosen)
        pdf.Root.Names = Dictionary(EmbeddedFiles=Dictionary(Names=Array([String(filename), spec])))
        if associate:
            pdf.Root.AF = Array([spec])
    if xmp:
        name = level or (profile.level if profile else "EN 16931")
        pdf.Root.Metadata = _metadata(pdf, name, filename, number)
    return _saved(pdf)


def plain_pdf(text: str = "", *, padding: int = 0) -> bytes:
    """An ordinary PDF of one page; an empty text gives a page without text, as of a scan."""
    return _saved(_page(text, padding, embedded=False))


def original_pdf(xml: bytes, *, padding: int = 0) -> bytes:
    """The PDF that a supplier would have made of the invoice `xml`: what makes it an original stands in its text."""
    return plain_pdf(original_text(xml), padding=padding)


def original_text(xml: bytes) -> str:
    """A French invoice as text: kind, number, date, seller, buyer and amounts of `xml`, `1 234,56 €`."""
    before, _, after = xml.partition(b"<ram:BuyerTradeParty>")
    issued = _first(rb"IssueDateTime>\s*<udt:DateTimeString[^>]*>([0-9]{8})", xml)
    kind = "Avoir" if _first(rb"<ram:TypeCode>([^<]*)", xml) in ("261", "381", "396") else "Facture"
    lines = (
        _first(rb"SellerTradeParty>.*?<ram:Name>([^<]*)", before),
        "N° TVA " + _first(rb'schemeID="VA">([^<]*)', before),
        f"{kind} " + _first(rb"ExchangedDocument>\s*<ram:ID>([^<]*)", xml),
        f"Date : {issued[6:]}/{issued[4:6]}/{issued[:4]}",
        "Client : " + _first(rb"<ram:Name>([^<]*)", after),
        f"Total HT {_french(_first(rb'<ram:TaxBasisTotalAmount>([^<]*)', xml))} €",
        f"TVA {_french(_first(rb'<ram:TaxTotalAmount[^>]*>([^<]*)', xml))} €",
        f"Total TTC {_french(_first(rb'<ram:GrandTotalAmount>([^<]*)', xml))} €",
    )
    return "\n".join(lines)


def _french(amount: str) -> str:
    return f"{float(amount or 0):,.2f}".replace(",", "\N{NO-BREAK SPACE}").replace(".", ",")


def encrypted_pdf(pdf: bytes, password: str = "secret") -> bytes:  # noqa: S107 - a sample is no secret
    """The same document asking for a password before it opens."""
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        opened.save(out, encryption=pikepdf.Encryption(owner=password, user=password))
    return out.getvalue()


def _page(text: str, padding: int, *, embedded: bool) -> Pdf:
    """embedded: the font is in the file, as PDF/A wants it, unless the text goes beyond ASCII."""
    pdf = Pdf.new()
    font = _embedded_font(pdf) if embedded and text.isascii() else _font_of_the_reader()
    font = pdf.make_indirect(font)
    lines = text.splitlines()
    shown = "".join(f"({_literal(line)}) Tj 0 -16 Td " for line in lines)
    content = f"BT /F1 12 Tf 72 770 Td {shown}ET".encode("cp1252", "replace") if lines else b""
    page = Dictionary(
        Type=Name.Page,
        MediaBox=[0, 0, 595, 842],
        Resources=Dictionary(Font=Dictionary(F1=font)),
        Contents=pdf.make_stream(content),
    )
    if padding:
        page.PieceInfo = Dictionary(Padding=pdf.make_stream(_noise(padding)))
    pdf.pages.append(pikepdf.Page(pdf.make_indirect(page)))
    return pdf


def _font_of_the_reader() -> Dictionary:
    return Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica, Encoding=Name.WinAnsiEncoding)


def _embedded_font(pdf: Pdf) -> Dictionary:
    packed, length = _data("aileron.ttf")
    descriptor = Dictionary(
        Type=Name.FontDescriptor,
        FontName=Name("/Aileron-Regular"),
        Flags=32,
        FontBBox=[-150, -210, 945, 800],
        ItalicAngle=0,
        Ascent=970,
        Descent=-230,
        CapHeight=700,
        StemV=80,
        FontFile2=pdf.make_stream(packed, Filter=Name.FlateDecode, Length1=length),
    )
    return Dictionary(
        Type=Name.Font,
        Subtype=Name.TrueType,
        BaseFont=Name("/Aileron-Regular"),
        Encoding=Name.WinAnsiEncoding,
        FirstChar=32,
        LastChar=126,
        Widths=Array(_WIDTHS),
        FontDescriptor=pdf.make_indirect(descriptor),
    )


def _output_intent(pdf: Pdf) -> Dictionary:
    packed, _ = _data("srgb.icc")
    return Dictionary(
        Type=Name.OutputIntent,
        S=Name.GTS_PDFA1,
        OutputConditionIdentifier=String("sRGB"),
        Info=String("sRGB"),
        DestOutputProfile=pdf.make_stream(packed, Filter=Name.FlateDecode, N=3),
    )


@cache
def _data(name: str) -> tuple[bytes, int]:
    """A file of ours packed, and its length unpacked."""
    data = (_DATA / name).read_bytes()
    return zlib.compress(data, 9), len(data)


def _octets_of_data() -> int:
    return sum(len(_data(name)[0]) for name in ("aileron.ttf", "srgb.icc"))


def _file_specification(pdf: Pdf, xml: bytes, filename: str, relationship: str) -> pikepdf.Object:
    stream = pdf.make_stream(xml)
    stream.Type = Name.EmbeddedFile
    stream.Subtype = Name("/text/xml")
    stream.Params = Dictionary(Size=len(xml), ModDate=String("D:20261102120000Z"))
    spec = Dictionary(Type=Name.Filespec, F=String(filename), UF=String(filename), EF=Dictionary(F=stream, UF=stream))
    if relationship:
        spec.AFRelationship = Name("/" + relationship)
    return pdf.make_indirect(spec)


def _metadata(pdf: Pdf, level: str, filename: str, number: str) -> pikepdf.Object:
    properties = "".join(_PROPERTY.format(name=name) for name in _PROPERTIES)
    text = _XMP.format(
        title=escape(f"Facture {number}"),
        fx=FX,
        level=escape(level),
        filename=escape(filename),
        properties=properties,
    )
    stream = pdf.make_stream(text.encode())
    stream.Type, stream.Subtype = Name.Metadata, Name.XML
    return stream


def _saved(pdf: Pdf) -> bytes:
    out = io.BytesIO()
    pdf.save(out, deterministic_id=True, compress_streams=False, min_version="1.7")
    return out.getvalue()


def _literal(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _first(pattern: bytes, xml: bytes) -> str:
    match = re.search(pattern, xml, re.DOTALL)
    return match.group(1).decode("utf-8", "replace").strip() if match else ""


def _noise(size: int) -> bytes:
    """`size` octets that do not compress, the same every time."""
    state, out = 1, bytearray()
    while len(out) < size:
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        out += state.to_bytes(8, "big")
    return bytes(out[:size])
