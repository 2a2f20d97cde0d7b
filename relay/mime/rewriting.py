"""A message without some of its parts: octets are cut, never re-printed; dot-stuffing; 8-bit parts for a server
without 8BITMIME."""

import binascii
from collections.abc import Collection, Iterable, Iterator, Sequence

from relay.mime.classification import is_signed
from relay.mime.message import Entity, MimeMessage
from relay.model import Recoding, Span


def render(raw: bytes, prepend: bytes, cuts: Sequence[Span]) -> list[memoryview]:
    """The outgoing message: `prepend`, then `raw` without `cuts`. No plan, no change: [raw].

    Raises ValueError when a cut lies outside of `raw`: a plan that is not of this message must not leave.
    """
    view = memoryview(raw)
    pieces = [memoryview(prepend)] if prepend else []
    pieces += [view[start:end] for start, end in _kept(len(raw), cuts)]
    return pieces


def size(raw: bytes, prepend: bytes, cuts: Sequence[Span]) -> int:
    """Octets of the outgoing message, without making it. Raises as `render`."""
    return len(prepend) + sum([end - start for start, end in _kept(len(raw), cuts)])


def merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """`spans` ascending and disjoint: overlapping and touching ones become one, empty ones go."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if merged and start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, end))
        else:
            merged.append(Span(start, end))
    return tuple(merged)


def header_cuts(message: MimeMessage, names: Collection[str]) -> tuple[Span, ...]:
    """The fields of the message's own header whose name (any case) is one of `names`."""
    wanted = {name.lower() for name in names}
    return merge(header.span for header in message.root.headers if header.name in wanted)


def part_cuts(message: MimeMessage, parts: Iterable[Entity]) -> tuple[Span, ...]:
    """What to cut so that `parts` are gone and every multipart keeps a part (rfc2046#5.1.1 wants one at least).

    A multipart, or a forwarded message, of which nothing is left goes whole. The message itself stays: when all of it
    is asked for, only its parts go.
    """
    gone = {part.span for part in parts}
    return merge(_cuts(message.root, gone))


def _cuts(entity: Entity, gone: Collection[Span]) -> list[Span]:
    cuts: list[Span] = []
    for child in entity.children:
        cuts += [child.cut] if _is_gone(child, gone) else _cuts(child, gone)
    return cuts


def _is_gone(entity: Entity, gone: Collection[Span]) -> bool:
    if entity.span in gone:
        return True
    return bool(entity.children) and all(_is_gone(child, gone) for child in entity.children)


def _kept(length: int, cuts: Sequence[Span]) -> list[Span]:
    kept, place = [], 0
    for start, end in merge(cuts):
        if start < 0 or end > length:
            raise ValueError(f"cut {start}-{end} lies outside of a message of {length} octets")
        if start > place:
            kept.append(Span(place, start))
        place = end
    if place < length:
        kept.append(Span(place, length))
    return kept


_FEW = 100


def find_dotted(octets: bytes | bytearray, pattern: bytes, start: int = 0) -> int:
    """`octets.find(pattern, start)` for a pattern that begins with `<CRLF>.`: the index, or -1."""
    size, dot = len(pattern), start + 1
    for _ in range(_FEW):
        dot = octets.find(b".", dot + 1)
        if dot < 0:
            return -1
        if octets[dot - 2 : dot - 2 + size] == pattern:
            return dot - 2
    return octets.find(pattern, dot - 1)


FIELD = b"Content-Transfer-Encoding: quoted-printable\r\n"
_IDENTITY = frozenset({"7bit", "8bit", "binary"})


def recodings(message: MimeMessage, cuts: Sequence[Span]) -> tuple[Recoding, ...]:
    """Texts of `message` without a file name that have 8-bit octets and are not cut; none of a signed message."""
    texts = [entity for entity in _texts(message) if not any(cut.start <= entity.body.start < cut.end for cut in cuts)]
    if not texts or is_signed(message):
        return ()
    return tuple(Recoding(_field(entity), entity.body) for entity in texts)


def render_recoded(
    raw: bytes, prepend: bytes, cuts: Sequence[Span], recodings: Sequence[Recoding]
) -> list[bytes | memoryview]:
    """As `render`, with the texts recoded. Raises ValueError when cuts and recodings overlap or lie outside."""
    edits: list[tuple[Span, bytes]] = [(cut, b"") for cut in merge(cuts)]
    for recoding in recodings:
        body = recoding.body
        edits += [(recoding.field, FIELD), (body, _quoted_printable(raw[body.start : body.end]))]
    view, place = memoryview(raw), 0
    pieces: list[bytes | memoryview] = [prepend]
    for (start, end), octets in sorted(edits):
        if not place <= start <= end <= len(raw):
            raise ValueError(f"a change at {start}-{end} lies outside of a message of {len(raw)} octets or in another")
        pieces += [view[place:start], octets]
        place = end
    pieces.append(view[place:])
    return [piece for piece in pieces if len(piece)]


def _texts(message: MimeMessage) -> Iterator[Entity]:
    documents = {entity.span for entity in message.attachments}
    for entity in message.entities:
        is_text = not entity.children and entity.media_type.startswith("text/") and entity.span not in documents
        start, end = entity.body
        if is_text and entity.encoding in _IDENTITY and not message.raw[start:end].isascii():
            yield entity


def _field(entity: Entity) -> Span:
    start = entity.headers[0].span.start if entity.headers else entity.span.start
    named = (header.span for header in entity.headers if header.name == "content-transfer-encoding")
    return next(named, Span(start, start))


def _quoted_printable(text: bytes) -> bytes:
    """Lines of 76 characters at most; their ends are CRLF also in a text of a single line."""
    return binascii.b2a_qp(text, istext=True).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
