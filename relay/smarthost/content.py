"""The content of a mail on its way out: dot-stuffed slices, its size, and whether it has 8-bit octets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relay.mail.dots import find_dotted

Octets = bytes | bytearray | memoryview

SLICE = 1 << 18
_END_OF_HEADER = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Content:
    """pieces: what goes on the wire between 354 and `.<CRLF>`, each at most `SLICE` octets long.

    size: octets before dot-stuffing, as declared by SIZE (RFC 1870 §5). eightbit: has octets over 127.
    utf8_header: the header has some (RFC 6532).
    """

    pieces: tuple[Octets, ...]
    size: int
    eightbit: bool
    utf8_header: bool


def prepare(chunks: Sequence[Octets], eightbit: bool | None = None) -> Content:
    """`chunks`, one after the other, are the mail in CRLF lines; an end of line missing at the end is added.

    eightbit: whether there are octets over 127, if the caller knows; None looks.
    """
    blocks = [chunk if isinstance(chunk, bytes) else bytes(chunk) for chunk in chunks if len(chunk)]
    if not _ends_a_line(blocks):
        blocks.append(b"\r\n")
    if eightbit is None:
        eightbit = not all(block.isascii() for block in blocks)
    return Content(
        pieces=tuple(_sliced(stuffed(blocks))),
        size=sum(map(len, blocks)),
        eightbit=eightbit,
        utf8_header=eightbit and not _header(blocks).isascii(),
    )


def stuffed(blocks: Sequence[bytes]) -> Iterator[Octets]:
    """The octets of `blocks` with one more dot before each line that starts with one (rfc5321#4.5.2).

    A block without such a line is passed on as it is; `<CRLF>.` is found across blocks too.
    """
    before = b"\r\n"
    for block in blocks:
        whole = block.replace(b"\r\n.", b"\r\n..") if find_dotted(block, b"\r\n.") >= 0 else block
        seam = (before + block[:2]).find(b"\r\n.")
        if seam < 0:
            yield whole
        else:
            yield block[:seam] + b"."
            yield memoryview(whole)[seam:]
        before = (before + block[-2:])[-2:]


def _sliced(pieces: Iterator[Octets]) -> Iterator[Octets]:
    for piece in pieces:
        if len(piece) <= SLICE:
            yield piece
            continue
        view = memoryview(piece)
        for start in range(0, len(view), SLICE):
            yield view[start : start + SLICE]


def _ends_a_line(blocks: Sequence[bytes]) -> bool:
    tail = b""
    for block in reversed(blocks):
        tail = block[-2:] + tail
        if len(tail) >= 2:
            break
    return tail[-2:] == b"\r\n" or not tail


def _header(blocks: Sequence[bytes]) -> bytes:
    head = b""
    for block in blocks:
        head += block
        end = head.find(_END_OF_HEADER)
        if end >= 0:
            return head[:end]
    return head
