"""Documents that no field declares: what some mail program shows as an attachment although MIME calls it text.

Two programs may read such a message in two ways (RFC 7103 §4). Searches with a literal start only, over whole bodies:
linear, whatever they hold.
"""

import re
from collections.abc import Iterator

from relay.mail.message import Entity, Message, is_document
from relay.mail.transfer_decoder import IDENTITY, UUENCODE, decode
from relay.model import Span

_FIELDS_WITHIN = 8 * 1024
_MOST_BEGINS = 1_000
_BINHEX = frozenset({"application/mac-binhex40", "application/mac-binhex", "application/binhex"})
_NOT_SCANNED = frozenset({"text/xml", "text/rfc822-headers"})

_DOCUMENT = (
    re.compile(rb"\nbegin [0-7]{3,4} [^\r\n]{1,255}\r?\n[ -`]{2,}\r?\n"),
    re.compile(rb"\nbegin-base64 [0-7]{3,4} "),
    re.compile(rb"\n=ybegin (?:part=|line=|total=|size=)"),
    re.compile(rb"\n\(This file must be converted with BinHex"),
    re.compile(rb"\n%PDF-[0-9]"),
    re.compile(rb"\n(?:JVBERi0|UEsDB)[A-Za-z0-9+/]{40}"),
    re.compile(rb"\nPD94bWwg[A-Za-z0-9+/]{40}"),
    re.compile(rb"data:application/(?:pdf|xml|zip|octet-stream)[;,]", re.IGNORECASE),
)
_CONTENT_FIELD = (
    rb"[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-(?:[Tt][Yy][Pp][Ee]|[Tt][Rr][Aa][Nn][Ss][Ff][Ee][Rr]-|[Dd][Ii][Ss][Pp][Oo])"
)
_PART = re.compile(rb"\n--[^\r\n]{1,72}\r?\n" + _CONTENT_FIELD)
_ENCODED_PART = re.compile(rb"\nContent-Transfer-Encoding[ \t]*:[ \t]*(?:base64|x-uu)", re.IGNORECASE)
_FIELDS = re.compile(rb"\s*(?:[!-9;-~]{1,76}[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*){0,50}?" + _CONTENT_FIELD + rb"[^\n:]*:")


def undeclared(message: Message) -> tuple[str, ...]:
    """Names of the flaws by which a document may stand where no field of a header says so; () when there is none.

    "document-in-text", "parts-in-text": a text holds one, or parts of a multipart. "fields-in-body": a body begins with
    header fields, an empty line came too early. "document-outside-parts": it stands before the first part or after the
    last one.
    """
    found: dict[str, None] = {}
    for entity in message.entities:
        if entity.children:
            outside = [b"\n" + message.raw[start:end] for start, end in _outside(entity)]
            if any(_holds_document(lines) or _holds_parts(lines) for lines in outside):
                found.setdefault("document-outside-parts")
        elif flaw := _flaw(message, entity):
            found.setdefault(flaw)
    return tuple(found)


def _flaw(message: Message, entity: Entity) -> str | None:
    if entity.media_type in _BINHEX:
        return "document-in-text"
    if entity.media_type in _NOT_SCANNED or entity.media_type.startswith("multipart/"):
        return None
    start, end = entity.body
    is_text, is_report = entity.media_type.startswith("text/"), entity.media_type.startswith("message/")
    if (
        not is_report
        and entity.encoding in IDENTITY
        and _FIELDS.match(message.raw[start : min(end, start + _FIELDS_WITHIN)])
    ):
        return "fields-in-body"
    if not (is_text or is_report) or is_document(message.head(entity), entity.media_type):
        return None  # a document by its octets is judged as one
    if entity.encoding in UUENCODE:
        return "document-in-text"
    body = message.raw[start:end]
    lines = b"\n" + (body if entity.encoding in IDENTITY else decode(body, entity.encoding).octets)
    if _holds_document(lines):
        return "document-in-text"
    return "parts-in-text" if is_text and _holds_parts(lines) else None


def _holds_document(lines: bytes) -> bool:
    if lines.count(b"\nbegin ") > _MOST_BEGINS:
        return True  # no letter; and each costs a microsecond
    return any(pattern.search(lines) for pattern in _DOCUMENT)


def _holds_parts(lines: bytes) -> bool:
    return _PART.search(lines) is not None or _ENCODED_PART.search(lines) is not None


def _outside(multipart: Entity) -> Iterator[Span]:
    """What stands before the first part and after the last one (rfc2046#5.1.1: to be ignored)."""
    if not multipart.media_type.startswith("multipart/"):
        return
    yield Span(multipart.body.start, multipart.children[0].cut.start)
    yield Span(multipart.children[-1].span.end, multipart.body.end)
