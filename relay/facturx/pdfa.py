"""Is what the pages show plainly no PDF/A? Colours without a meaning, fonts that are not there (ISO 19005-3 §6.2).

Not a validation: what is said is true, what is not said may still be wrong. Only the first pages are looked at."""

import re
from collections.abc import Iterator

import pikepdf

from relay.facturx import page_tree, pdf_streams
from relay.inspection import Finding, Severity

MAX_PAGES = 10
MAX_FONTS = 100
MAX_FORMS = 20
CONTENT = 64 * 1024

_DEVICE = re.compile(rb"(?:^|[\s\])>])(?:rg|RG|g|G|k|K)(?=[\s/\[<(]|$)|/Device(?:RGB|CMYK|Gray)\b")
_PAINTS = re.compile(rb"(?:^|[\s\])>])(?:Tj|TJ|'|\"|f\*?|F|B\*?|b\*?|S|s)(?=[\s/\[<(]|$)")
_COLOUR_SPACE = re.compile(rb"(?:^|\s)(?:cs|CS)(?=\s|$)")
_INVISIBLE = re.compile(rb"(?:^|\s)([0-7])\s+Tr(?=\s|$)")
_DEVICE_SPACES = frozenset({"/DeviceRGB", "/DeviceCMYK", "/DeviceGray"})
_DEFAULTS = ("/DefaultRGB", "/DefaultCMYK", "/DefaultGray")


def findings(pdf: pikepdf.Pdf, tree: page_tree.Pages) -> list[Finding]:
    """Warnings, one for each rule that the first pages break. May raise pikepdf.PdfError."""
    found = []
    shown = tree.found[:MAX_PAGES]
    if not _has_output_intent(pdf.Root.get("/OutputIntents")) and any(_uses_device_colours(page) for page in shown):
        text = "device colours are used, but there is no OutputIntent of PDF/A (ISO 19005-3 §6.2.4.3)"
        found.append(Finding("PDFA-OUTPUT-INTENT", Severity.WARNING, "pdf", text))
    seen: set[tuple[int, int]] = set()
    if any(_lacks_font(page, seen) for page in shown):
        text = "a font is used and not embedded (ISO 19005-3 §6.2.11.4.1)"
        found.append(Finding("PDFA-FONT-NOT-EMBEDDED", Severity.WARNING, "pdf", text))
    return found


def _has_output_intent(intents: object) -> bool:
    if not isinstance(intents, pikepdf.Array):
        return False
    each = [intents[place] for place in range(min(len(intents), 10))]
    return any(isinstance(item, pikepdf.Dictionary) and str(item.get("/S")) == "/GTS_PDFA1" for item in each)


def _uses_device_colours(page: page_tree.Page) -> bool:
    """A device colour set, an image of device colours, or something painted in the colour of the start: DeviceGray."""
    if page.resources is not None and _has_defaults(page.resources):
        return False
    return any(map(_sets_device_colour, _drawn(page))) or any(map(_is_of_device_colours, _objects(page.resources)))


def _has_defaults(resources: pikepdf.Object) -> bool:
    """Default colour spaces say what the device colours mean (ISO 32000-1 §8.6.5.6)."""
    spaces = resources.get("/ColorSpace")
    return isinstance(spaces, pikepdf.Dictionary) and any(name in spaces for name in _DEFAULTS)


def _sets_device_colour(content: bytes) -> bool:
    if _DEVICE.search(content):
        return True
    return _PAINTS.search(content) is not None and _COLOUR_SPACE.search(content) is None


def _is_of_device_colours(thing: pikepdf.Object) -> bool:
    return str(thing.get("/Subtype")) == "/Image" and str(thing.get("/ColorSpace")) in _DEVICE_SPACES


def _drawn(page: page_tree.Page) -> Iterator[bytes]:
    """The first octets of the page's content and of the forms that it may draw."""
    yield page_tree.content(page, CONTENT) or b""
    for form in _objects(page.resources):
        if str(form.get("/Subtype")) == "/Form":
            try:
                yield pdf_streams.head(form, CONTENT)
            except (pdf_streams.Undecodable, pikepdf.PdfError):
                continue


def _objects(resources: pikepdf.Object | None) -> Iterator[pikepdf.Object]:
    """The external objects, images and forms, of some resources."""
    things = resources.get("/XObject") if resources is not None else None
    if isinstance(things, pikepdf.Dictionary):
        for name in list(things.keys())[:MAX_FORMS]:
            if isinstance(thing := things.get(name), pikepdf.Stream):
                yield thing


def _lacks_font(page: page_tree.Page, seen: set[tuple[int, int]]) -> bool:
    """Does the page, or a form that it draws, name a font that the file does not hold? An invisible text needs none."""
    lacking = list(_not_embedded(page.resources, seen))
    if lacking:
        content = page_tree.content(page, CONTENT) or b""
        modes = set(_INVISIBLE.findall(content))
        visible = not modes or modes != {b"3"}
        if visible and (len(content) >= CONTENT or any(name.encode() in content for name in lacking)):
            return True
    forms = (thing for thing in _objects(page.resources) if "/Resources" in thing)
    inner = (form.get("/Resources") for form in forms if str(form.get("/Subtype")) == "/Form")
    return any(list(_not_embedded(each, seen)) for each in inner if isinstance(each, pikepdf.Dictionary))


def _not_embedded(resources: pikepdf.Object | None, seen: set[tuple[int, int]]) -> Iterator[str]:
    """The names of the fonts of some resources that the file does not hold, each font once."""
    fonts = resources.get("/Font") if resources is not None else None
    if not isinstance(fonts, pikepdf.Dictionary):
        return
    for name in list(fonts.keys())[:MAX_FONTS]:
        font = fonts.get(name)
        if not isinstance(font, pikepdf.Dictionary) or len(seen) > MAX_FONTS:
            continue
        if font.is_indirect and font.objgen in seen:
            continue
        if not _is_embedded(font):
            yield name
        elif font.is_indirect:
            seen.add(font.objgen)


def _is_embedded(font: pikepdf.Object) -> bool:
    kind = str(font.get("/Subtype"))
    if kind == "/Type3":
        return True
    if kind == "/Type0":
        below = font.get("/DescendantFonts")
        if not isinstance(below, pikepdf.Array) or not len(below) or not isinstance(below[0], pikepdf.Dictionary):
            return False
        font = below[0]
    descriptor = font.get("/FontDescriptor")
    if not isinstance(descriptor, pikepdf.Dictionary):
        return False
    return any(key in descriptor for key in ("/FontFile2", "/FontFile3", "/FontFile"))
