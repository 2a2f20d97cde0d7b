"""Does the PDF/A-3 container agree with the invoice in it? XMP, name, relationship, /AF (Factur-X 1.0 §6, ISO
19005-3 §6.8)."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from relay.facturx.invoice import PROFILES, Profile
from relay.facturx.pdf import Attachment, Container
from relay.facturx.xml import parse
from relay.inspection import Finding, Severity

PDFA = "http://www.aiim.org/pdfa/ns/id/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
FACTURX = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"
# The samples of 2018 spell the namespace in lower case; ZUGFeRD 2.0 had its own. Claims, though not conforming.
NEARLY = frozenset({FACTURX.lower(), FACTURX.removesuffix("#"), "urn:zugferd:pdfa:CrossIndustryDocument:invoice:2p0#"})
ORDERX = "urn:factur-x:pdfa:CrossIndustryDocument:1p0#"
ZUGFERD1 = "urn:ferd:pdfa:CrossIndustryDocument:invoice:1p0#"
_CLAIMING = (FACTURX, *sorted(NEARLY), ORDERX, ZUGFERD1)
"""Namespaces of which one says what the PDF is; the first that is there holds."""
_CLAIMED = ("ConformanceLevel", "DocumentFileName", "DocumentType", "Version")
_READ = frozenset({PDFA, *_CLAIMING})
_DESCRIPTION = f"{{{RDF}}}Description"

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
    properties: dict[tuple[str, str], str] = {}  # the first of a name holds; of other namespaces none is read
    for description in tree.iter(_DESCRIPTION):
        for tag, value in description.items():
            namespace, _, name = str(tag).rpartition("}")
            if namespace[1:] in _READ:
                properties.setdefault((namespace[1:], name), str(value))
        for child in description.iterchildren("*"):
            namespace, _, name = child.tag.rpartition("}")
            if namespace[1:] in _READ:
                properties.setdefault((namespace[1:], name), child.text or "")
    present = {namespace for namespace, _ in properties}
    claiming = next((namespace for namespace in _CLAIMING if namespace in present), None)
    part, *claims = (
        value if value is None else value.strip()
        for value in map(properties.get, ((PDFA, "part"), *((claiming or "", name) for name in _CLAIMED)))
    )
    return Xmp(part, claiming, *claims)


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


NAME = "factur-x.xml"
_LEVELS = {profile.level: profile.name for profile in PROFILES} | {"BASICWL": "basicwl", "EN16931": "en16931"}
_FULL = frozenset({"Data", "Alternative", "Source"})


def check(container: Container, attachment: Attachment, profile: Profile | None, claims: Xmp | None) -> list[Finding]:
    """Every disagreement between the PDF and the invoice that it carries."""
    return [*_attached(attachment, profile), *_xmp(container, attachment, profile, claims)]


def _attached(attachment: Attachment, profile: Profile | None) -> Iterator[Finding]:
    if attachment.name != NAME:
        yield _error("FX-XML-NAME", "pdf", "the embedded invoice is not named factur-x.xml")
    if attachment.source == "annotation":
        yield _warning("FX-NOT-IN-NAMES", "the invoice hangs on a page as an annotation, not in EmbeddedFiles")
    elif attachment.source != "names":
        yield _warning(
            "FX-NOT-IN-NAMES", "the invoice is in /AF only, not in EmbeddedFiles: many programs do not find it"
        )
    if attachment.lzw:
        yield _warning("PDFA-LZW", "the embedded invoice is packed by LZW, which is forbidden (ISO 19005-3 §6.1.7.2)")
    if not attachment.associated:
        yield _error("FX-AF-MISSING", "pdf", "the invoice is not in /AF of the catalog (ISO 19005-3 §6.8)")
    if attachment.relationship is None:
        yield _error(
            "FX-AFRELATIONSHIP-MISSING", "pdf", "the embedded invoice has no AFRelationship (ISO 19005-3 §6.8)"
        )
    elif profile is not None:
        allowed = frozenset({"Data"}) if profile.data_only else _FULL
        if attachment.relationship not in allowed:
            wanted = " or ".join(sorted(allowed))
            yield _error("FX-AFRELATIONSHIP", "pdf", f"AFRelationship must be {wanted} for profile {profile.name}")
    if attachment.media_type not in ("text/xml", "application/xml"):
        yield _warning("FX-MIME", "the MIME type of the embedded invoice is not text/xml")


def _xmp(
    container: Container, attachment: Attachment, profile: Profile | None, claims: Xmp | None
) -> Iterator[Finding]:
    if claims is None:
        if container.xmp is not None:
            yield _error("XMP-NOT-WELL-FORMED", "xmp", "the XMP is not well-formed XML")
        elif not any(finding.where == "xmp" for finding in container.findings):
            yield _error("XMP-MISSING", "xmp", "the PDF has no XMP metadata")
        return
    if container.xmp is not None and not is_utf8(container.xmp):
        yield Finding("XMP-ENCODING", Severity.WARNING, "xmp", "the XMP is not in UTF-8 (ISO 19005-3 §6.6.2.1)")
    if claims.part != "3":
        yield _error("PDFA-NOT-PART-3", "xmp", "the XMP does not identify PDF/A-3 (identified only, not verified)")
    if claims.namespace is None:
        yield _error("XMP-FX-MISSING", "xmp", "the XMP has no Factur-X properties")
        return
    if claims.namespace != FACTURX:
        yield _error("XMP-FX-NAMESPACE", "xmp", "the XMP's extension is not the one of Factur-X 1.0")
    if profile is not None and _LEVELS.get(claims.level or "") != profile.name:
        yield _error("XMP-LEVEL-MISMATCH", "xmp", f"the XMP's ConformanceLevel is not {profile.level}, as the XML says")
    if claims.filename != attachment.name:
        yield _error(
            "XMP-FILENAME-MISMATCH", "xmp", "the XMP's DocumentFileName is not the name of the embedded invoice"
        )
    if claims.document_type != "INVOICE":
        yield _error("XMP-TYPE-MISMATCH", "xmp", "the XMP's DocumentType is not INVOICE")
    if claims.version != "1.0":
        yield Finding("XMP-VERSION", Severity.WARNING, "xmp", "the XMP's Version is not 1.0")


def _error(rule: str, where: str, text: str) -> Finding:
    return Finding(rule, Severity.ERROR, where, text)


def _warning(rule: str, text: str) -> Finding:
    return Finding(rule, Severity.WARNING, "pdf", text)
