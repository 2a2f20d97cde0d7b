"""What a PDF does of itself when it is opened: scripts, programs, forms that send. Every walk is bounded.

PDF/A forbids all of it but forms that send (ISO 19005-3 §6.3.1, §6.4, §6.5), and an invoice needs none of it.
"""

from collections.abc import Callable, Iterator

import pikepdf

from relay.facturx import pdf_streams
from relay.facturx.page_tree import Pages
from relay.inspection import Finding, Severity

MAX_NODES = 5000
XFA_LIMIT = 2 * 1024 * 1024

_ACTIVE = {
    "PDF-JAVASCRIPT": "the PDF runs JavaScript (ISO 19005-3 §6.5.1)",
    "PDF-LAUNCH": "the PDF starts a program or opens a file (Launch, ISO 19005-3 §6.5.1)",
    "PDF-SUBMIT-FORM": "the PDF sends what is entered in it to an address (SubmitForm)",
    "PDF-IMPORT-DATA": "the PDF reads a file into its form (ImportData, ISO 19005-3 §6.5.1)",
    "PDF-RICH-MEDIA": "the PDF plays media or 3D models, which may hold scripts (ISO 19005-3 §6.3.1, §6.5.1)",
    "PDF-EMBEDDED-PROGRAM": "a program is embedded in the PDF",
    "PDF-ACTIVE-UNSEARCHED": "the PDF has too many actions and fields to be searched for active content",
}
RULES = frozenset(_ACTIVE)
"""The rules of active content: what a document breaks of them is for the policy `check.on_active_content`."""

_ACTIONS = {
    "/JavaScript": "PDF-JAVASCRIPT",
    "/Launch": "PDF-LAUNCH",
    "/SubmitForm": "PDF-SUBMIT-FORM",
    "/ImportData": "PDF-IMPORT-DATA",
    "/Rendition": "PDF-RICH-MEDIA",
    "/Movie": "PDF-RICH-MEDIA",
    "/Sound": "PDF-RICH-MEDIA",
    "/RichMediaExecute": "PDF-RICH-MEDIA",
}
_MEDIA = frozenset({"/RichMedia", "/3D", "/Screen", "/Movie", "/Sound"})
_PROGRAM_NAMES = (
    *(".exe", ".com", ".scr", ".pif", ".cpl", ".dll", ".msi", ".msp", ".bat", ".cmd", ".ps1", ".psm1", ".sh"),
    *(".js", ".jse", ".mjs", ".vbs", ".vbe", ".wsf", ".wsh", ".hta", ".jar", ".lnk", ".reg", ".url", ".scf"),
    *(".command", ".desktop", ".appref-ms", ".application", ".gadget", ".msc", ".inf", ".chm"),
)


def is_named_as_program(name: str) -> bool:
    """Does its name end as a system wants it of what it starts?"""
    return name.rstrip(" .\x00").casefold().endswith(_PROGRAM_NAMES)


def finding(rule: str) -> Finding:
    """The finding of one of RULES: an error."""
    return Finding(rule, Severity.ERROR, "pdf", _ACTIVE[rule])


def findings(pdf: pikepdf.Pdf, tree: Pages) -> list[Finding]:
    """One finding for each kind of active content, wherever it stands. May raise pikepdf.PdfError."""
    return _Search(pdf, tree).run()


class _Search:
    """One search: what it found, and how many nodes it may still visit."""

    def __init__(self, pdf: pikepdf.Pdf, tree: Pages) -> None:
        self._root, self._tree, self._left = pdf.Root, tree, MAX_NODES
        self._found: dict[str, None] = {}

    def run(self) -> list[Finding]:
        root = self._root
        self._actor(root, "/OpenAction")
        for page in self._tree.found:
            self._page(page.node)
        form = pdf_streams.entry(root, "/AcroForm")
        if isinstance(form, pikepdf.Dictionary):
            self._walk(form.get("/Fields"), self._actor, "/Kids")
            self._xfa(form.get("/XFA"))
        names = pdf_streams.entry(root, "/Names")
        if isinstance(names, pikepdf.Dictionary) and "/JavaScript" in names:
            self._walk(names.get("/JavaScript"), self._script_names, "/Kids")
        outlines = pdf_streams.entry(root, "/Outlines")
        if isinstance(outlines, pikepdf.Dictionary):
            self._walk(outlines.get("/First"), self._actor, "/First", "/Next")
        if self._tree.cut or self._left <= 0:
            self._found["PDF-ACTIVE-UNSEARCHED"] = None
        return [finding(rule) for rule in self._found]

    def _page(self, page: pikepdf.Object) -> None:
        self._left -= 1
        if "/AA" in page:
            self._triggers(page.get("/AA"))
        notes = pdf_streams.entry(page, "/Annots")
        if not isinstance(notes, pikepdf.Array):
            return
        for place in range(min(len(notes), max(self._left, 0))):
            self._left -= 1
            note = notes[place]
            if isinstance(note, pikepdf.Dictionary):
                if str(note.get("/Subtype")) in _MEDIA:
                    self._found["PDF-RICH-MEDIA"] = None
                self._actor(note)

    def _actor(self, node: pikepdf.Object, key: str = "/A") -> None:
        """A catalog, a field, an annotation, an outline item: its action and those of its triggers."""
        if key in node:
            self._walk(node.get(key), self._action, "/Next")
        if "/AA" in node:
            self._triggers(node.get("/AA"))

    def _triggers(self, triggers: object) -> None:
        if isinstance(triggers, pikepdf.Dictionary):
            for key in list(triggers.keys())[:50]:
                self._walk(triggers.get(key), self._action, "/Next")

    def _action(self, action: pikepdf.Object) -> None:
        rule = _ACTIONS.get(str(action.get("/S")))
        if rule is not None:
            self._found[rule] = None
        if "/JS" in action:
            self._found["PDF-JAVASCRIPT"] = None

    def _script_names(self, node: pikepdf.Object) -> None:
        leaves = node.get("/Names")
        if isinstance(leaves, pikepdf.Array) and len(leaves):
            self._found["PDF-JAVASCRIPT"] = None

    def _xfa(self, parts: object) -> None:
        """An XFA form is XML of its own, with its own scripts (ISO 19005-3 §6.4.2)."""
        if parts is None:
            return
        for stream in _streams(parts):
            try:
                text = pdf_streams.head(stream, XFA_LIMIT)
            except (pdf_streams.Undecodable, pikepdf.PdfError):
                continue
            if b"<script" in text or b"<event" in text:
                self._found["PDF-JAVASCRIPT"] = None
            if b"<submit" in text:
                self._found["PDF-SUBMIT-FORM"] = None

    def _walk(self, start: object, visit: Callable[[pikepdf.Object], None], *below: str) -> None:
        """Visit every dictionary from `start`, one or an array, on to those under the keys `below`."""
        pending, seen = list(_dictionaries(start, self._left)), set[tuple[int, int]]()
        while pending and self._left > 0:
            self._left -= 1
            node = pending.pop()
            if node.is_indirect:
                if node.objgen in seen:
                    continue
                seen.add(node.objgen)
            visit(node)
            for key in below:
                if key in node:
                    pending.extend(_dictionaries(node.get(key), self._left - len(pending)))


def _dictionaries(value: object, most: int) -> Iterator[pikepdf.Object]:
    if isinstance(value, pikepdf.Dictionary):
        yield value
    elif isinstance(value, pikepdf.Array):
        for place in range(min(len(value), max(most, 0))):
            if isinstance(item := value[place], pikepdf.Dictionary):
                yield item


def _streams(parts: object) -> Iterator[pikepdf.Object]:
    if isinstance(parts, pikepdf.Stream):
        yield parts
    elif isinstance(parts, pikepdf.Array):
        for place in range(min(len(parts), 40)):
            if isinstance(item := parts[place], pikepdf.Stream):
                yield item
