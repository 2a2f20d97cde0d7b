"""Does the container agree with the invoice in it? XMP, name, relationship, /AF (Factur-X 1.0 §6, ISO 19005-3 §6.8)."""

from collections.abc import Iterator

from relay.facturx import xmp
from relay.facturx.extract import Attachment, Container
from relay.facturx.profiles import PROFILES, Profile
from relay.report import Finding, Severity

NAME = "factur-x.xml"
_LEVELS = {profile.level: profile.name for profile in PROFILES} | {"BASICWL": "basicwl", "EN16931": "en16931"}
_FULL = frozenset({"Data", "Alternative", "Source"})


def check(
    container: Container, attachment: Attachment, profile: Profile | None, claims: xmp.Xmp | None
) -> list[Finding]:
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
    container: Container, attachment: Attachment, profile: Profile | None, claims: xmp.Xmp | None
) -> Iterator[Finding]:
    if claims is None:
        if container.xmp is not None:
            yield _error("XMP-NOT-WELL-FORMED", "xmp", "the XMP is not well-formed XML")
        elif not any(finding.where == "xmp" for finding in container.findings):
            yield _error("XMP-MISSING", "xmp", "the PDF has no XMP metadata")
        return
    if container.xmp is not None and not xmp.is_utf8(container.xmp):
        yield Finding("XMP-ENCODING", Severity.WARNING, "xmp", "the XMP is not in UTF-8 (ISO 19005-3 §6.6.2.1)")
    if claims.part != "3":
        yield _error("PDFA-NOT-PART-3", "xmp", "the XMP does not identify PDF/A-3 (identified only, not verified)")
    if claims.namespace is None:
        yield _error("XMP-FX-MISSING", "xmp", "the XMP has no Factur-X properties")
        return
    if claims.namespace != xmp.FACTURX:
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
