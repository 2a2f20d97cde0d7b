"""The one XML parser: no entity, no network, no DOCTYPE, no huge tree."""

import re

from lxml import etree

from relay.report import Finding, Severity

_DOCTYPE = re.compile(rb"<!DOCTYPE|<\x00!\x00D\x00O\x00C\x00T|\x00<\x00!\x00D\x00O\x00C\x00T", re.IGNORECASE)
_ROOT = re.compile(rb"<[A-Za-z_]|<\x00[A-Za-z_]\x00")

_PARSER = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False, collect_ids=False
)


def parse(data: bytes) -> etree._Element | Finding:
    """The root element, or why there is none: XML-DOCTYPE, XML-NOT-WELL-FORMED."""
    root = _ROOT.search(data)
    if _DOCTYPE.search(data, 0, root.start() if root else len(data)):  # neither can begin within the other
        return _doctype()
    try:
        tree = etree.fromstring(data, _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        at = f", line {line}" if line else ""
        return Finding("XML-NOT-WELL-FORMED", Severity.ERROR, "xml", f"the XML is not well-formed{at}")
    if tree.getroottree().docinfo.internalDTD is not None:
        return _doctype()
    return tree


def _doctype() -> Finding:
    return Finding("XML-DOCTYPE", Severity.ERROR, "xml", "a DOCTYPE is not accepted: it may read files or swell")
