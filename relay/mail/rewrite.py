"""Carry a plan out: the mail that leaves as slices of the mail that came (DESIGN rule 4). Nothing is copied."""

from collections.abc import Collection, Iterable, Sequence

from relay.mail.message import Entity, Message
from relay.model import Span


def render(raw: bytes, prepend: bytes, cuts: Sequence[Span]) -> list[memoryview]:
    """The outgoing mail: `prepend`, then `raw` without `cuts`. No plan, no change: [raw].

    Raises ValueError when a cut lies outside of `raw`: a plan that is not of this mail must not leave.
    """
    view = memoryview(raw)
    pieces = [memoryview(prepend)] if prepend else []
    pieces += [view[start:end] for start, end in _kept(len(raw), cuts)]
    return pieces


def size(raw: bytes, prepend: bytes, cuts: Sequence[Span]) -> int:
    """Octets of the outgoing mail, without making it. Raises as `render`."""
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


def header_cuts(message: Message, names: Collection[str]) -> tuple[Span, ...]:
    """The fields of the mail's own header whose name (any case) is one of `names`."""
    wanted = {name.lower() for name in names}
    return merge(header.span for header in message.root.headers if header.name in wanted)


def part_cuts(message: Message, parts: Iterable[Entity]) -> tuple[Span, ...]:
    """What to cut so that `parts` are gone and every multipart keeps a part (rfc2046#5.1.1 wants one at least).

    A multipart, or a forwarded mail, of which nothing is left goes whole. The mail itself stays: when all of it is
    asked for, only its parts go.
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
            raise ValueError(f"cut {start}-{end} lies outside of a mail of {length} octets")
        if start > place:
            kept.append(Span(place, start))
        place = end
    if place < length:
        kept.append(Span(place, length))
    return kept
