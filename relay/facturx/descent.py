"""Rewrites a pattern of many rules: instead of asking every rule about every node, the document is walked by names.

The rules of such a pattern match absolute paths of names. Each path of names that leads to one becomes a mode, in which
only the rules of the elements right below it stand: what an element is called there decides, and nothing is visited
below which there is no rule.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

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
