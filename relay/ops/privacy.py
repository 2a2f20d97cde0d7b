"""What a log record may hold: plain scalars, one line, no content, and addresses only when asked for.

An object that is not a plain value is named, never printed: a Mail passed by mistake must not spill an invoice.
"""

import re
import unicodedata
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from types import TracebackType

LIMIT = 1000  # characters of one string; a reply of a next hop or a message of a library has no limit of its own
_ITEMS = 100
_APART = r"""\s<>()\[\],;:"'="""  # what stands between an address and the text around it
# Each run of characters is looked at once, from its start (the lookbehind), and not given back (possessive).
_LOCAL_PART = re.compile(rf"""(?:"(?:[^"\\]|\\.)*+"|(?<![^{_APART}@])[^{_APART}@]++)(?=@+[^{_APART}@])""")
_NEVER = frozenset(
    {"subject", "body", "raw", "content", "filename", "filenames"}
    | {"password", "token", "secret", "credentials", "challenge"}
)
_AS_IT_IS = frozenset({int, bool, type(None)})
_WHOLE = frozenset({"message_id"})  # shaped like an address, and what the platform is asked about


def fields(record: Mapping[str, object], *, addresses: bool) -> dict[str, object]:
    """`record` fit for a log line. `addresses`: keep them whole, else only their domain ("*@agiris.example")."""
    found: dict[str, object] = {}
    for name, value in record.items():
        if name in _NEVER:
            continue
        # Most are short words with nothing to hide: not worth a call.
        if type(value) is not str or "@" in value or len(value) > LIMIT or not value.isprintable():
            value = _value(value, addresses or name in _WHOLE)
        found[name if name.isprintable() else escape(name)] = value
    return found


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


def _value(value: object, addresses: bool) -> object:
    if type(value) in _AS_IT_IS:
        return value
    if isinstance(value, Enum):
        return _value(value.value, addresses)
    if isinstance(value, str):
        return _text(value, addresses)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, PurePath):
        return _text(str(value), True)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} octets>"
    if isinstance(value, (list, tuple, set, frozenset)) and not hasattr(value, "_fields"):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else list(value)
        return [_value(item, addresses) for item in items[:_ITEMS]]
    if isinstance(value, Mapping):
        return fields({str(key): item for key, item in list(value.items())[:_ITEMS]}, addresses=addresses)
    return f"<{type(value).__name__}>"


def _text(text: str, addresses: bool) -> str:
    # Masked before it is cut: an address cut in two would no longer be seen. Bounded first, for the pattern is
    # quadratic in quotes.
    if not addresses and "@" in text:
        text = without_addresses(text[: 2 * LIMIT])
    if len(text) > LIMIT:
        text = text[:LIMIT] + "…"
    return text if text.isprintable() else escape(text)


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
