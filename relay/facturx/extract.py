"""What a PDF carries: its embedded files, its XMP and how it stands as a file. Every walk is bounded."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import pikepdf

from relay.facturx import inflate
from relay.report import Finding, Severity

MAX_FILES = 200
MAX_NODES = 2000
MAX_PAGES = 50
MAX_ANNOTATIONS = 200
SNIFF = 4096


@dataclass(frozen=True, slots=True)
class Attachment:
    """One embedded file. content: None when it is not XML by name, type or first octets, or could not be read.

    source: names | af | annotation, where it was found first. associated: it stands in /AF of the catalog.
    problem: the finding that says why an XML could not be read.
    """

    name: str
    relationship: str | None
    media_type: str | None
    source: str
    associated: bool
    content: bytes | None
    problem: Finding | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """An opened PDF. xmp: its octets, None when there is none. findings: what opening it showed."""

    attachments: tuple[Attachment, ...]
    xmp: bytes | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A PDF beyond opening. encrypted: it asks for a password."""

    finding: Finding
    encrypted: bool = False


def read(data: bytes) -> Container | Unreadable:
    """Open strictly, then with recovery; an ill-formed document is a value, never an exception."""
    findings = []
    if not data.startswith(b"%PDF-"):
        findings.append(_finding("PDF-HEADER-LATE", Severity.WARNING, "octets stand before the header %PDF-"))
    try:
        try:
            pdf = pikepdf.open(io.BytesIO(data), attempt_recovery=False, suppress_warnings=True)
        except pikepdf.PasswordError:
            raise
        except pikepdf.PdfError:
            findings.append(_finding("PDF-DAMAGED", Severity.WARNING, "the PDF is damaged; it was read by recovery"))
            pdf = pikepdf.open(io.BytesIO(data), attempt_recovery=True, suppress_warnings=True)
    except pikepdf.PasswordError:
        text = "the PDF asks for a password: nothing in it can be checked"
        return Unreadable(_finding("PDF-ENCRYPTED", Severity.WARNING, text), encrypted=True)
    except (pikepdf.PdfError, ValueError, TypeError, KeyError, RecursionError):
        return Unreadable(_finding("PDF-UNREADABLE", Severity.WARNING, "the PDF cannot be opened, even by recovery"))
    with pdf:  # kept open while its objects are read: they point into it
        try:
            return _container(pdf, findings)
        except (pikepdf.PdfError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            text = "the catalog of the PDF cannot be read"
            return Unreadable(_finding("PDF-UNREADABLE", Severity.WARNING, text))


def _container(pdf: pikepdf.Pdf, findings: list[Finding]) -> Container:
    if pdf.is_encrypted:
        findings.append(
            _finding("PDF-ENCRYPTED", Severity.ERROR, "encryption is forbidden in PDF/A (ISO 19005-3 §6.1.3)")
        )
    attachments = tuple(_attachments(pdf, findings))
    return Container(attachments, _xmp(pdf, findings), tuple(findings))


def _xmp(pdf: pikepdf.Pdf, findings: list[Finding]) -> bytes | None:
    stream = pdf.Root.get("/Metadata")
    if not isinstance(stream, pikepdf.Stream):
        return None
    try:
        return inflate.content(stream, inflate.XMP_LIMIT)
    except inflate.TooLarge:
        findings.append(_finding("XMP-TOO-LARGE", Severity.ERROR, "the XMP exceeds 2 MB", "xmp"))
    except (inflate.Undecodable, pikepdf.PdfError) as error:
        findings.append(_finding("XMP-UNREADABLE", Severity.ERROR, f"the XMP cannot be decoded: {_why(error)}", "xmp"))
    return None


def _attachments(pdf: pikepdf.Pdf, findings: list[Finding]) -> Iterator[Attachment]:
    linked = tuple(_associated(pdf))
    associated = {_identity(spec) for _, spec in linked}
    seen: set[object] = set()
    left = inflate.XML_LIMIT
    for source, found in (("names", _named(pdf)), ("af", linked), ("annotation", _annotated(pdf))):
        for key, spec in found:
            if len(seen) >= MAX_FILES:
                findings.append(_finding("PDF-TOO-MANY-FILES", Severity.WARNING, f"only {MAX_FILES} files were read"))
                return
            identity = _identity(spec)
            if identity in seen:
                continue
            seen.add(identity)
            attachment = _attachment(key, spec, source, identity in associated, left)
            if attachment is not None:
                left -= len(attachment.content or b"")
                yield attachment


def _attachment(key: str, spec: pikepdf.Object, source: str, associated: bool, limit: int) -> Attachment | None:
    files = spec.get("/EF")
    if not isinstance(files, pikepdf.Dictionary):
        return None
    stream = files.get("/UF")
    if not isinstance(stream, pikepdf.Stream) and not isinstance(stream := files.get("/F"), pikepdf.Stream):
        return None
    name = _text(spec.get("/UF")) or _text(spec.get("/F")) or key
    relationship = spec.get("/AFRelationship")
    media_type = _name(stream.get("/Subtype"))
    content, problem = _xml(stream, name, media_type, limit)
    return Attachment(name, _name(relationship), media_type, source, associated, content, problem)


def _xml(stream: pikepdf.Object, name: str, media_type: str | None, limit: int) -> tuple[bytes | None, Finding | None]:
    """The content when it is XML; what a name or a type promises must be readable, anything else is only looked at."""
    promised = name.lower().endswith(".xml") or "xml" in (media_type or "")
    try:
        data = inflate.content(stream, max(limit, 0))
    except inflate.TooLarge:
        problem = _finding("XML-TOO-LARGE", Severity.ERROR, "the embedded XML exceeds 20 MB", "xml")
    except (inflate.Undecodable, pikepdf.PdfError) as error:
        problem = _finding(
            "XML-UNREADABLE", Severity.ERROR, f"the embedded XML cannot be decoded: {_why(error)}", "xml"
        )
    else:
        head = data[:SNIFF].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\x00")
        return (data if promised or head.startswith((b"<?xml", b"<\x00?")) else None), None
    return None, problem if promised else None


def _named(pdf: pikepdf.Pdf) -> Iterator[tuple[str, pikepdf.Object]]:
    """The name tree EmbeddedFiles, breadth first; loops and depth end at MAX_NODES (ISO 32000-1 §7.9.6)."""
    names = pdf.Root.get("/Names")
    root = names.get("/EmbeddedFiles") if isinstance(names, pikepdf.Dictionary) else None
    pending, visited = [root], 0
    while pending and visited < MAX_NODES:
        node = pending.pop(0)
        visited += 1
        if not isinstance(node, pikepdf.Dictionary):
            continue
        leaves = node.get("/Names")
        if isinstance(leaves, pikepdf.Array):
            for place in range(0, min(len(leaves) - 1, 2 * MAX_FILES + 2), 2):
                if isinstance(leaves[place + 1], pikepdf.Dictionary):
                    yield _text(leaves[place]), leaves[place + 1]
        kids = node.get("/Kids")
        if isinstance(kids, pikepdf.Array):
            pending.extend(kids[place] for place in range(min(len(kids), MAX_NODES - visited)))


def _associated(pdf: pikepdf.Pdf) -> Iterator[tuple[str, pikepdf.Object]]:
    files = pdf.Root.get("/AF")
    if isinstance(files, pikepdf.Dictionary):
        yield "", files
    elif isinstance(files, pikepdf.Array):
        for place in range(min(len(files), MAX_FILES + 1)):
            if isinstance(files[place], pikepdf.Dictionary):
                yield "", files[place]


def _annotated(pdf: pikepdf.Pdf) -> Iterator[tuple[str, pikepdf.Object]]:
    """Files hung on the first pages as annotations; the page tree is walked by hand, a hostile one may loop."""
    pending, pages, visited = [pdf.Root.get("/Pages")], 0, 0
    while pending and pages < MAX_PAGES and visited < MAX_NODES:
        node = pending.pop(0)
        visited += 1
        if not isinstance(node, pikepdf.Dictionary):
            continue
        kids = node.get("/Kids")
        if isinstance(kids, pikepdf.Array):
            pending.extend(kids[place] for place in range(min(len(kids), MAX_PAGES)))
            continue
        pages += 1
        notes = node.get("/Annots")
        if not isinstance(notes, pikepdf.Array):
            continue
        for place in range(min(len(notes), MAX_ANNOTATIONS)):
            note = notes[place]
            file = note.get("/FS") if isinstance(note, pikepdf.Dictionary) else None
            if isinstance(file, pikepdf.Dictionary):
                yield "", file


def _identity(spec: pikepdf.Object) -> object:
    return spec.objgen if spec.is_indirect else spec.unparse()


def _text(value: object) -> str:
    return str(value) if isinstance(value, pikepdf.String) else ""


def _name(value: object) -> str | None:
    return str(value)[1:] if isinstance(value, pikepdf.Name) else None


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, inflate.Undecodable) else "damaged stream"


def _finding(rule: str, severity: Severity, text: str, where: str = "pdf") -> Finding:
    return Finding(rule, severity, where, text)
