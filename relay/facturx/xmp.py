"""The XMP of a PDF: the part of PDF/A it identifies, and what it claims to be a Factur-X of."""

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
    tree = parse(data.strip(b"\x00 \t\r\n"))
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


def _note(found: dict[str, dict[str, str]], tag: str, value: str) -> None:
    namespace, _, name = tag.rpartition("}")
    found.setdefault(namespace[1:], {}).setdefault(name, value.strip())
