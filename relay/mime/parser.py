"""MIME structure of a message: where each part and each header field stands in the octets (RFC 2046 §5.1)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from relay.mime.headers import MAX_HEADER, MAX_LINES, Fields, as_octets, display_name, parse_value, read_header
from relay.mime.message import Entity, Header, MalformedMail, MimeMessage
from relay.mime.transfer_decoder import IDENTITY
from relay.model import Span

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


MAX_DEPTH = 20
MAX_PARTS = 2_000

MAX_HEADERS = 8 * MAX_HEADER
"""Octets of all headers of a message together, with 4 * MAX_LINES lines: a thousand parts may not have a full one
each."""

_ONLY_ONCE = frozenset({"content-type", "content-transfer-encoding", "content-disposition"})
_ONLY_ONCE_ON_TOP = frozenset({"from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id"})
_FORWARDED = frozenset({"message/rfc822", "message/global"})
_BOUNDARY = re.compile(r";\s*boundary(?:\*0?\*?)?\s*=", re.IGNORECASE)


@dataclass(slots=True)
class _ParseState:
    """What one parse counts and remarks. defects: a dict for its order."""

    raw: bytes
    parts: int = 0
    headers: int = 0
    lines: int = 0
    defects: dict[str, None] = field(default_factory=dict)

    def remark(self, defect: str) -> None:
        self.defects.setdefault(defect)

    def another(self, depth: int) -> None:
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise _too_many()
        if depth > MAX_DEPTH:
            raise MalformedMail("nesting-too-deep", str(MAX_DEPTH))

    def header(self, start: int, fields: Fields) -> None:
        self.headers += fields.body - start
        self.lines += fields.lines
        if self.headers > MAX_HEADERS or self.lines > 4 * MAX_LINES:
            raise MalformedMail("headers-too-large")


def _too_many() -> MalformedMail:
    return MalformedMail("too-many-parts", str(MAX_PARTS))


def parse(raw: bytes) -> MimeMessage:
    """The message `raw` as a tree of spans.

    Message.defects: "missing-final-boundary", "no-boundary-parameter", "no-delimiter" (a multipart without any),
    "no-blank-line" (a header ended by something else), "duplicate-<field>", "encoded-multipart" (a transfer encoding
    where RFC 2045 §6.4 forbids one), "duplicate-boundary",
    "invalid-content-type", "nested-message" (a message/rfc822 not looked into).

    Raises MalformedMail where a limit is passed ("header-too-large", "headers-too-large", "too-many-parts",
    "nesting-too-deep") or there is no octet at all ("empty"): a message that is not read whole is not judged.
    """
    if not raw:
        raise MalformedMail("empty")
    reading = _ParseState(raw)
    whole = Span(0, len(raw))
    root = _entity(reading, whole, whole, depth=0, default="text/plain", forwarded=False)
    return MimeMessage(raw, root, tuple(reading.defects))


def _entity(reading: _ParseState, span: Span, cut: Span, *, depth: int, default: str, forwarded: bool) -> Entity:
    reading.another(depth)
    fields = read_header(reading.raw, span.start, span.end)
    reading.header(span.start, fields)
    first = {header.name: header.value for header in reversed(fields.headers)}
    if not fields.blank:
        reading.remark("no-blank-line")
    if len(first) < len(fields.headers):
        _remark_twice(reading, fields.headers, depth)
    media_type, params = _media_type(reading, first.get("content-type"), default)
    disposition, disposition_params = parse_value(first.get("content-disposition", ""))
    encoding = parse_value(first.get("content-transfer-encoding", ""))[0] or "7bit"
    body = Span(fields.body, span.end)
    children = _children(reading, body, media_type, params, encoding, depth, forwarded)
    return Entity(
        span=span,
        cut=cut,
        headers=fields.headers,
        body=body,
        media_type=media_type,
        params=params,
        encoding=encoding,
        disposition=_disposition(disposition),
        filename=display_name(disposition_params, "filename") or display_name(params, "name"),
        children=children,
        depth=depth,
    )


def _remark_twice(reading: _ParseState, headers: Sequence[Header], depth: int) -> None:
    watched = _ONLY_ONCE | _ONLY_ONCE_ON_TOP if depth == 0 else _ONLY_ONCE
    seen: set[str] = set()
    for header in headers:
        if header.name in seen and header.name in watched:
            reading.remark(f"duplicate-{header.name}")
        seen.add(header.name)


def _media_type(reading: _ParseState, value: str | None, default: str) -> tuple[str, dict[str, str]]:
    if value is None:
        return default, {}
    media_type, params = parse_value(value)
    if media_type.startswith("multipart/") and len(_BOUNDARY.findall(value)) > 1:
        reading.remark("duplicate-boundary")
    kind, _, subtype = media_type.partition("/")
    if not kind or not subtype or "/" in subtype:
        reading.remark("invalid-content-type")
        media_type = "text/plain"  # rfc2045#5.2
    return media_type, dict(params)


def _disposition(value: str) -> str:
    """An unknown disposition is an attachment (rfc2183#2.8)."""
    return value if value in ("", "inline") else "attachment"


def _children(
    reading: _ParseState,
    body: Span,
    media_type: str,
    params: dict[str, str],
    encoding: str,
    depth: int,
    forwarded: bool,
) -> tuple[Entity, ...]:
    if media_type.startswith("multipart/"):
        if encoding not in IDENTITY:
            reading.remark("encoded-multipart")
        default = "message/rfc822" if media_type == "multipart/digest" else "text/plain"
        return _parts(reading, body, params.get("boundary", ""), depth, default, forwarded)
    if media_type in _FORWARDED and encoding in IDENTITY:
        if not forwarded:
            return (_entity(reading, body, body, depth=depth + 1, default="text/plain", forwarded=True),)
        reading.remark("nested-message")
    return ()


def _parts(
    reading: _ParseState, body: Span, boundary: str, depth: int, default: str, forwarded: bool
) -> tuple[Entity, ...]:
    mark = as_octets(boundary.rstrip())
    if not mark:
        reading.remark("no-boundary-parameter")
        return ()
    lines = list(islice(delimiters(reading.raw, body.start, body.end, mark), MAX_PARTS + 2))
    if len(lines) > MAX_PARTS + 1:
        raise _too_many()
    if not lines:
        reading.remark("no-delimiter")
        return ()
    if not lines[-1].closing:
        reading.remark("missing-final-boundary")
    return tuple(
        _entity(reading, span, cut, depth=depth + 1, default=default, forwarded=forwarded)
        for span, cut in _between(lines, body.end)
    )


def _between(lines: Sequence[Delimiter], end: int) -> list[tuple[Span, Span]]:
    """Span and cut of each part.

    With a closing delimiter a part goes with its own delimiter line, up to the next one. Without, it goes with the line
    break before its delimiter instead: else the last part kept would grow by the line break of the one cut after it.
    """
    closed = lines[-1].closing
    parts = []
    for place, line in enumerate(lines):
        if line.closing:
            break
        after = lines[place + 1] if place + 1 < len(lines) else None
        span = Span(line.end, max(line.end, after.line) if after else end)
        begins = line.start if closed else line.line
        ends = end if after is None else after.start if closed else after.line
        parts.append((span, Span(begins, ends)))
    return parts
