"""A mail for a next hop without 8BITMIME: the text of the letter as quoted-printable, all else octet for octet.

What is recoded is planned at acceptance, so that each attempt which needs it sends the same octets. Documents are never
recoded: with 8-bit octets outside of the letter's text the mail cannot leave there.
"""

import binascii
from collections.abc import Iterator, Sequence

from relay.mail.message import Entity, Message
from relay.mail.rewrite import merge
from relay.mail.traits import is_signed
from relay.model import Recoding, Span

FIELD = b"Content-Transfer-Encoding: quoted-printable\r\n"
_IDENTITY = frozenset({"7bit", "8bit", "binary"})


def recodings(message: Message, cuts: Sequence[Span]) -> tuple[Recoding, ...]:
    """Texts of `message` without a file name that have 8-bit octets and are not cut; none of a signed mail."""
    texts = [entity for entity in _texts(message) if not any(cut.start <= entity.body.start < cut.end for cut in cuts)]
    if not texts or is_signed(message):
        return ()
    return tuple(Recoding(_field(entity), entity.body) for entity in texts)


def render_recoded(
    raw: bytes, prepend: bytes, cuts: Sequence[Span], recodings: Sequence[Recoding]
) -> list[bytes | memoryview]:
    """As `rewrite.render`, with the texts recoded. Raises ValueError when cuts and recodings overlap or lie outside."""
    edits: list[tuple[Span, bytes]] = [(cut, b"") for cut in merge(cuts)]
    for each in recodings:
        edits += [(each.field, FIELD), (each.body, _quoted_printable(raw[each.body.start : each.body.end]))]
    view, place = memoryview(raw), 0
    pieces: list[bytes | memoryview] = [prepend]
    for (start, end), octets in sorted(edits):
        if not place <= start <= end <= len(raw):
            raise ValueError(f"a change at {start}-{end} lies outside of a mail of {len(raw)} octets or in another")
        pieces += [view[place:start], octets]
        place = end
    pieces.append(view[place:])
    return [piece for piece in pieces if len(piece)]


def _texts(message: Message) -> Iterator[Entity]:
    documents = {entity.span for entity in message.attachments}
    for entity in message.entities:
        letter = not entity.children and entity.media_type.startswith("text/") and entity.span not in documents
        start, end = entity.body
        if letter and entity.encoding in _IDENTITY and not message.raw[start:end].isascii():
            yield entity


def _field(entity: Entity) -> Span:
    start = entity.headers[0].span.start if entity.headers else entity.span.start
    named = (header.span for header in entity.headers if header.name == "content-transfer-encoding")
    return next(named, Span(start, start))


def _quoted_printable(text: bytes) -> bytes:
    """Lines of 76 characters at most; their ends are CRLF also in a text of a single line."""
    return binascii.b2a_qp(text, istext=True).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
