"""Header fields as spans (RFC 5322 §2.2): where a header ends, which fields it has, unfolded."""

import re
from typing import NamedTuple

from relay.mail.malformed import MalformedMail
from relay.mail.message import Header
from relay.model import Span

MAX_HEADER = 256 * 1024
"""Octets of one header. Postfix' header_size_limit is 102,400; what is larger is an attack or a broken program."""

MAX_LINES = 5_000

_BEGIN = rb"([!-9;-~]{1,998}+)[ \t]*+:"  # obs-optional: blanks before the colon (rfc5322#4.5.8)
_NAME = re.compile(_BEGIN)
_FIELD = re.compile(_BEGIN + rb"([^\n]*+(?:\n[ \t][^\n]*+)*+\n?+)")
_EMPTY = re.compile(rb"\r*+\n|\r++\Z")


class Fields(NamedTuple):
    """headers; body: where the body begins; lines; blank: whether an empty line (or the end) closed the header."""

    headers: tuple[Header, ...]
    body: int
    lines: int
    blank: bool


def read_header(raw: bytes, start: int, end: int) -> Fields:
    """The header that begins at `start`, within raw[start:end].

    A line that is neither a field nor a continuation ends it, as if an empty line stood before (so do Postfix and
    Python's email). Raises MalformedMail over MAX_HEADER octets or MAX_LINES lines.
    """
    headers: list[Header] = []
    place, lines = after_mbox_line(raw, start, end), 0
    while place < end:
        field = _FIELD.match(raw, place, min(end, place + MAX_HEADER + 1))
        if field is None:
            break
        begun, place = field.span()
        lines += 1 + raw.count(b"\n", begun, place - 1)
        _limit(place - start, lines)
        headers.append(_header(field))
    else:
        return Fields(tuple(headers), end, lines, True)
    blank = _EMPTY.match(raw, place, end)
    return Fields(tuple(headers), blank.end() if blank else place, lines, blank is not None)


def _line_end(raw: bytes, place: int, end: int) -> int:
    """The octet after the line's LF; a header over the limit is not searched to its end."""
    found = raw.find(b"\n", place, min(end, place + MAX_HEADER + 1))
    return found + 1 if found >= 0 else min(end, place + MAX_HEADER + 1)


def _limit(size: int, count: int) -> None:
    if size > MAX_HEADER or count > MAX_LINES:
        raise MalformedMail("header-too-large", f"{MAX_HEADER} / {MAX_LINES}")


def after_mbox_line(raw: bytes, start: int, end: int) -> int:
    """Where the fields begin: an mbox separator ("From x@y …") on top is none."""
    if raw.startswith((b"From ", b">From "), start) and _NAME.match(raw, start, end) is None:
        return _line_end(raw, start, end)
    return start


def _header(field: re.Match[bytes]) -> Header:
    value = field[2].strip(b" \t\r\n")
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return Header(field[1].decode("ascii").lower(), Span(*field.span()), as_text(value))


def as_text(octets: bytes) -> str:
    """Octets of a header as they are: UTF-8, what is not as lone surrogates (PEP 383) until somebody knows better."""
    return octets.decode("utf-8", "surrogateescape")


def as_octets(text: str) -> bytes:
    """The octets that `as_text` read."""
    return text.encode("utf-8", "surrogateescape")
