"""Message: a mail as spans over its raw octets. Nothing is decoded or copied until somebody asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from relay.model import Span


class Header(NamedTuple):
    """One header field. `name` lower case; `span` the whole field with its CRLF; `value` unfolded, not decoded."""

    name: str
    span: Span
    value: str


@dataclass(frozen=True, slots=True)
class Entity:
    """One MIME entity (RFC 2045 §2.4).

    span: its octets, from the first of its header to the last of its body.
    cut: what to remove from the mail so that the entity is gone and the rest stays well-formed: from its own delimiter
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
        """This entity and all below it, in the order of the mail."""
        found = [self]
        for child in self.children:
            found += child.walk()
        return found

    def first(self, name: str) -> str | None:
        """Value of the first header field `name` (lower case), or None."""
        for header in self.headers:
            if header.name == name:
                return header.value
        return None


@dataclass(frozen=True)
class Message:
    """A parsed mail. `defects`: names of what is odd but survivable ("missing-final-boundary", …)."""

    raw: bytes
    root: Entity
    defects: tuple[str, ...] = ()

    @cached_property
    def entities(self) -> tuple[Entity, ...]:
        """All entities in the order of the mail, the root first."""
        return tuple(self.root.walk())

    @cached_property
    def media_types(self) -> frozenset[str]:
        """Those of all its entities."""
        return frozenset([entity.media_type for entity in self.entities])

    @cached_property
    def attachments(self) -> tuple[Entity, ...]:
        """Leaves that may be documents: everything but text bodies without a file name. One level of rfc822."""
        return tuple([entity for entity in self.entities if not entity.children and _may_be_document(entity)])


def _may_be_document(entity: Entity) -> bool:
    if entity.filename is not None or entity.disposition == "attachment":
        return True
    return not entity.media_type.startswith(("text/", "multipart/", "message/"))
