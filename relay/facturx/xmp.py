"""The XMP of a PDF: the part of PDF/A it identifies, and what it claims to be a Factur-X of."""

import codecs
import re
from dataclasses import dataclass

from lxml import etree

from relay.facturx.xml import parse

PDFA = "http://www.aiim.org/pdfa/ns/id/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
FACTURX = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"
# The samples of 2018 spell the namespace in lower case; ZUGFeRD 2.0 had its own. Claims, though not conforming.
NEARLY = frozenset({FACTURX.lower(), FACTURX.removesuffix("#"), "urn:zugferd:pdfa:CrossIndustryDocument:invoice:2p0#"})
ORDERX = "urn:factur-x:pdfa:CrossIndustryDocument:1p0#"
ZUGFERD1 = "urn:ferd:pdfa:CrossIndustryDocument:invoice:1p0#"


_MARKS = (
    (codecs.BOM_UTF8, None),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; the longer first, for that of UTF-16 begins that of UTF-32."""
_WIDTH = {"utf-16": 2, "utf-16-le": 2, "utf-16-be": 2, "utf-32": 4, "utf-32-le": 4, "utf-32-be": 4}
_DECLARED = re.compile(rb"\A\s*<\?xml\s[^>]*\?>")


@dataclass(frozen=True, slots=True)
class Xmp:
    """part: pdfaid:part. namespace: of the invoice extension found, None if none. The rest: fx properties, stripped."""

    part: str | None = None
    namespace: str | None = None
    level: str | None = None
    filename: str | None = None
    document_type: str | None = None
    version: str | None = None

    @property
    def claims_facturx(self) -> bool:
        """It says that the PDF is a Factur-X, whether or not one is inside."""
        return self.namespace == FACTURX or self.namespace in NEARLY


def read(data: bytes) -> Xmp | None:
    """The facts of an XMP packet; None when it is no well-formed XML."""
    text = in_utf8(data)
    tree = parse(text.strip(b"\x00 \t\r\n")) if text is not None else None
    if not isinstance(tree, etree._Element):
        return None
    found: dict[str, dict[str, str]] = {}
    for description in tree.iter(f"{{{RDF}}}Description"):
        for name, value in description.attrib.items():
            _note(found, str(name), str(value))
        for child in description:
            if isinstance(child.tag, str):
                _note(found, child.tag, child.text or "")
    order = (FACTURX, *sorted(NEARLY), ORDERX, ZUGFERD1)
    namespace = next((each for each in order if each in found), None)
    claims = found.get(namespace or "", {})
    return Xmp(
        found.get(PDFA, {}).get("part"),
        namespace,
        claims.get("ConformanceLevel"),
        claims.get("DocumentFileName"),
        claims.get("DocumentType"),
        claims.get("Version"),
    )


def is_utf8(data: bytes) -> bool:
    """Is the packet in UTF-8, as it must be in PDF/A (ISO 19005-3 §6.6.2.1)?"""
    return _encoding(data) is None


def in_utf8(data: bytes) -> bytes | None:
    """The packet in UTF-8, without the declaration of another encoding; None when its octets are not what they say."""
    encoding = _encoding(data)
    if encoding is None:
        return data
    try:
        text = data[: len(data) // _WIDTH[encoding] * _WIDTH[encoding]].decode(encoding).lstrip("\ufeff").encode()
    except UnicodeError:
        return None
    return _DECLARED.sub(b"", text, count=1)


def _encoding(data: bytes) -> str | None:
    """None for UTF-8. Without a byte order mark the octets round the first `<` tell (XMP Part 1, §7.3.2)."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    place = data.find(b"<", 0, 256)
    if place < 0 or data[place + 1 : place + 2] != b"\0":
        return None
    if data[place + 1 : place + 4] == b"\0\0\0":
        return "utf-32-be" if place % 4 == 3 else "utf-32-le"
    return "utf-16-be" if place % 2 else "utf-16-le"


def _note(found: dict[str, dict[str, str]], tag: str, value: str) -> None:
    namespace, _, name = tag.rpartition("}")
    found.setdefault(namespace[1:], {}).setdefault(name, value.strip())
