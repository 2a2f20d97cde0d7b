"""Delimiter lines of a multipart (RFC 2046 §5.1.1), by whole-buffer search and never line by line."""

import re
from collections.abc import Iterator
from typing import NamedTuple

FEW_HYPHENS = 40
_REST = re.compile(rb"(--)?[ \t]*(?:\r?\n|\Z)")


class Delimiter(NamedTuple):
    """One delimiter line. line: where the line break before it begins, which belongs to it (or the line itself, at the
    start of a body). start: its first hyphen. end: the octet after its own line break. closing: ends the multipart."""

    line: int
    start: int
    end: int
    closing: bool


def delimiters(raw: bytes, start: int, end: int, boundary: bytes) -> Iterator[Delimiter]:
    """The delimiter lines of `boundary` in raw[start:end], the closing one included and last.

    A boundary that is only the prefix of a line is none; blanks after it are (transport padding).
    """
    mark = b"--" + boundary
    needle = b"\n" + mark
    place = start if raw.startswith(mark, start, end) else _next(raw, needle, start, end)
    while place >= 0:
        after = place + len(mark)
        rest = _REST.match(raw, after, end)
        if rest is None:
            place = _next_whole(raw, needle, after, end)
            continue
        stop, closing = rest.end(), rest[1] is not None
        yield Delimiter(_line_break(raw, place, start), place, stop, closing)
        if closing:
            return
        # The line break that ends this delimiter may be the one that begins the next.
        place = _next(raw, needle, stop - 1, end)


def _next(raw: bytes, needle: bytes, start: int, end: int) -> int:
    """From hyphen to hyphen, of which base64 has none: one octet is found thirty times faster than several. After a few
    in vain (a line of hyphens) the needle whole, which takes no step of ours for each."""
    for _ in range(FEW_HYPHENS):
        hyphen = raw.find(b"-", start + 1, end)
        if hyphen < 0:
            return -1
        if raw.startswith(needle, hyphen - 1, end):
            return hyphen
        start = hyphen
    found = raw.find(needle, start, end)
    return found + 1 if found >= 0 else -1


def _next_whole(raw: bytes, needle: bytes, start: int, end: int) -> int:
    """The next delimiter after a line that only began like one. By a pattern, which is slower than find and passes over
    millions of such lines without a step of ours for each."""
    found = re.compile(re.escape(needle) + _REST.pattern).search(raw, start, end)
    return found.start() + 1 if found else -1


def _line_break(raw: bytes, place: int, start: int) -> int:
    if place == start:
        return place
    return place - 2 if place - 2 >= start and raw[place - 2] == 0x0D else place - 1
