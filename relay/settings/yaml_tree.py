"""YAML text to a plain tree that knows where everything stands. Scalars stay the text that was typed.

Built from libyaml's events, not by compose(): no recursion to crash on deep nesting, no type guessing (`no`, `0123`,
`12:30`), and anchors, aliases, merge keys, tags, complex keys and second documents are refused with their place."""

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn, TypeAlias

import yaml

from relay.settings.issues import ConfigIssues, Position
from relay.settings.yaml_errors import explain

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
    """plain: the items as lists, dicts, texts, and None for a value left out."""

    at: Position
    items: list["Node"] = field(default_factory=list)
    plain: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    """plain: as of a Sequence. duplicates: keys given again: (key, place, first line).

    duplicates_below: at the top of the file: are there such keys in it?
    """

    at: Position
    entries: dict[str, Entry] = field(default_factory=dict)
    plain: dict[str, Any] = field(default_factory=dict)
    duplicates: list[tuple[str, Position, int]] = field(default_factory=list)
    duplicates_below: bool = False


Node: TypeAlias = Scalar | Sequence | Mapping


class Unreadable(Exception):
    """The rest of the file makes no sense."""


def parse(text: str, file: str, issues: ConfigIssues) -> Mapping | None:
    """The mapping at the top of `text`, or None with the errors added to `issues`."""
    builder = _Builder(file, issues)
    try:
        builder.build(text)
    except yaml.MarkedYAMLError as error:
        issues.error(file, *explain(error, text))
        return None
    except yaml.YAMLError as error:
        issues.error(file, Position(1, 1), f"not YAML: {error}", "correct the file")
        return None
    except Unreadable:
        return None
    return builder.tree()


class _Builder:
    """Makes the tree of libyaml's events. The scalars of a large file take most of the time: `_scalar` is terse."""

    def __init__(self, file: str, issues: ConfigIssues) -> None:
        self.root: Node | None = None
        self.refused = False
        self._file = file
        self._issues = issues
        self._stack: list[tuple[Sequence | Mapping | None, tuple[str, Position] | None]] = []
        self._holder: Sequence | Mapping | None = None
        self._pending: tuple[str, Position] | None = None
        self._documents = 0
        self._duplicates = False

    def build(self, text: str) -> None:
        """Take all events of `text`. Raises Unreadable, and YAMLError of libyaml."""
        loader = yaml.CSafeLoader(text)
        try:
            next_event = loader.get_event
            for _ in range(MAX_VALUES):
                event = next_event()
                kind = type(event)
                if kind is yaml.ScalarEvent:
                    self._scalar(event)
                elif kind is yaml.StreamEndEvent:
                    break
                else:
                    self._structure(kind, event)
            else:
                self._stop(_at(next_event()), f"more than {MAX_VALUES:,} values", "split the file")
        finally:
            loader.dispose()
        if self.root is None:
            self._stop(Position(1, 1), "the file holds no settings", "put the settings back")

    def tree(self) -> Mapping | None:
        """What was built; None when something in it is not allowed."""
        if self.refused or not isinstance(self.root, Mapping):
            return None
        self.root.duplicates_below = self._duplicates
        return self.root

    def _structure(self, kind: type, event: Any) -> None:
        if kind is yaml.MappingStartEvent:
            self._open(event, Mapping(_at(event)))
        elif kind is yaml.SequenceStartEvent:
            self._open(event, Sequence(_at(event)))
        elif kind in (yaml.MappingEndEvent, yaml.SequenceEndEvent):
            self._holder, self._pending = self._stack.pop()
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            self._document(event)

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._stop(_at(event), 'a second document begins here ("---")', "keep one document in a file")
        if event.tags:
            self._stop(_at(event), "%TAG is not allowed here", "remove the line")

    def _alias(self, event: Any) -> None:
        at = _at(event)
        self._refuse(at, f'alias "*{event.anchor}" is not allowed here', "write the value out")
        if self._takes_key():
            self._key(f"*{event.anchor}", at, True)
        else:
            self._add(Scalar(at, "", False), "")

    def _takes_key(self) -> bool:
        return self._pending is None and type(self._holder) is Mapping

    def _scalar(self, event: Any) -> None:
        mark, text, bare = event.start_mark, event.value, not event.style
        at = tuple.__new__(Position, (mark.line + 1, mark.column + 1))
        if event.anchor is not None or event.tag is not None:
            self._properties(event, at)
        if self._pending is None and type(self._holder) is Mapping:
            self._key(text, at, bare)
            return
        if not text.isascii() or not text.isprintable():
            text = self._unusual(text, at, bare)
        node = tuple.__new__(Scalar, (at, text, bare))
        self._add(node, None if bare and text in NULLS else text)

    def _unusual(self, text: str, at: Position, bare: bool) -> str:
        """`text` once checked for characters that do not belong in a value."""
        if bare and text[:1] in _CURLY and text:
            self._error(at, f"the curly quotes are part of the text here: {text[0]}", 'use straight quotes: "…"')
            return text.strip(_CURLY + _CURLY_END) or "-"
        if _CONTROL.search(text):
            name = self._pending[0] if self._pending else "the list"
            self._error(at, f'control character or line break in "{name}"', "write the value on one line")
        return text

    def _key(self, key: str, at: Position, bare: bool) -> None:
        if bare and key == "<<":
            self._refuse(at, 'merge key "<<" is not allowed here', "write the values out")
        self._pending = (key, at)

    def _open(self, event: Any, node: Sequence | Mapping) -> None:
        self._properties(event, node.at)
        if self._takes_key():
            self._stop(node.at, "a list or a map cannot be a key", "write a plain name before the colon")
        if len(self._stack) >= MAX_DEPTH:
            self._stop(node.at, f"nesting deeper than {MAX_DEPTH}", "flatten it")
        if self._holder is None and isinstance(node, Sequence):
            self._stop(node.at, 'expected "key: value" lines at the top, got a list', "begin with a key")
        self._add(node, node.plain)
        self._stack.append((self._holder, None))
        self._holder, self._pending = node, None

    def _add(self, node: Node, value: Any) -> None:
        holder = self._holder
        if type(holder) is Mapping:
            assert self._pending is not None
            (key, at), self._pending = self._pending, None
            if (first := holder.entries.get(key)) is not None:
                holder.duplicates.append((key, at, first.at.line))
                self._duplicates = True
            else:
                holder.entries[key] = tuple.__new__(Entry, (at, node))
                holder.plain[key] = value
        elif type(holder) is Sequence:
            holder.items.append(node)
            holder.plain.append(value)
        else:
            if isinstance(node, Scalar):
                self._stop(node.at, 'expected "key: value" lines at the top, got a text', 'put a space after ":"')
            self.root = node

    def _properties(self, event: Any, at: Position) -> None:
        if event.anchor is not None:
            self._refuse(at, f'anchor "&{event.anchor}" is not allowed here', "write the value out where it is needed")
        if event.tag is not None:
            self._refuse(at, f'tag "{event.tag}" is not allowed here', "remove it; put the value in quotes")

    def _error(self, at: Position, what: str, fix: str) -> None:
        self._issues.error(self._file, at, what, fix)

    def _refuse(self, at: Position, what: str, fix: str) -> None:
        self.refused = True
        self._error(at, what, fix)

    def _stop(self, at: Position, what: str, fix: str) -> NoReturn:
        self._error(at, what, fix)
        raise Unreadable


def _at(event: Any) -> Position:
    mark = event.start_mark
    return Position(mark.line + 1, mark.column + 1)


def plain(node: Node) -> Any:
    """The tree as dicts, lists, texts, and None for a value left out."""
    if type(node) is Scalar:
        return None if node.null else node.text
    assert isinstance(node, Sequence | Mapping)
    return node.plain


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
