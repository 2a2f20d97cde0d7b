"""What a PDF carries: its embedded files, its XMP and how it stands as a file. Every walk is bounded."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pikepdf

from relay.facturx import active_content, page_tree, pdf_streams, pdfa
from relay.facturx.xml import looks_like_xml
from relay.inspection import Finding, Severity
from relay.mime.file_type import PROGRAM, file_type

MAX_FILES = 200
MAX_NODES = 2000
MAX_PAGES = 50
MAX_ANNOTATIONS = 200
SNIFF = 4096
MAX_VERSIONS = 10

_OBJECT = re.compile(rb"[0-9] +[0-9]+ +obj\b")
_CUT_OFF = "the PDF is cut off: its end is missing (ISO 32000-1 §7.5.5)"


@dataclass(frozen=True, slots=True)
class Attachment:
    """One embedded file. content: None when it is not XML by name, type or first octets, or could not be read.

    source: names | af | page | annotation, where it was found first. associated: it stands in /AF of the catalog.
    problem: the finding that says why an XML could not be read. lzw: it is packed by LZW. program: it can be run.
    """

    name: str
    relationship: str | None
    media_type: str | None
    source: str
    associated: bool
    content: bytes | None
    problem: Finding | None = None
    lzw: bool = False
    program: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """An opened PDF. xmp: its octets, None when there is none. findings: what opening it showed.

    incomplete: it is cut off, or pages of it cannot be shown.
    """

    attachments: tuple[Attachment, ...]
    xmp: bytes | None
    findings: tuple[Finding, ...]
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A PDF beyond opening. encrypted: it asks for a password."""

    finding: Finding
    encrypted: bool = False


def read(data: bytes, *, appearance_too: bool = False) -> Container | Unreadable:
    """Open strictly, then with recovery; an ill-formed document is a value, never an exception.

    appearance_too: the colours and fonts of a PDF that carries XML are looked at too; that takes as long as opening it.
    """
    findings = []
    if not data.startswith(b"%PDF-"):
        findings.append(_finding("PDF-HEADER-LATE", Severity.WARNING, "octets stand before the header %PDF-"))
    incomplete = None
    try:
        try:
            pdf = pikepdf.open(io.BytesIO(data), attempt_recovery=False, suppress_warnings=True)
            incomplete = _update_cut_off(data)
            if data.rfind(b"%%EOF") < 0:
                findings.append(_finding("PDF-EOF-MISSING", Severity.WARNING, "no %%EOF ends it (ISO 19005-3 §6.1.3)"))
        except pikepdf.PasswordError:
            raise
        except pikepdf.PdfError:
            findings.append(_finding("PDF-DAMAGED", Severity.WARNING, "the PDF is damaged; it was read by recovery"))
            pdf = pikepdf.open(io.BytesIO(data), attempt_recovery=True, suppress_warnings=True)
            incomplete = _why_incomplete(data)
    except pikepdf.PasswordError:
        text = "the PDF asks for a password: nothing in it can be checked"
        return Unreadable(_finding("PDF-ENCRYPTED", Severity.WARNING, text), encrypted=True)
    except (pikepdf.PdfError, ValueError, TypeError, KeyError, RecursionError):
        return Unreadable(_finding("PDF-UNREADABLE", Severity.WARNING, "the PDF cannot be opened, even by recovery"))
    with pdf:  # kept open while its objects are read: they point into it
        try:
            return _container(pdf, data, findings, incomplete, appearance_too)
        except (pikepdf.PdfError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            text = "the catalog of the PDF cannot be read"
            return Unreadable(_finding("PDF-UNREADABLE", Severity.WARNING, text))


def _update_cut_off(data: bytes) -> str | None:
    """A file that opens, but behind its last end there are objects: the last update of it did not come whole."""
    end = data.rfind(b"%%EOF")
    return _CUT_OFF if end >= 0 and _OBJECT.search(data, end) else None


def _why_incomplete(data: bytes) -> str | None:
    """Of a file that only recovery opens: what it lacks; None when all of it is there and a renderer shows it."""
    end = data.rfind(b"%%EOF")
    if end < 0 or _OBJECT.search(data, end):
        return _CUT_OFF
    if b"trailer" not in data and b"/XRef" not in data:
        return "the PDF has no trailer (ISO 32000-1 §7.5.5)"
    return None if page_tree.opens(data) else "a renderer cannot open the pages of the PDF"


def _container(
    pdf: pikepdf.Pdf, data: bytes, findings: list[Finding], incomplete: str | None, appearance_too: bool
) -> Container:
    if pdf.is_encrypted:
        findings.append(
            _finding("PDF-ENCRYPTED", Severity.ERROR, "encryption is forbidden in PDF/A (ISO 19005-3 §6.1.3)")
        )
    tree = page_tree.read(pdf)
    incomplete = incomplete or _unshown(tree, data)
    if incomplete:
        findings.append(_finding("PDF-INCOMPLETE", Severity.ERROR, incomplete))
    attachments = tuple(_attachments(pdf, tree, findings))
    if any(each.program for each in attachments):
        findings.append(active_content.finding("PDF-EMBEDDED-PROGRAM"))
    findings += active_content.findings(pdf, tree)
    if appearance_too and any(each.content or each.problem for each in attachments):
        findings += pdfa.findings(pdf, tree)
    return Container(attachments, _xmp(pdf, findings), tuple(findings), incomplete is not None)


def _unshown(tree: page_tree.Pages, data: bytes) -> str | None:
    """Which page cannot be shown, if one cannot."""
    if tree.missing or not tree.found:
        return "a page of the PDF is missing" if tree.missing else "the PDF has no page"
    for place, page in enumerate(tree.found[: page_tree.MAX_READ], 1):
        lost = page_tree.names_content(page, data) if "/Contents" not in page.node else page_tree.content(page) is None
        if lost:
            return f"the content of page {place} is missing or damaged"
    return None


def _xmp(pdf: pikepdf.Pdf, findings: list[Finding]) -> bytes | None:
    stream = pdf_streams.entry(pdf.Root, "/Metadata")
    if not isinstance(stream, pikepdf.Stream):
        return None
    try:
        return pdf_streams.content(stream, pdf_streams.XMP_LIMIT)
    except pdf_streams.TooLarge:
        findings.append(_finding("XMP-TOO-LARGE", Severity.ERROR, "the XMP exceeds 2 MB", "xmp"))
    except (pdf_streams.Undecodable, pikepdf.PdfError) as error:
        findings.append(_finding("XMP-UNREADABLE", Severity.ERROR, f"the XMP cannot be decoded: {_why(error)}", "xmp"))
    return None


def _attachments(pdf: pikepdf.Pdf, tree: page_tree.Pages, findings: list[Finding]) -> Iterator[Attachment]:
    linked = tuple(_specifications(pdf_streams.entry(pdf.Root, "/AF")))
    associated = {_identity(spec) for _, spec in linked}
    seen: set[object] = set()
    left = pdf_streams.XML_LIMIT
    places = (("names", _named(pdf)), ("af", linked), ("page", _on_pages(tree)), ("annotation", _annotated(tree)))
    for source, found in places:
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
    lzw = pdf_streams.is_lzw(stream)
    is_xml = content is not None and looks_like_xml(content[:SNIFF])
    program = _is_program(files, name, stream if is_xml else None)
    return Attachment(name, _name(relationship), media_type, source, associated, content, problem, lzw, program)


def _is_program(files: pikepdf.Object, name: str, xml: pikepdf.Object | None) -> bool:
    """Is one of the file's versions, one for each system, a program? `xml`: the version that was read as XML."""
    if active_content.is_named_as_program(name):
        return True
    for key in list(files.keys())[:MAX_VERSIONS]:
        stream = files.get(key)
        if not isinstance(stream, pikepdf.Stream) or (xml is not None and stream.objgen == xml.objgen):
            continue
        try:
            if file_type(pdf_streams.head(stream, SNIFF)) == PROGRAM:
                return True
        except (pdf_streams.Undecodable, pikepdf.PdfError):
            continue
    return False


def _xml(stream: pikepdf.Object, name: str, media_type: str | None, limit: int) -> tuple[bytes | None, Finding | None]:
    """The content when it is XML; what a name or a type promises must be readable, anything else is only looked at."""
    promised = name.lower().endswith(".xml") or "xml" in (media_type or "")
    try:
        if not promised and not looks_like_xml(pdf_streams.head(stream, SNIFF)):
            return None, None
        data = pdf_streams.content(stream, max(limit, 0))
    except pdf_streams.TooLarge:
        problem = _finding("XML-TOO-LARGE", Severity.ERROR, "the embedded XML exceeds 20 MB", "xml")
    except (pdf_streams.Undecodable, pikepdf.PdfError) as error:
        problem = _finding(
            "XML-UNREADABLE", Severity.ERROR, f"the embedded XML cannot be decoded: {_why(error)}", "xml"
        )
    else:
        return data, None
    return None, problem if promised else None


def _named(pdf: pikepdf.Pdf) -> Iterator[tuple[str, pikepdf.Object]]:
    """The name tree EmbeddedFiles, breadth first; loops and depth end at MAX_NODES (ISO 32000-1 §7.9.6)."""
    names = pdf_streams.entry(pdf.Root, "/Names")
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
        kids = pdf_streams.entry(node, "/Kids")
        if isinstance(kids, pikepdf.Array):
            pending.extend(kids[place] for place in range(min(len(kids), MAX_NODES - visited)))


def _specifications(files: object) -> Iterator[tuple[str, pikepdf.Object]]:
    """The file specifications of an /AF."""
    if isinstance(files, pikepdf.Dictionary):
        yield "", files
    elif isinstance(files, pikepdf.Array):
        for place in range(min(len(files), MAX_FILES + 1)):
            if isinstance(files[place], pikepdf.Dictionary):
                yield "", files[place]


def _on_pages(tree: page_tree.Pages) -> Iterator[tuple[str, pikepdf.Object]]:
    """Files in /AF of the first pages (ISO 32000-2 §14.13)."""
    for page in tree.found[:MAX_PAGES]:
        if "/AF" in page.node:
            yield from _specifications(page.node.get("/AF"))


def _annotated(tree: page_tree.Pages) -> Iterator[tuple[str, pikepdf.Object]]:
    """Files hung on the first pages as annotations."""
    for note in page_tree.annotations(tree, MAX_PAGES, MAX_ANNOTATIONS):
        file = note.get("/FS")
        if isinstance(file, pikepdf.Dictionary):
            yield "", file


def _identity(spec: pikepdf.Object) -> object:
    return spec.objgen if spec.is_indirect else spec.unparse()


def _text(value: object) -> str:
    return str(value) if isinstance(value, pikepdf.String) else ""


def _name(value: object) -> str | None:
    return str(value)[1:] if isinstance(value, pikepdf.Name) else None


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, pdf_streams.Undecodable) else "damaged stream"


def _finding(rule: str, severity: Severity, text: str, where: str = "pdf") -> Finding:
    return Finding(rule, severity, where, text)
