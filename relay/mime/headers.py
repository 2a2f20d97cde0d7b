"""Header fields: their names, bodies and parameters (RFC 5322 §2.2, RFC 2045 §5.1, RFC 2231)."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from relay.mime.encoded_words import decode, decode_words
from relay.mime.message import Header, MalformedMail
from relay.model import Span
from relay.single_line import single_line

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
    match = _ALL.match(raw, begin, min(end, start + 2 * MAX_HEADER + 2))
    stop = match.end() if match else begin
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


_SEPARATORS = re.compile(r"[\s;]*")
_NAME = r"[\s;]*([^\s=;\"]{1,998})\s*=\s*"
_QUOTED = r'(?:[^"\\]+|\\["\\]|\\|"(?!\s*(?:;|\Z|[\w*-]+\s*=)))*'
_PARAMETER = re.compile(f'{_NAME}(?:"({_QUOTED})"?|([^;]*))[\\s;]*')
"""Name, quoted text, other text. A quote within (`"a "b".pdf"`) does not end a quoted text unless a parameter or the
end follows; a backslash escapes only a quote or itself, since paths come unescaped; without an end all is taken."""
_ESCAPED = re.compile(r'\\(["\\])')
_SECTION = re.compile(r"([^*]+)(?:\*(\d{1,4}))?(\*)?")
MAX_PARAMETERS = 200
"""Parameters and sections read of one field; the rest is ignored."""

MAX_NAME = 4_096
"""Characters of a file name that are read."""

_FREE_TEXT = frozenset({"name", "filename"})


class Section(NamedTuple):
    """One section of a parameter (RFC 2231 §3). `extended`: percent-encoded, the first with its charset."""

    number: int
    extended: bool
    text: str


def parse_value(value: str) -> tuple[str, Mapping[str, str]]:
    """Head (lower case) and parameters (names lower case) of an unfolded field value. Never raises, linear time."""
    head, separator, rest = value.partition(";")
    if not separator:
        return _first_word(head).lower(), {}
    params: dict[str, str] = {}
    sections: dict[str, list[Section]] = {}
    for name, text in _pairs(rest):
        match = _SECTION.fullmatch(name) if "*" in name else None
        if match is None or (match[2] is None and match[3] is None):
            params.setdefault(name, text)
        else:
            sections.setdefault(match[1], []).append(Section(int(match[2] or 0), match[3] is not None, text))
    for name, pieces in sections.items():
        if (joined := _join(pieces)) is not None:
            params[name] = joined  # the extended form wins (rfc6266#4.3)
    return _first_word(head).lower(), params


def display_name(params: Mapping[str, str], name: str) -> str | None:
    """Parameter `name` as a person reads it: encoded words and raw octets decoded, no control characters."""
    value = params.get(name)
    if value is None:
        return None
    value = value[:MAX_NAME]
    if not value.isascii():
        value = decode(as_octets(value))
    return single_line(decode_words(value)) or None


def _pairs(rest: str) -> Iterator[tuple[str, str]]:
    place = 0
    for _ in range(MAX_PARAMETERS):
        match = _PARAMETER.match(rest, place)
        if match is None:
            separators = _SEPARATORS.match(rest, place)
            place = separators.end() if separators else place
            if place == len(rest):
                return
            place = _past(rest, place)
            continue
        name, quoted, text = match.groups()
        name, place = name.lower(), match.end()
        if quoted is not None:
            text = _ESCAPED.sub(r"\1", quoted) if "\\" in quoted else quoted
        else:
            text = text.rstrip(" \t") if name.partition("*")[0] in _FREE_TEXT else _first_word(text)
        yield name, text
        if place == len(rest):
            return


def _past(rest: str, place: int) -> int:
    """The character after the next semicolon, or the end."""
    found = rest.find(";", place)
    return found + 1 if found >= 0 else len(rest)


def _first_word(text: str) -> str:
    """The token, without blanks or a comment after it."""
    words = text.split(maxsplit=1)
    return words[0] if words else ""


def _join(sections: list[Section]) -> str | None:
    """The value of a parameter in sections, up to the first one missing; None when the first one is."""
    ordered = sorted(sections, key=lambda section: section.number)
    if ordered[0].number != 0:
        return None
    octets, charset, wanted = bytearray(), "", 0
    for section in ordered:
        if section.number != wanted:
            if section.number < wanted:
                continue  # the same section twice: the first stays
            break
        text = section.text
        if section.extended and wanted == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        octets += unquote_to_bytes(as_octets(text)) if section.extended else as_octets(text)
        wanted += 1
    return decode(bytes(octets), charset)
