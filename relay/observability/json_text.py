"""Values as JSON, fit for a log as relay.observability.privacy says: for the lines that every message makes.

A dictionary of fields costs twice: every value is looked at for what it is, then encoded for what it is. Where the
fields of a line are known, so are their types, and the line is written at once.
"""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from json import encoder
from typing import Any, NoReturn

from relay.observability import privacy

_SHORT = 254  # characters of the longest address (RFC 5321, 4.5.3.1.3)


def _unknown(value: object) -> NoReturn:
    raise TypeError(type(value).__name__)  # never called: relay.observability.privacy leaves plain values only


def _encoder() -> Callable[[object], str]:
    """JSON as `json.dumps` writes it. JSONEncoder.encode makes the encoder in C anew for each line; this keeps one."""
    make: Any = getattr(encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without it
        return json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
    pieces = make(None, _unknown, encoder.encode_basestring, None, ": ", ", ", False, False, True)
    join = "".join
    return lambda value: join(pieces(value, 0))


encode = _encoder()
"""Any plain value as JSON, not looked at."""

_whole = False


def keep_addresses(whole: bool) -> bool:
    """From now on, addresses are kept whole, or only their domain. Returns what was before."""
    global _whole
    before, _whole = _whole, whole
    _fit.cache_clear()
    return before


def text(value: str | None) -> str:
    """`value` fit for a log, in quotes; null for None."""
    if value is None:
        return "null"
    if len(value) > _SHORT:
        return encode(privacy.fit(value, _whole))
    return f'"{value}"' if value.isalnum() else _fit(value)


@lru_cache(maxsize=2048)
def _fit(value: str) -> str:
    """What stands in many lines: addresses, clients, peers, next hops, replies."""
    return encode(privacy.fit(value, _whole))


def once(value: str) -> str:
    """As `text`, with addresses whole, of what will not come again."""
    return encode(privacy.fit(value, True))


def texts(values: Sequence[str]) -> str:
    """A list of texts, at most as many as a log has."""
    return f"[{', '.join(map(text, values[: privacy.ITEMS]))}]" if values else "[]"


def number(value: float, digits: int) -> str:
    """`value` rounded."""
    rounded = round(value, digits)
    return repr(rounded) if abs(rounded) < 1e15 else encode(rounded)  # repr writes "nan", JSON "NaN"


def decoded(fields: str) -> dict[str, Any]:
    """The fields of a line, written as JSON by the functions above, as a dictionary. They stay as they are."""
    return {name: _fitting(value) for name, value in json.loads(f"{{{fields}}}").items()}


def _fitting(value: Any) -> Any:
    if isinstance(value, list):
        return [privacy.Fit(item) for item in value]
    return privacy.Fit(value) if isinstance(value, str) else value
