"""Header fields as spans (RFC 5322 §2.2): where a header ends, which fields it has, unfolded."""

import re
from typing import NamedTuple

from relay.mail.malformed import MalformedMail
from relay.mail.message import Header
from relay.model import Span

MAX_HEADER = 256 * 1024
"""Octets of one header. Postfix' header_size_limit is 102,400; what is larger is an attack or a broken program."""

MAX_LINES = 5_000

_NAME_COLON = r"([!-9;-~]{1,998})[ \t]*:"  # obs-optional: blanks before the colon (rfc5322#4.5.8)
_FIELD = _NAME_COLON + r"([^\n]*(?:\n[ \t][^\n]*)*\n?)"

_BEGINS = re.compile(_NAME_COLON.encode())
_ALL = re.compile(f"(?:{_FIELD}){{0,{MAX_LINES + 1}}}".encode())
_EACH = re.compile(f"({_FIELD})")
_EMPTY = re.compile(rb"\r*\n|\r+\Z")


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
    begin = after_mbox_line(raw, start, end)
    # So far that no field is cut off which begins within the limit.
    found = _ALL.match(raw, begin, min(end, start + 2 * MAX_HEADER + 2))
    stop = found.end() if found else begin
    lines = raw.count(b"\n", begin, stop) + (not raw.endswith(b"\n", begin, stop) and stop > begin)
    if stop - start > MAX_HEADER or lines > MAX_LINES:
        raise MalformedMail("header-too-large", f"{MAX_HEADER} / {MAX_LINES}")
    headers = _headers(raw, begin, stop)
    if stop == end:
        return Fields(headers, end, lines, True)
    blank = _EMPTY.match(raw, stop, end)
    return Fields(headers, blank.end() if blank else stop, lines, blank is not None)


def _headers(raw: bytes, begin: int, stop: int) -> tuple[Header, ...]:
    """The fields of raw[begin:stop], which holds nothing else."""
    text = raw[begin:stop].decode("latin-1")  # a character an octet: its places are those of the octets
    plain, headers, place = text.isascii(), [], begin
    for field, name, value in _EACH.findall(text):
        value = value.strip(" \t\r\n")
        if "\n" in value:
            value = value.replace("\r\n", "").replace("\n", "")
        value = value if plain else as_text(value.encode("latin-1"))
        first, place = place, place + len(field)
        headers.append(Header(name.lower(), Span(first, place), value))
    return tuple(headers)


def _line_end(raw: bytes, place: int, end: int) -> int:
    """The octet after the line's LF; a header over the limit is not searched to its end."""
    found = raw.find(b"\n", place, min(end, place + MAX_HEADER + 1))
    return found + 1 if found >= 0 else min(end, place + MAX_HEADER + 1)


def after_mbox_line(raw: bytes, start: int, end: int) -> int:
    """Where the fields begin: an mbox separator ("From x@y …") on top is none."""
    if raw.startswith((b"From ", b">From "), start) and _BEGINS.match(raw, start, end) is None:
        return _line_end(raw, start, end)
    return start


def as_text(octets: bytes) -> str:
    """Octets of a header as they are: UTF-8, what is not as lone surrogates (PEP 383) until somebody knows better."""
    return octets.decode("utf-8", "surrogateescape")


def as_octets(text: str) -> bytes:
    """The octets that `as_text` read."""
    return text.encode("utf-8", "surrogateescape")
