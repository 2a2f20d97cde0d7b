"""YAML text to a plain tree that knows where everything stands. Scalars stay the text that was typed.

Built from libyaml's events, not by compose(): no recursion to crash on deep nesting, no type guessing (`no`, `0123`,
`12:30`), and anchors, aliases, merge keys, tags, complex keys and second documents are refused with their place."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import yaml

from relay.settings.issues import ConfigIssues, Position
from relay.settings.yaml_file import explain

MAX_DEPTH = 10
MAX_VALUES = 1_000_000
"""Some 60,000 clients in one file; bounds the memory as the size of the file does not."""
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CURLY, _CURLY_END = "“”„‘’«", "»"


class Scalar(NamedTuple):
    at: Position
    text: str
    bare: bool

    @property
    def null(self) -> bool:
        return self.bare and self.text in NULLS


class Entry(NamedTuple):
    """A key (`at` is its place) and its node."""

    at: Position
    node: "Node"


@dataclass(slots=True)
class Sequence:
    at: Position
    items: list["Node"] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    """twice: keys given again: (key, place, first line)."""

    at: Position
    entries: dict[str, Entry] = field(default_factory=dict)
    twice: list[tuple[str, Position, int]] = field(default_factory=list)
    pending: tuple[str, Position] | None = None


Node: TypeAlias = Scalar | Sequence | Mapping


class Refused(Exception):
    """The rest of the file makes no sense."""


def parse(text: str, file: str, faults: ConfigIssues) -> Mapping | None:
    """The mapping at the top of `text`, or None with the faults told."""
    builder = _Builder(file, faults)
    try:
        for event in _events(text):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        faults.error(file, *explain(error, text))
        return None
    except yaml.YAMLError as error:
        faults.error(file, Position(1, 1), f"not YAML: {error}", "correct the file")
        return None
    except Refused:
        return None
    return builder.root if not builder.refused and isinstance(builder.root, Mapping) else None


def _events(text: str) -> Iterator[Any]:
    return yaml.parse(text, Loader=yaml.CSafeLoader)


class _Builder:
    def __init__(self, file: str, faults: ConfigIssues) -> None:
        self.root: Node | None = None
        self.refused = False
        self._file = file
        self._faults = faults
        self._stack: list[Sequence | Mapping] = []
        self._documents = 0
        self._count = 0

    def take(self, event: Any) -> None:
        """One event of libyaml. Raises Refused when nothing after it makes sense."""
        self._count += 1
        if self._count > MAX_VALUES:
            self._stop(_at(event), f"more than {MAX_VALUES:,} values", "split the file")
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind is yaml.MappingStartEvent:
            self._open(event, Mapping(_at(event)))
        elif kind is yaml.SequenceStartEvent:
            self._open(event, Sequence(_at(event)))
        elif kind in (yaml.MappingEndEvent, yaml.SequenceEndEvent):
            self._stack.pop()
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            self._document(event)
        elif kind is yaml.StreamEndEvent and self.root is None:
            self._stop(Position(1, 1), "the file holds no settings", "put the settings back")

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._stop(_at(event), 'a second document begins here ("---")', "keep one document in a file")
        if event.tags:
            self._stop(_at(event), "%TAG is not allowed here", "remove the line")

    def _alias(self, event: Any) -> None:
        at, holder = _at(event), self._stack[-1] if self._stack else None
        self._refuse(at, f'alias "*{event.anchor}" is not allowed here', "write the value out")
        if isinstance(holder, Mapping) and holder.pending is None:
            self._key(holder, f"*{event.anchor}", at, True)
        else:
            self._add(Scalar(at, "", False))

    def _scalar(self, event: Any) -> None:
        at, text = _at(event), event.value
        self._properties(event, at)
        holder = self._stack[-1] if self._stack else None
        if isinstance(holder, Mapping) and holder.pending is None:
            self._key(holder, text, at, event.style is None or event.style == "")
            return
        bare = not event.style
        if bare and text[:1] in _CURLY and text:
            self._error(at, f"the curly quotes are part of the text here: {text[0]}", 'use straight quotes: "…"')
            text = text.strip(_CURLY + _CURLY_END) or "-"
        elif _CONTROL.search(text):
            name = holder.pending[0] if isinstance(holder, Mapping) and holder.pending else "the list"
            self._error(at, f'control character or line break in "{name}"', "write the value on one line")
        self._add(Scalar(at, text, bare))

    def _key(self, holder: Mapping, key: str, at: Position, bare: bool) -> None:
        if bare and key == "<<":
            self._refuse(at, 'merge key "<<" is not allowed here', "write the values out")
        holder.pending = (key, at)

    def _open(self, event: Any, node: Sequence | Mapping) -> None:
        self._properties(event, node.at)
        holder = self._stack[-1] if self._stack else None
        if isinstance(holder, Mapping) and holder.pending is None:
            self._stop(node.at, "a list or a map cannot be a key", "write a plain name before the colon")
        if len(self._stack) >= MAX_DEPTH:
            self._stop(node.at, f"nesting deeper than {MAX_DEPTH}", "flatten it")
        if holder is None and isinstance(node, Sequence):
            self._stop(node.at, 'expected "key: value" lines at the top, got a list', "begin with a key")
        self._add(node)
        self._stack.append(node)

    def _add(self, node: Node) -> None:
        if not self._stack:
            if isinstance(node, Scalar):
                self._stop(node.at, 'expected "key: value" lines at the top, got a text', 'put a space after ":"')
            self.root = node
            return
        holder = self._stack[-1]
        if isinstance(holder, Sequence):
            holder.items.append(node)
            return
        assert holder.pending is not None
        (key, at), holder.pending = holder.pending, None
        if (first := holder.entries.get(key)) is not None:
            holder.twice.append((key, at, first.at.line))
        else:
            holder.entries[key] = Entry(at, node)

    def _properties(self, event: Any, at: Position) -> None:
        if event.anchor is not None:
            self._refuse(at, f'anchor "&{event.anchor}" is not allowed here', "write the value out where it is needed")
        if event.tag is not None:
            self._refuse(at, f'tag "{event.tag}" is not allowed here', "remove it; put the value in quotes")

    def _error(self, at: Position, what: str, fix: str) -> None:
        self._faults.error(self._file, at, what, fix)

    def _refuse(self, at: Position, what: str, fix: str) -> None:
        self.refused = True
        self._error(at, what, fix)

    def _stop(self, at: Position, what: str, fix: str) -> None:
        self._error(at, what, fix)
        raise Refused


def _at(event: Any) -> Position:
    mark = event.start_mark
    return Position(mark.line + 1, mark.column + 1)


def plain(node: Node) -> Any:
    """The tree as dicts, lists, texts, and None for a value left out."""
    if type(node) is Scalar:
        return None if node.null else node.text
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    assert isinstance(node, Mapping)
    return {key: plain(entry.node) for key, entry in node.entries.items()}


def find(node: Node, *path: str | int) -> Node | None:
    """The node at `path` below `node`, or None."""
    for step in path:
        if isinstance(node, Mapping) and isinstance(step, str) and step in node.entries:
            node = node.entries[step].node
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            return None
    return node


def nearest(node: Node, *path: str | int) -> Position:
    """Where the value at `path` stands, or the nearest thing around it that exists."""
    for step in path:
        below = find(node, step)
        if below is None:
            break
        node = below
    return node.at


def line_of(node: Node, *path: str | int) -> int:
    """Line of the last key of `path` (of the item, in a list)."""
    holder = find(node, *path[:-1])
    if isinstance(holder, Mapping) and (entry := holder.entries.get(str(path[-1]))) is not None:
        return entry.at.line
    return nearest(node, *path).line
