"""XML without entities and network, and the XSD of each profile."""

import re
from functools import cache, partial

from lxml import etree

from relay.facturx.invoice import EXTENDED_CTC_FR, PROFILES, Profile, rules_folder
from relay.inspection import Finding, Severity

_DOCTYPE = re.compile(rb"<!DOCTYPE|<\x00!\x00D\x00O\x00C\x00T|\x00<\x00!\x00D\x00O\x00C\x00T", re.IGNORECASE)
_BEGINS = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<[?!A-Za-z_]"
    rb"|(?:\xff\xfe)?(?:\s\x00)*<\x00[?!A-Za-z_]\x00|(?:\xfe\xff)?(?:\x00\s)*\x00<\x00[?!A-Za-z_]"
)
_ROOT = re.compile(rb"<[A-Za-z_]|<\x00[A-Za-z_]\x00")

MAX_OCTETS = 20 * 1024 * 1024
MAX_DEPTH = 256
LONG_TEXT = 10_000_000
"""Octets that libxml2 takes for one text, attribute or comment, by default."""

_parser = partial(
    etree.XMLParser, resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, collect_ids=False
)
_PARSER = _parser(huge_tree=False)
_PARSER_OF_LONG_TEXTS = _parser(huge_tree=True)


def parse(data: bytes) -> etree._Element | Finding:
    """The root element, or why there is none: XML-DOCTYPE, XML-NOT-WELL-FORMED."""
    root = _ROOT.search(data)
    if _DOCTYPE.search(data, 0, root.start() if root else len(data)):  # neither can begin within the other
        return _doctype()
    try:
        tree = _tree(data)
    except (etree.XMLSyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        at = f", line {line}" if line else ""
        return Finding("XML-NOT-WELL-FORMED", Severity.ERROR, "xml", f"the XML is not well-formed{at}")
    if tree is None:
        return Finding("XML-TOO-DEEP", Severity.ERROR, "xml", f"elements are nested deeper than {MAX_DEPTH}")
    if tree.getroottree().docinfo.internalDTD is not None:
        return _doctype()
    return tree


def _tree(data: bytes) -> etree._Element | None:
    """The root; None when a document of a long text is deeper than any invoice. Raises XMLSyntaxError, ValueError.

    An annex in base64 (BT-125) is one text: only what may hold such a text is read without the limits of libxml2.
    """
    try:
        return etree.fromstring(data, _PARSER)
    except etree.XMLSyntaxError:
        if not LONG_TEXT < len(data) <= MAX_OCTETS:
            raise
    tree = etree.fromstring(data, _PARSER_OF_LONG_TEXTS)
    depth = 0
    for event, _ in etree.iterwalk(tree, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > MAX_DEPTH:
            return None
    return tree


def looks_like_xml(head: bytes) -> bool:
    """Do the first octets begin a document of XML: a tag, a declaration, a comment, in UTF-8 or UTF-16?"""
    return _BEGINS.match(head) is not None


def _doctype() -> Finding:
    return Finding("XML-DOCTYPE", Severity.ERROR, "xml", "a DOCTYPE is not accepted: it may read files or swell")


MAX_XSD_FINDINGS = 20

_KINDS = {
    "SCHEMAV_CVC_DATATYPE_VALID_1_2_1": "its value is not of the type asked for",
    "SCHEMAV_CVC_ENUMERATION_VALID": "its value is not in the list of codes",
    "SCHEMAV_CVC_PATTERN_VALID": "its value does not have the form asked for",
    "SCHEMAV_CVC_COMPLEX_TYPE_4": "a required attribute is missing",
    "SCHEMAV_CVC_COMPLEX_TYPE_3_2_1": "an attribute is not allowed",
}


@cache
def _schema(path: str) -> etree.XMLSchema:
    return etree.XMLSchema(file=str(rules_folder() / path))


def load() -> None:
    """Read every schema. Raises OSError, etree.XMLSchemaParseError."""
    for profile in (*PROFILES, EXTENDED_CTC_FR):
        _schema(profile.xsd)


def xsd(root: etree._Element, profile: Profile) -> list[Finding]:
    """Every breach of the profile's schema, at most 20; the texts name elements, never their values."""
    schema = _schema(profile.xsd)
    if schema.validate(root):
        return []
    seen: dict[str, Finding] = {}
    for entry in schema.error_log:  # type: ignore[attr-defined]
        text = f"{_element(entry.message)}, line {entry.line}: {_what(entry.type_name, entry.message)}"
        seen.setdefault(text, Finding("XSD", Severity.ERROR, "xsd", text))
    return list(seen.values())[:MAX_XSD_FINDINGS]


def _element(message: str) -> str:
    match = re.match(r"Element '(?:\{[^}]*\})?([^']*)'", message)
    return match.group(1) if match else "document"


def _what(type_name: str, message: str) -> str:
    if type_name == "SCHEMAV_ELEMENT_CONTENT":
        said = re.sub(r"\{[^}]*\}", "", message.partition(": ")[2])
        return re.sub(r"Character content .*", "text is not allowed here", said)
    return _KINDS.get(type_name, type_name.removeprefix("SCHEMAV_").lower().replace("_", " "))
