"""Documents that want to hurt: each builder gives octets that no honest program writes. All of it is made here."""

import io
import zlib
from collections.abc import Callable

import pikepdf
from pikepdf import Array, Dictionary, Name, Pdf, String

from relay.demo import samples
from relay.demo.sample_pdf import encrypted_pdf

CANARY = "canary-7d1f"
MEGABYTE = b"\0" * (1 << 20)


def _xml(**kwargs: object) -> bytes:
    return samples.invoice_xml(**kwargs)  # type: ignore[arg-type]


def _declared(doctype: str, use: str = "&x;") -> bytes:
    xml = _xml().replace(b'<?xml version="1.0" encoding="UTF-8"?>\n', b"")
    return b'<?xml version="1.0"?>' + doctype.encode() + xml.replace(b"FA-2026-0001", use.encode())


def bomb(megabytes: int) -> bytes:
    """A zlib stream of so many megabytes of zeros, in a few kilobytes a hundred: one flushed block, repeated."""
    packer = zlib.compressobj(9)
    first = packer.compress(b"") + packer.compress(MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + block * (megabytes - 1)


def packed_zeros(size: int) -> bytes:
    """At least `size` zeros by LZW: each code once, so that the strings grow as long as they can, again and again."""
    out, held, bits, made = bytearray(), 0, 0, 0

    def put(code: int, width: int) -> None:
        nonlocal held, bits
        held, bits = held << width | code, bits + width
        while bits >= 8:
            bits -= 8
            out.append(held >> bits & 255)
            held &= (1 << bits) - 1

    while made < size:
        put(256, 12 if made else 9)
        put(0, 9)
        made, code = made + 1, 258
        while code < 4094:
            put(code, max(9, (code + 1).bit_length()))
            made, code = made + code - 256, code + 1
    put(257, 12)
    out.append(held << 8 - bits & 255)
    return bytes(out)


LAUGHS = "".join(f'<!ENTITY l{n} "{("&l" + str(n - 1) + ";") * 10}">' for n in range(1, 12))

XML: dict[str, Callable[[], bytes]] = {
    "xxe-file": lambda: _declared('<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]>'),
    "xxe-http": lambda: _declared('<!DOCTYPE r [<!ENTITY x SYSTEM "http://127.0.0.1:9/x">]>'),
    "xxe-parameter": lambda: _declared('<!DOCTYPE r [<!ENTITY % p SYSTEM "file:///etc/hostname"> %p;]>', "N"),
    "dtd-external": lambda: _declared('<!DOCTYPE r SYSTEM "file:///etc/hostname">', "N"),
    "dtd-public": lambda: _declared('<!DOCTYPE r PUBLIC "-//X//Y" "http://127.0.0.1:9/y.dtd">', "N"),
    "dtd-after-comment": lambda: _declared('<!-- <a> --><!DOCTYPE r [<!ENTITY x "y">]>'),
    "dtd-utf16": lambda: _declared('<!DOCTYPE r [<!ENTITY x "y">]>').decode().encode("utf-16"),
    "billion-laughs": lambda: _declared(f'<!DOCTYPE r [<!ENTITY l0 "ha">{LAUGHS}]>', "&l11;"),
    "quadratic": lambda: _declared(f'<!DOCTYPE r [<!ENTITY x "{"a" * 100_000}">]>', "&x;" * 10_000),
    "entity-in-attribute": lambda: _declared(f'<!DOCTYPE r [<!ENTITY l0 "ha">{LAUGHS}]>', "N").replace(
        b'schemeID="0002"', b'schemeID="&l11;"', 1
    ),
    "deep": lambda: _xml().replace(b"FA-2026-0001", b"<a>" * 100_000 + b"</a>" * 100_000),
    "wide": lambda: _xml().replace(b"FA-2026-0001", b"<a/>" * 1_000_000),
    "attributes": lambda: _xml().replace(
        b"<ram:TypeCode>", b"<ram:TypeCode " + b" ".join(b'a%d="1"' % n for n in range(50_000)) + b">", 1
    ),
    "namespaces": lambda: _xml().replace(
        b"<ram:TypeCode>", b"<ram:TypeCode " + b" ".join(b'xmlns:n%d="u:%d"' % (n, n) for n in range(20_000)) + b">", 1
    ),
    "long-text": lambda: _xml(number="N" * 11_000_000),
    "long-text-and-deep": lambda: _xml().replace(b"FA-2026-0001", b"<a>" * 1_000 + b"N" * 11_000_000 + b"</a>" * 1_000),
    "long-attribute": lambda: _xml().replace(b'schemeID="0002"', b'schemeID="' + b"0" * 11_000_000 + b'"', 1),
    "beyond-limit": lambda: _xml() + b" " * (21 << 20),
    "empty": lambda: b"",
    "nul": lambda: _xml().replace(b"FA-2026", b"FA\0002026"),
    "encoding-unknown": lambda: _xml().replace(b"UTF-8", b"no-such", 1),
    "encoding-utf7": lambda: _xml().replace(b"UTF-8", b"UTF-7", 1),
    "truncated": lambda: _xml()[:900],
    "binary": lambda: bytes(range(256)) * 40,
    "root-suffix": lambda: _xml().replace(b"CrossIndustryInvoice", b"EvilCrossIndustryInvoice"),
    "root-namespace": lambda: _xml().replace(b"CrossIndustryInvoice:100", b"CrossIndustryInvoice:666"),
    "urn-suffix": lambda: _xml(profile="basic").replace(b"urn:factur-x.eu:1p0:basic", b"urn:evil:basic"),
    "urn-empty": lambda: _xml().replace(b"urn:cen.eu:en16931:2017", b""),
    "xinclude": lambda: _xml().replace(
        b"FA-2026-0001",
        b'<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="file:///etc/hostname" parse="text"/>',
    ),
    "number-huge": lambda: _xml().replace(b"200.00", b"9" * 5000),
    "number-nan": lambda: _xml().replace(b"200.00", b"NaN"),
    "regex-bait": lambda: _xml(number="a" * 3000 + "!"),
}
"""Invoices; each stands in an otherwise good Factur-X."""


def _pdf(change: Callable[[Pdf], None], *, recompress: bool = False) -> bytes:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(samples.facturx_pdf(_xml()))) as pdf:
        change(pdf)
        pdf.save(out, compress_streams=recompress)
    return out.getvalue()


def _metadata(value: Callable[[Pdf], object]) -> bytes:
    """Under another name while it is saved: pikepdf wants to mend the XMP."""

    def change(pdf: Pdf) -> None:
        del pdf.Root.Metadata
        pdf.Root["/Metadatb"] = value(pdf)

    return _pdf(change).replace(b"/Metadatb", b"/Metadata")


def _swap(data: bytes, filters: object = None, parms: object = None) -> bytes:
    """The embedded invoice's stream replaced by raw octets under the given filters."""

    def change(pdf: Pdf) -> None:
        stream = pdf.Root.AF[0].EF.F
        stream.write(data, filter=filters, decode_parms=parms)

    return _pdf(change)


def _many_files(pdf: Pdf) -> None:
    spec = Dictionary(Type=Name.Filespec, F=String("a.xml"), EF=Dictionary(F=pdf.make_stream(b"<a/>")))
    pdf.Root.Names.EmbeddedFiles.Names = Array(
        [item for n in range(20_000) for item in (String(f"{n}.xml"), pdf.make_indirect(Dictionary(spec)))]
    )
    del pdf.Root.AF


def _loop_names(pdf: Pdf) -> None:
    node = pdf.make_indirect(Dictionary())
    node.Kids = Array([node, node])
    pdf.Root.Names.EmbeddedFiles = node
    del pdf.Root.AF


def _loop_pages(pdf: Pdf) -> None:
    pdf.Root.Pages.Kids = Array([pdf.Root.Pages, pdf.Root.Pages])
    del pdf.Root.AF, pdf.Root.Names


def _huge_image(pdf: Pdf) -> None:
    del pdf.Root.AF, pdf.Root.Names, pdf.Root.Metadata
    image = pdf.make_stream(bomb(300), Type=Name.XObject, Subtype=Name.Image, Width=100_000, Height=100_000)
    image.ColorSpace, image.BitsPerComponent, image.Filter = Name.DeviceRGB, 8, Name.FlateDecode
    pdf.pages[0].Resources.XObject = Dictionary(I=image)
    pdf.pages[0].Contents = pdf.make_stream(b"q 500 0 0 500 0 0 cm /I Do Q")


def _content_bomb(pdf: Pdf) -> None:
    del pdf.Root.AF, pdf.Root.Names, pdf.Root.Metadata
    pdf.pages[0].Contents.write(bomb(1500), filter=Name.FlateDecode)


def _set(**values: object) -> Callable[[], bytes]:
    def change(pdf: Pdf) -> None:
        for name, value in values.items():
            pdf.Root[f"/{name}"] = value

    return lambda: _pdf(change)


def _raw(body: bytes) -> bytes:
    return b"%PDF-1.7\n" + body + b"\ntrailer\n<</Root 1 0 R/Size 9>>\nstartxref\n0\n%%EOF\n"


def _object_stream(dictionary: bytes, data: bytes) -> bytes:
    """A file whose catalog lies in an object stream with the content `data`."""
    head = b"%PDF-1.7\n"
    stream = b"2 0 obj\n<</Type/ObjStm/Filter/FlateDecode%s/Length %d>>stream\n" % (dictionary, len(data))
    stream += data + b"\nendstream\nendobj\n"
    place = len(head) + len(stream)
    rows = b"\0\0\0\0\0\0\0" + b"\2\0\0\0\2\0\0" + b"\1" + len(head).to_bytes(4, "big") + b"\0\0"
    xref = b"3 0 obj\n<</Type/XRef/W[1 4 2]/Size 3/Root 1 0 R/Length %d>>stream\n" % len(rows)
    return head + stream + xref + rows + b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n" % place


PDF: dict[str, Callable[[], bytes]] = {
    "flate-bomb": lambda: _swap(bomb(2000), Name.FlateDecode),
    "flate-nested": lambda: _swap(zlib.compress(bomb(1000)), Array([Name.FlateDecode, Name.FlateDecode])),
    "flate-predictor": lambda: _swap(bomb(500), Name.FlateDecode, Dictionary(Predictor=12, Columns=1)),
    "flate-damaged": lambda: _swap(b"\x78\x9c" + b"\xff" * 100, Name.FlateDecode),
    "filter-lzw": lambda: _swap(b"\x80\x0b\x60\x50\x22\x0c\x0c\x85\x01", Name.LZWDecode),
    "filter-run-length": lambda: _swap(b"\x81\x00" * 1_000_000, Name.RunLengthDecode),
    "lzw-bomb": lambda: _swap(packed_zeros(22 << 20), Name.LZWDecode),
    "run-length-bomb": lambda: _swap(b"\x81\x00" * 200_000, Name.RunLengthDecode),
    "predictor-of-huge-rows": lambda: _swap(
        zlib.compress(b"\2" * 1000), Name.FlateDecode, Dictionary(Predictor=12, Columns=2_000_000_000, Colors=4)
    ),
    "predictor-mad": lambda: _swap(zlib.compress(b"\2" * 1000), Name.FlateDecode, Dictionary(Predictor=-7, Columns=-1)),
    "filter-crypt": lambda: _swap(b"x", Name.Crypt),
    "filters-many": lambda: _swap(b"x", Array([Name.FlateDecode] * 1000)),
    "xmp-bomb": lambda: _metadata(lambda pdf: pdf.make_stream(bomb(500), Filter=Name.FlateDecode)),
    "xmp-laughs": lambda: _metadata(lambda pdf: pdf.make_stream(_declared(f"<!DOCTYPE r [{LAUGHS}]>", "&l11;"))),
    "xmp-array": lambda: _metadata(lambda pdf: Array([1, 2])),
    "names-number": _set(Names=7, AF=7),
    "names-loop": lambda: _pdf(_loop_names),
    "pages-loop": lambda: _pdf(_loop_pages),
    "files-many": lambda: _pdf(_many_files),
    "image-huge": lambda: _pdf(_huge_image),
    "content-bomb": lambda: _pdf(_content_bomb),
    "object-stream-bomb": lambda: _object_stream(b"/N 1/First 4", bomb(3000)),
    "object-stream-self": lambda: _object_stream(
        b"/N 1/First 4/Extends 2 0 R", zlib.compress(b"1 0 <</Type/Catalog>>")
    ),
    "object-stream-lies": lambda: _object_stream(b"/N 2000000000/First 4", zlib.compress(b"1 0 <<>>")),
    "arrays-deep": lambda: _raw(b"1 0 obj\n" + b"[" * 10_000 + b"]" * 10_000 + b"\nendobj"),
    "dictionaries-deep": lambda: _raw(b"1 0 obj\n" + b"<</A" * 10_000 + b" 1" + b">>" * 10_000 + b"\nendobj"),
    "catalog-deep": lambda: _raw(b"1 0 obj\n<</Type/Catalog/Names " + b"<</Kids[" * 400 + b"]>>" * 400 + b">>\nendobj"),
    "xref-loop": lambda: b"%PDF-1.7\nxref\n0 1\n0000000000 65535 f \ntrailer\n<</Size 1/Prev 9>>\nstartxref\n9\n%%EOF",
    "xref-huge": lambda: b"%PDF-1.7\nxref\n0 2000000000\n0000000000 65535 f \ntrailer\n<<>>\nstartxref\n9\n%%EOF",
    "length-lies": lambda: samples.facturx_pdf(_xml()).replace(b"/Length ", b"/Length 9999999999999"),
    "encrypted": lambda: encrypted_pdf(samples.facturx_pdf(_xml())),
    "truncated": lambda: samples.facturx_pdf(_xml())[:3000],
    "header-only": lambda: b"%PDF-1.7\n",
    "garbage": lambda: b"%PDF-1.7\n" + bytes(range(256)) * 400,
    "no-root": lambda: samples.facturx_pdf(_xml()).replace(b"/Root", b"/Toor"),
    "version-mad": lambda: b"%PDF-" + b"9" * 4000 + b"\n",
}
"""Containers."""
