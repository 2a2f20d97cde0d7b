"""A message as a tree of MIME entities (RFC 2045, 2046), each with its place in the octets; and why one cannot be
read."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from relay.mime.file_type import SNIFF, file_type, is_pdf
from relay.mime.transfer_decoder import head
from relay.model import Span
from relay.reasons import defect

SHOWN_TEXTS = frozenset(
    {"text/plain", "text/html", "text/enriched", "text/calendar", "text/x-amp-html", "text/watch-html"}
    | {"text/rfc822-headers"}
)
"""Texts that mail programs show as the message itself; any other is an attachment to them."""


class Header(NamedTuple):
    """One header field. `name` lower case; `span` the whole field with its CRLF; `value` unfolded, not decoded."""

    name: str
    span: Span
    value: str


@dataclass(frozen=True, slots=True)
class Entity:
    """One MIME entity (RFC 2045 §2.4).

    span: its octets, from the first of its header to the last of its body.
    cut: what to remove from the message so that the entity is gone and the rest stays well-formed: from its own
    delimiter
    line to the start of the next delimiter line. For the root and for the content of a message/rfc822: the span.
    media_type: lower case, "text/plain" by default. filename: decoded (RFC 2231, RFC 2047, quoted), or None.
    disposition: "attachment", "inline" or "". encoding: lower case Content-Transfer-Encoding, "7bit" by default.
    """

    span: Span
    cut: Span
    headers: tuple[Header, ...]
    body: Span
    media_type: str = "text/plain"
    params: Mapping[str, str] = field(default_factory=dict)
    encoding: str = "7bit"
    disposition: str = ""
    filename: str | None = None
    children: tuple["Entity", ...] = ()
    depth: int = 0

    def walk(self) -> Sequence["Entity"]:
        """This entity and all below it, in the order of the message."""
        entities = [self]
        for child in self.children:
            entities += child.walk()
        return entities

    def first(self, name: str) -> str | None:
        """Value of the first header field `name` (lower case), or None."""
        for header in self.headers:
            if header.name == name:
                return header.value
        return None


@dataclass(frozen=True)
class MimeMessage:
    """A parsed message. `defects`: names of what is odd but survivable ("missing-final-boundary", …)."""

    raw: bytes
    root: Entity
    defects: tuple[str, ...] = ()

    @cached_property
    def entities(self) -> tuple[Entity, ...]:
        """All entities in the order of the message, the root first."""
        return tuple(self.root.walk())

    @cached_property
    def media_types(self) -> frozenset[str]:
        """Those of all its entities."""
        return frozenset([entity.media_type for entity in self.entities])

    @cached_property
    def related(self) -> frozenset[Span]:
        """Spans of the leaves that accompany the root of a multipart/related, its first part (RFC 2387 §3.2)."""
        spans: set[Span] = set()
        for entity in self.entities:
            if entity.media_type == "multipart/related":
                spans |= {leaf.span for part in entity.children[1:] for leaf in part.walk() if not leaf.children}
        return frozenset(spans)

    @cached_property
    def attachments(self) -> tuple[Entity, ...]:
        """Leaves that may be documents: all but texts and reports that are neither named nor documents by their octets.

        One level of message/rfc822.
        """
        return tuple([entity for entity in self.entities if not entity.children and self._may_be_document(entity)])

    def head(self, entity: Entity) -> bytes:
        """The first octets of the body of `entity`, decoded: enough to tell what it is."""
        return head(memoryview(self.raw)[entity.body.start : entity.body.end], entity.encoding, SNIFF)

    def _may_be_document(self, entity: Entity) -> bool:
        if entity.filename is not None or entity.disposition == "attachment":
            return True
        if entity.media_type.startswith("multipart/"):
            return False
        if entity.media_type not in SHOWN_TEXTS and not entity.media_type.startswith("message/"):
            return True
        return is_document(self.head(entity), entity.media_type)


def is_document(octets: bytes, media_type: str) -> bool:
    """Do these first octets of a text, or of a report, begin a document that its label does not announce?

    Plain text, HTML, header fields and a PGP block are what a text holds; XML that is no invoice may be XHTML.
    """
    kind = file_type(octets)
    if kind == "text/xml":
        return media_type != "text/html" or _INVOICE.search(octets) is not None
    if kind in (None, "text/html", "message/rfc822", "application/pgp-encrypted"):
        before, header, _ = octets.partition(b"%PDF-")
        named_in_prose = header and _CONTROL.search(before) is None and before.strip()
        return (is_pdf(octets) and not named_in_prose) or octets.startswith(_UTF16_MARKUP)
    return True


_INVOICE = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,30}:)?(?:CrossIndustry\w{0,40}|Invoice|CreditNote|Order\w{0,30})[\s>]")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_UTF16_MARKUP = (b"\xff\xfe<\x00", b"\xfe\xff\x00<")


class MalformedMail(ValueError):
    """The structure is too broken, or too large, to be read whole; what is not read whole is not relayed.

    str() is an English sentence without content of the message. defect: its name ("nesting-too-deep", …). figure: the
    limit that was passed, "" where there is none.
    """

    def __init__(self, name: str, figure: str = "") -> None:
        super().__init__(defect(name, "en", figure))
        self.defect, self.figure = name, figure

    def text(self, language: str = "en") -> str:
        """The sentence in "en" or "fr"."""
        return defect(self.defect, language, self.figure)
