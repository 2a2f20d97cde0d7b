"""Frozen values to JSON and back: what the spool keeps and what crosses to a worker process.

Only the shapes our values use: dataclasses, named tuples, string enums, tuples, frozensets, mappings, optionals and
scalars. JSON and not pickle: a spool outlives the code that wrote it and must not be able to run any.

How a class is written and read is worked out once, from its annotations, and kept: a message is converted four
times."""

import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")

_decode = json.JSONDecoder().decode


def dump(value: object) -> bytes:
    """JSON text of `value`, UTF-8. Surrogates (undecodable octets of a header) survive as escapes."""
    return _encode(value).encode("ascii")


def load(kind: type[T], data: bytes | str) -> T:
    """The value of type `kind` that `dump` wrote. Unknown keys are ignored, absent ones take their default.

    Raises ValueError when `data` is not such a value.
    """
    return build(kind, _decode(data if isinstance(data, str) else data.decode()))


def build(kind: type[T], data: object) -> T:
    """As `load`, of JSON already decoded: the inverse of `plain`."""
    try:
        return typing.cast(T, _reader(typing.cast(Any, kind))(data))
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        name = getattr(kind, "__name__", str(kind))
        raise ValueError(f"not a {name}: {type(error).__name__}: {error}") from error


def plain(value: object) -> Any:
    """`value` as JSON-able lists, dicts and scalars: what `dump` writes, read as JSON."""
    return _decode(_encode(value))


@cache
def _writer(kind: Any) -> Callable[[Any], Any]:
    """By the class of the value itself, never by an annotation: what is written is what is there.

    One layer of it; the encoder asks again for what it finds within, and knows itself what to make of tuples and of
    string enums.
    """
    if is_dataclass(kind):
        return _dataclass_writer([field.name for field in fields(kind)])
    if issubclass(kind, (frozenset, set)):
        return sorted
    if issubclass(kind, Mapping):
        return dict
    if issubclass(kind, bytes):
        return lambda value: value.decode("latin-1")
    raise TypeError(f"no JSON is known for a {kind.__name__}")


def _dataclass_writer(names: list[str]) -> Callable[[Any], dict[str, Any]]:
    if len(names) < 2:  # attrgetter gives no tuple
        return lambda value: {name: getattr(value, name) for name in names}
    values = attrgetter(*names)
    return lambda value: dict(zip(names, values(value), strict=True))


def _opened(value: object) -> Any:
    kind: Any = type(value)
    return _writer(kind)(value)


_encode = json.JSONEncoder(
    ensure_ascii=True,
    separators=(",", ":"),
    check_circular=False,
    default=_opened,
).encode


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _optional(args)
    if origin is tuple:
        item = _reader(args[0])
        return lambda data: tuple([item(each) for each in data])
    if origin is frozenset:
        item = _reader(args[0])
        return lambda data: frozenset(item(each) for each in data)
    if origin is not None and issubclass(origin, Mapping):
        item = _reader(args[1])
        return lambda data: {key: item(each) for key, each in data.items()}
    if kind is bytes:
        return lambda data: data.encode("latin-1")
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {member.value: member for member in kind}.__getitem__
    if is_dataclass(kind):
        return _dataclass_reader(typing.cast(type, kind))
    if isinstance(kind, type) and issubclass(kind, tuple):
        return _named_tuple_reader(kind)
    return _scalar(kind)


def _optional(args: tuple[Any, ...]) -> Callable[[Any], Any]:
    kinds = [arg for arg in args if arg is not type(None)]
    if len(kinds) != 1:
        raise TypeError(f"only X | None can be read back, not {args}")
    item = _reader(kinds[0])
    return lambda data: None if data is None else item(data)


def _named_tuple_reader(kind: type) -> Callable[[Any], Any]:
    readers = [_reader(hint) for hint in typing.get_type_hints(kind).values()]

    def read(data: list[Any]) -> Any:
        if len(data) > len(readers):
            raise TypeError("more fields than there are")
        return kind(*[reader(item) for reader, item in zip(readers, data, strict=False)])

    return read


def _dataclass_reader(kind: type) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}
    plainly = {name: _SCALARS.get(hints[name], frozenset[type]()) for name in readers}

    def read(data: dict[str, Any]) -> Any:
        return kind(
            **{
                name: item if type(item) in plainly[name] else readers[name](item)
                for name, item in data.items()
                if name in readers
            }
        )

    return read


_SCALARS: Mapping[Any, frozenset[type]] = {
    str: frozenset({str}),
    int: frozenset({int}),
    float: frozenset({float, int}),
    bool: frozenset({bool}),
    str | None: frozenset({str, type(None)}),
    int | None: frozenset({int, type(None)}),
    float | None: frozenset({float, int, type(None)}),
    bool | None: frozenset({bool, type(None)}),
}
"""What JSON gives for an annotation and is right as it is; all else goes through its reader."""


def _scalar(kind: Any) -> Callable[[Any], Any]:
    wanted = (int, float) if kind is float else kind

    def read(data: Any) -> Any:
        if kind is not Any and (not isinstance(data, wanted) or (kind is int and isinstance(data, bool))):
            raise TypeError(f"{data!r} is not {kind}")
        return data

    return read
