"""What a log record may hold: plain scalars, one line, no content, and addresses only when asked for.

An object that is not a plain value is named, never printed: a Mail passed by mistake must not spill an invoice."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from itertools import islice
from pathlib import PurePath
from types import TracebackType
from typing import Any

LIMIT = 1000  # characters of one string; a reply of a next hop or a message of a library has no limit of its own
ITEMS = 100  # of one list
_APART = r"""\s<>()\[\],;:"'="""  # what stands between an address and the text around it
# Each run of characters is looked at once, from its start (the lookbehind), and not given back (possessive).
_LOCAL_PART = re.compile(rf"""(?:"(?:[^"\\]|\\.)*"|(?<![^{_APART}@])[^{_APART}@]+)(?=@+[^{_APART}@])""")
_NEVER = frozenset(
    {"subject", "body", "raw", "content", "filename", "filenames"}
    | {"password", "token", "secret", "credentials", "challenge"}
)
_WHOLE = frozenset({"message_id"})  # shaped like an address, and what the platform is asked about


class Fit(str):
    """A string that `fit` returned: it is not made fit again, for an escape may be looked at as text."""

    __slots__ = ()


def fields(
    record: Mapping[str, object], *, addresses: bool, after: dict[str, object] | None = None
) -> dict[str, object]:
    """`record` fit for a log line. `addresses`: keep them whole, else only their domain ("*@agiris.example").
    after: fields that are fit already and come first; `record` is added to them."""
    found: dict[str, Any] = {} if after is None else after
    value: Any
    for name, value in record.items():
        if name in _NEVER:
            continue
        kind = type(value)
        # Most are short words with nothing to hide, numbers or nothing: not worth a call.
        if kind is str:
            if "@" in value or len(value) > LIMIT or not value.isprintable():
                value = fit(value, addresses or name in _WHOLE)
        elif kind is not int and value is not None:
            value = _RULES[kind](value, addresses or name in _WHOLE)
        found[name if name.isprintable() else escape(name)] = value
    return found


def fit(text: str, addresses: bool) -> str:
    """One string, fit for a log line."""
    # Masked before it is cut: an address cut in two would no longer be seen. Bounded first, for the pattern is
    # quadratic in quotes.
    if not addresses and "@" in text:
        text = without_addresses(text[: 2 * LIMIT])
    if len(text) > LIMIT:
        text = text[:LIMIT] + "…"
    return text if text.isprintable() else escape(text)


def escape(text: str) -> str:
    """`text` on one line: control, format, separator and surrogate characters as \\x1b, \\u2028 or \\udc80."""
    if text.isprintable():
        return text
    return "".join(_escaped(char) if _is_control(char) else char for char in text)


def without_addresses(text: str) -> str:
    """`text` with the local part of every mail address replaced by a star."""
    return _LOCAL_PART.sub("*", text) if "@" in text else text


def fault(error: BaseException, *, text: bool) -> dict[str, object]:
    """Type and place of an exception, innermost frame first. Its text may quote an invoice: only if `text`.

    The system's own words (strerror) of an OSError are always kept: they quote nothing.
    """
    found: dict[str, object] = {"error": type(error).__name__, "at": _frames(error.__traceback__)}
    if text:
        found["error_text"] = str(error)
    elif isinstance(error, OSError) and error.strerror:
        found["error_text"] = error.strerror
    if error.__cause__ is not None:
        found["cause"] = f"{type(error.__cause__).__name__} at {_frames(error.__cause__.__traceback__)}"
    return found


_Rule = Callable[[Any, bool], object]


class _Rules(dict[type, _Rule]):
    """What becomes of the values of a type, decided once for each: (value, whole addresses) -> plain value."""

    def __missing__(self, kind: type) -> _Rule:
        rule = self[kind] = _rule(kind)
        return rule


def _rule(kind: type) -> _Rule:
    if issubclass(kind, Enum):
        return _member
    if issubclass(kind, Fit):
        return lambda value, addresses: str(value)
    if issubclass(kind, str):
        return fit
    if issubclass(kind, (int, type(None))):
        return lambda value, addresses: value
    if issubclass(kind, float):
        return lambda value, addresses: round(value, 6)
    if issubclass(kind, PurePath):
        return lambda value, addresses: fit(str(value), True)
    if issubclass(kind, (bytes, bytearray, memoryview)):
        return lambda value, addresses: f"<{len(value)} octets>"
    if issubclass(kind, (set, frozenset)):
        return lambda value, addresses: _items(sorted(value, key=str), addresses)
    if issubclass(kind, (list, tuple)) and not hasattr(kind, "_fields"):
        return _items
    if issubclass(kind, Mapping):
        return _entries
    return lambda value, addresses: f"<{kind.__name__}>"


_RULES = _Rules()


def _member(member: Enum, addresses: bool) -> object:
    value = member._value_  # `value` is a call (Python 3.11)
    return _RULES[type(value)](value, addresses)


def _items(values: Sequence[object], addresses: bool) -> list[object]:
    return [_RULES[type(item)](item, addresses) for item in values[:ITEMS]] if values else []


def _entries(values: Mapping[object, object], addresses: bool) -> dict[str, object]:
    return fields({str(key): item for key, item in islice(values.items(), ITEMS)}, addresses=addresses)


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(char: str) -> str:
    point = ord(char)
    if point <= 0xFF:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"


def _frames(trace: TracebackType | None) -> str:
    """ "intake.py:120 accept < smtpd.py:88 handle_DATA": enough to find a bug, without a line of source or a value."""
    frames = []
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{PurePath(code.co_filename).name}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return " < ".join(reversed(frames[-12:]))
