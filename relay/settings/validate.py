"""A tree against the declaration of its settings: every issue with its place, in our words and never in pydantic's."""

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from relay.setting_parsers import InvalidValue
from relay.settings.issues import ConfigIssues, Position, did_you_mean
from relay.settings.yaml_tree import Mapping, Node, Scalar, Sequence, find, nearest, plain

S = TypeVar("S")
Path = tuple[str | int, ...]

_SINGULAR = {
    "clients": "client",
    "connections": "connection",
    "smarthosts": "smarthost",
    "destinations": "destination",
    "listen": "listener",
}
_ADD = {
    "agiris_address": "add agiris_address: <the address given by Agiris>",
    "dossier": 'add dossier: "<number of the client>"',
    "connection": "add connection: <a key of connections>",
    "smarthosts": "add smarthosts: {default: {host: <your mail server>}}",
    "clients": "add clients: (a firm without any client writes clients: [])",
    "firm": "add firm: <name of the accounting firm>",
    "host": "add host: <name of the mail server>",
}
_SECRETS = frozenset({"password", "passwd", "secret", "token", "pass", "mot_de_passe"})


class File:
    """One parsed file: where its issues are collected, and what its parts are called."""

    def __init__(self, file: str, root: Mapping, issues: ConfigIssues) -> None:
        self.file = file
        self.root = root
        self._issues = issues

    def error(self, at: Position, what: str, fix: str = "") -> None:
        self._issues.error(self.file, at, what, fix)

    def warning(self, at: Position, what: str, fix: str = "") -> None:
        self._issues.warning(self.file, at, what, fix)

    def says(self, *path: str | int) -> bool:
        """Does the file itself give the key at `path`?"""
        return find(self.root, *path) is not None

    def read(self, kind: type[S], node: Node, path: Path = ()) -> S | None:
        """The value of `node`, which stands at `path`, as a `kind`; None when it has errors."""
        try:
            value: S = _adapter(cast(Any, kind)).validate_python(plain(node))
            return value
        except ValidationError as error:
            for each in error.errors(include_url=False, include_input=False):
                self._explain(kind, node, path, each)
            return None

    def _explain(self, kind: type, node: Node, path: Path, error: Any) -> None:
        loc: Path = error["loc"]
        code, cause = error["type"], error.get("ctx", {}).get("error")
        full = (*path, *loc)
        key = str(next((step for step in reversed(loc) if isinstance(step, str) and step != "[key]"), ""))
        at = nearest(node, *loc)
        if code == "missing":
            below = nearest(node, *loc[:-1])
            self.error(below, f'{self.called((*path, *loc[:-1]))} has no "{key}"', _ADD.get(key, f"add {key}: …"))
        elif code == "extra_forbidden":
            self._unknown(kind, node, path, loc)
        elif isinstance(cause, InvalidValue):
            if "[key]" in loc:
                at = self._key_place(node, loc[: loc.index("[key]")])
            self.error(at, cause.what.replace("{key}", key), cause.fix)
        else:
            name = f'"{key}"' if key and not isinstance(full[-1], int) else self.called(full)
            self.error(at, f"{name} takes {_wanted(code)}, got {_got(find(node, *loc))}", _how(code, key))

    def _unknown(self, kind: type, node: Node, path: Path, loc: Path) -> None:
        key, at = str(loc[-1]), self._key_place(node, loc)
        where = self.called((*path, *loc[:-1]))
        if key in _SECRETS:
            self.error(at, f'"{key}" in {where}: no secret stands in the YAML', "write it to a file: password_file: …")
            return
        if not key.isascii() or not key.isprintable():
            odd = next(char for char in key if not char.isascii() or not char.isprintable())
            self.error(at, f'unknown key "{key}" in {where}: it holds U+{ord(odd):04X}', "type the key again")
            return
        if ":" in key:
            self.error(at, f'unknown key "{key}" in {where}', 'put a space after ":"')
            return
        known = _keys(kind, loc[:-1])
        self.error(at, f'unknown key "{key}" in {where}', did_you_mean(key, known, "The keys are"))

    @staticmethod
    def _key_place(node: Node, loc: Path) -> Position:
        holder = find(node, *loc[:-1])
        if isinstance(holder, Mapping) and (entry := holder.entries.get(str(loc[-1]))) is not None:
            return entry.at
        return nearest(node, *loc)

    def called(self, path: Path) -> str:
        """What a person calls the thing at `path`: `client "00012345"`, `smarthost "default"`, `"accept"`."""
        if not path:
            return "the file"
        if len(path) > 1 and path[0] in _SINGULAR:
            name = path[1]
            label = find(self.root, *path[:2], "dossier" if path[0] == "clients" else "address")
            if isinstance(name, int):
                name = label.text if isinstance(label, Scalar) else f"number {name + 1}"
            below = "".join(f', "{step}"' for step in path[2:])
            return f'{_SINGULAR[str(path[0])]} "{name}"' + below
        return '"' + ".".join(str(step) for step in path) + '"'

    def report_duplicate_keys(self) -> None:
        """Keys given twice, wherever they are."""
        for path, holder in _mappings(self.root, ()) if self.root.duplicates_below else ():
            for key, at, first in holder.duplicates:
                where = f" in {self.called(path)}" if path else ""
                singular = _SINGULAR.get(str(path[0])) if len(path) == 1 else None
                what = f'{singular} "{key}" is defined' if singular else f'key "{key}" is given'
                fix = "remove one, or give it another name" if singular else "remove one of them"
                self.error(at, f"{what} twice{'' if singular else where} (first at line {first})", fix)


def _mappings(node: Node, path: Path) -> Iterable[tuple[Path, Mapping]]:
    if isinstance(node, Mapping):
        if node.duplicates:
            yield path, node
        for key, entry in node.entries.items():
            if type(entry.node) is not Scalar:
                yield from _mappings(entry.node, (*path, key))
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            if type(item) is not Scalar:
                yield from _mappings(item, (*path, index))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def json_schema(kind: Any) -> dict[str, Any]:
    """JSON Schema of a section."""
    return _adapter(kind).json_schema()


def _keys(kind: type, path: Path) -> list[str]:
    """The keys known at `path` of `kind`, found by walking its JSON Schema."""
    schema = json_schema(kind)
    node: Any = schema
    for step in path:
        node = _resolve(schema, node)
        node = node.get("items", {}) if isinstance(step, int) else _below(node, str(step))
    return list(_resolve(schema, node).get("properties", {}))


def _below(node: Any, step: str) -> Any:
    return node.get("properties", {}).get(step) or node.get("additionalProperties") or {}


def _resolve(schema: Any, node: Any) -> Any:
    for alternative in node.get("anyOf", ()):
        if "$ref" in alternative:
            node = alternative
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


def _wanted(code: str) -> str:
    return {"tuple_type": "a list", "list_type": "a list", "dict_type": "a map of keys"}.get(code, "another value")


def _how(code: str, key: str) -> str:
    return (
        f"write {key}: [ … ]"
        if code in ("tuple_type", "list_type")
        else "write its keys on lines of their own, indented alike"
    )


def _got(node: Node | None) -> str:
    if isinstance(node, Scalar):
        return "nothing" if node.null else f'"{node.text}"'
    return "a list" if isinstance(node, Sequence) else "a map of keys"
