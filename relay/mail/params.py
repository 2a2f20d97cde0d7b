"""Parameters of Content-Type and Content-Disposition (RFC 2045 §5.1, RFC 2231), and what real programs make of them."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from relay.mail.charset import decode, printable
from relay.mail.fields import as_octets
from relay.mail.words import decode_words

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
    found: dict[str, str] = {}
    sections: dict[str, list[Section]] = {}
    for name, text in _pairs(rest):
        match = _SECTION.fullmatch(name) if "*" in name else None
        if match is None or (match[2] is None and match[3] is None):
            found.setdefault(name, text)
        else:
            sections.setdefault(match[1], []).append(Section(int(match[2] or 0), match[3] is not None, text))
    for name, pieces in sections.items():
        if (joined := _join(pieces)) is not None:
            found[name] = joined  # the extended form wins (rfc6266#4.3)
    return _first_word(head).lower(), found


def display_name(params: Mapping[str, str], name: str) -> str | None:
    """Parameter `name` as a person reads it: encoded words and raw octets decoded, no control characters."""
    value = params.get(name)
    if value is None:
        return None
    value = value[:MAX_NAME]
    if not value.isascii():
        value = decode(as_octets(value))
    return printable(decode_words(value)) or None


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
    ordered = sorted(sections, key=lambda each: each.number)
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
