"""The pages of a PDF, walked by hand: a hostile page tree may loop. Whether a renderer can show them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pikepdf

from relay.facturx import pdf_streams

MAX_NODES = 2000
MAX_READ = 20
CONTENT_HEAD = 8 * 1024
MAX_CONTENT_STREAMS = 20


@dataclass(frozen=True, slots=True)
class Page:
    """node: its dictionary. resources: its own or inherited ones (ISO 32000-1 §7.7.3.4)."""

    node: pikepdf.Object
    resources: pikepdf.Object | None


@dataclass(frozen=True, slots=True)
class Pages:
    """found: the pages in order, within 2,000 nodes of the tree. missing: a node is not there. cut: there are more."""

    found: tuple[Page, ...]
    missing: bool
    cut: bool


def read(pdf: pikepdf.Pdf) -> Pages:
    """The page tree (ISO 32000-1 §7.7.3). May raise pikepdf.PdfError."""
    root = pdf.Root.get("/Pages")
    pending: list[tuple[object, pikepdf.Object | None]] = [(root, None)]
    found: list[Page] = []
    missing, cut, visited = False, False, 0
    while pending and visited < MAX_NODES:
        node, inherited = pending.pop()
        visited += 1
        if not isinstance(node, pikepdf.Dictionary):
            missing = True
            continue
        own = pdf_streams.entry(node, "/Resources")
        resources = own if isinstance(own, pikepdf.Dictionary) else inherited
        kids = pdf_streams.entry(node, "/Kids")
        if isinstance(kids, pikepdf.Array):
            last = max(0, min(len(kids), MAX_NODES - visited - len(pending)))
            cut = cut or last < len(kids)
            pending.extend((kids[place], resources) for place in reversed(range(last)))
        else:
            found.append(Page(node, resources))
    return Pages(tuple(found), missing, cut or bool(pending))


def content(page: Page, size: int = CONTENT_HEAD) -> bytes | None:
    """The first octets, `size` at most, that the page draws; None when its content is missing or damaged."""
    contents = page.node.get("/Contents")
    if contents is None:
        return b""
    if isinstance(contents, pikepdf.Stream):
        streams: list[pikepdf.Object] = [contents]
    elif isinstance(contents, pikepdf.Array):
        streams = [contents[place] for place in range(min(len(contents), MAX_CONTENT_STREAMS))]
    else:
        return None
    parts, left = list[bytes](), size
    for stream in streams:
        if not isinstance(stream, pikepdf.Stream):
            return None
        try:
            part = pdf_streams.head(stream, left)
        except (pdf_streams.Undecodable, pikepdf.PdfError):
            return None
        if not part and stream.stream_dict.get("/Filter") is not None and len(stream.read_raw_bytes()) > EMPTY:
            return None
        parts.append(part)
        left -= len(part)
        if left <= 0:
            break
    return b"\n".join(parts)


def names_content(page: Page, data: bytes) -> bool:
    """Does the page, as it stands in the file, name a content? qpdf leaves out what refers to nothing."""
    number, generation = page.node.objgen
    start = re.search(rb"(?<![0-9])%d %d obj\b" % (number, generation), data) if number else None
    return start is not None and data.find(b"/Contents", start.end(), data.find(b"endobj", start.end())) >= 0


EMPTY = 16
"""Octets to which an empty stream may come when it is packed."""


def annotations(pages: Pages, most_pages: int, most_a_page: int) -> Iterator[pikepdf.Object]:
    """The annotations of the first pages."""
    for page in pages.found[:most_pages]:
        notes = pdf_streams.entry(page.node, "/Annots")
        if isinstance(notes, pikepdf.Array):
            for place in range(min(len(notes), most_a_page)):
                if isinstance(note := notes[place], pikepdf.Dictionary):
                    yield note


MAX_PAGES = 20


def opens(data: bytes) -> bool:
    """Does the renderer open the document and its first 20 pages? What it then shows is not looked at."""
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(data)
    except (pypdfium2.PdfiumError, ValueError):
        return False
    try:
        count = len(pdf)
        for place in range(min(count, MAX_PAGES)):
            pdf[place].close()
    except (pypdfium2.PdfiumError, ValueError):
        return False
    finally:
        pdf.close()
    return count > 0
