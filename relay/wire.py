"""Frozen values to JSON and back: what the spool keeps and what crosses to a worker process.

Only the shapes our values use: dataclasses, named tuples, string enums, tuples, frozensets, mappings, optionals and
scalars. JSON and not pickle: a spool outlives the code that wrote it and must not be able to run any.
"""

import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def dump(value: object) -> bytes:
    """JSON text of `value`, UTF-8. Surrogates (undecodable octets of a header) survive as escapes."""
    return json.dumps(plain(value), ensure_ascii=True, separators=(",", ":")).encode("ascii")


def load(kind: type[T], data: bytes | str) -> T:
    """The value of type `kind` that `dump` wrote. Unknown keys are ignored, absent ones take their default.

    Raises ValueError when `data` is not such a value.
    """
    try:
        return typing.cast(T, _reader(typing.cast(Any, kind))(json.loads(data)))
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"not a {kind.__name__}: {type(error).__name__}: {error}") from error


def plain(value: object) -> Any:
    """`value` as JSON-able lists, dicts and scalars."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, (frozenset, set)):
        return sorted(plain(item) for item in value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _optional(args)
    if origin is tuple:
        item = _reader(args[0])
        return lambda data: tuple(item(each) for each in data)
    if origin is frozenset:
        item = _reader(args[0])
        return lambda data: frozenset(item(each) for each in data)
    if origin is not None and issubclass(origin, Mapping):
        item = _reader(args[1])
        return lambda data: {key: item(each) for key, each in data.items()}
    if kind is bytes:
        return lambda data: data.encode("latin-1")
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind
    if is_dataclass(kind):
        return _dataclass(typing.cast(type, kind))
    if isinstance(kind, type) and issubclass(kind, tuple):
        return lambda data: kind(*data)
    return _scalar(kind)


def _optional(args: tuple[Any, ...]) -> Callable[[Any], Any]:
    kinds = [arg for arg in args if arg is not type(None)]
    if len(kinds) != 1:
        raise TypeError(f"only X | None can be read back, not {args}")
    item = _reader(kinds[0])
    return lambda data: None if data is None else item(data)


def _dataclass(kind: type) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}

    def read(data: dict[str, Any]) -> Any:
        return kind(**{name: readers[name](item) for name, item in data.items() if name in readers})

    return read


def _scalar(kind: Any) -> Callable[[Any], Any]:
    wanted = (int, float) if kind is float else kind

    def read(data: Any) -> Any:
        if kind is not Any and (not isinstance(data, wanted) or (kind is int and isinstance(data, bool))):
            raise TypeError(f"{data!r} is not {kind}")
        return data

    return read
