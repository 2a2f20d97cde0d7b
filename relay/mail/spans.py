"""parse(): the MIME tree of a mail as spans over its octets (RFC 2045, 2046). Linear in the size of the mail.

Nothing is decoded or copied but header fields. A message/rfc822 is looked into once, deeper ones are leaves. Line ends
are CRLF; a bare LF counts as one too, as the file of an operator may have them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from relay.mail.delimiters import Delimiter, delimiters
from relay.mail.fields import MAX_HEADER, MAX_LINES, Fields, as_octets, read_header
from relay.mail.malformed import MalformedMail
from relay.mail.message import Entity, Header, Message
from relay.mail.params import display_name, parse_value
from relay.mail.transfer_decoder import IDENTITY
from relay.model import Span

__all__ = ["MAX_DEPTH", "MAX_HEADER", "MAX_LINES", "MAX_PARTS", "MalformedMail", "parse"]

MAX_DEPTH = 20
MAX_PARTS = 2_000

MAX_HEADERS = 8 * MAX_HEADER
"""Octets of all headers of a mail together, with 4 * MAX_LINES lines: a thousand parts may not have a full one each."""

_ONLY_ONCE = frozenset({"content-type", "content-transfer-encoding", "content-disposition"})
_ONLY_ONCE_ON_TOP = frozenset({"from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id"})
_FORWARDED = frozenset({"message/rfc822", "message/global"})
_BOUNDARY = re.compile(r";\s*boundary(?:\*0?\*?)?\s*=", re.IGNORECASE)


@dataclass(slots=True)
class _Reading:
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


def parse(raw: bytes) -> Message:
    """The mail `raw` as a tree of spans.

    Message.defects: "missing-final-boundary", "no-boundary-parameter", "no-delimiter" (a multipart without any),
    "no-blank-line" (a header ended by something else), "duplicate-<field>", "encoded-multipart" (a transfer encoding
    where RFC 2045 §6.4 forbids one), "duplicate-boundary",
    "invalid-content-type", "nested-message" (a message/rfc822 not looked into).

    Raises MalformedMail where a limit is passed ("header-too-large", "headers-too-large", "too-many-parts",
    "nesting-too-deep") or there is no octet at all ("empty"): a mail that is not read whole is not judged.
    """
    if not raw:
        raise MalformedMail("empty")
    reading = _Reading(raw)
    whole = Span(0, len(raw))
    root = _entity(reading, whole, whole, depth=0, default="text/plain", forwarded=False)
    return Message(raw, root, tuple(reading.defects))


def _entity(reading: _Reading, span: Span, cut: Span, *, depth: int, default: str, forwarded: bool) -> Entity:
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


def _remark_twice(reading: _Reading, headers: Sequence[Header], depth: int) -> None:
    watched = _ONLY_ONCE | _ONLY_ONCE_ON_TOP if depth == 0 else _ONLY_ONCE
    seen: set[str] = set()
    for header in headers:
        if header.name in seen and header.name in watched:
            reading.remark(f"duplicate-{header.name}")
        seen.add(header.name)


def _media_type(reading: _Reading, value: str | None, default: str) -> tuple[str, dict[str, str]]:
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
    reading: _Reading, body: Span, media_type: str, params: dict[str, str], encoding: str, depth: int, forwarded: bool
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
    reading: _Reading, body: Span, boundary: str, depth: int, default: str, forwarded: bool
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
