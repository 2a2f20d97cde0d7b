"""The content of a mail on its way out: dot-stuffed slices, its size, and whether it has 8-bit octets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relay.mail.dots import find_dotted

Octets = bytes | bytearray | memoryview

SLICE = 1 << 18
FINAL_DOT = b".\r\n"
_END_OF_HEADER = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Content:
    """pieces: what goes on the wire after 354, the final dot at its end; each at most `SLICE` octets long.

    size: octets before dot-stuffing, as declared by SIZE (RFC 1870 §5). eightbit: has octets over 127.
    utf8_header: the header has some (RFC 6532).
    """

    pieces: tuple[Octets, ...]
    size: int
    eightbit: bool
    utf8_header: bool


def prepare(chunks: Sequence[Octets]) -> Content:
    """`chunks`, one after the other, are the mail in CRLF lines; an end of line missing at the end is added.

    The octets are copied once.
    """
    whole = b"".join((*chunks, FINAL_DOT if _ends_a_line(chunks) else b"\r\n" + FINAL_DOT))
    eightbit = not whole.isascii()
    return Content(
        pieces=tuple(_sliced(_stuffed(whole))),
        size=len(whole) - len(FINAL_DOT),
        eightbit=eightbit,
        utf8_header=eightbit and not whole[: whole.find(_END_OF_HEADER)].isascii(),
    )


def _stuffed(whole: bytes) -> Iterator[Octets]:
    """`whole`, which ends with the final dot, with one more dot before each other line that starts with one
    (rfc5321#4.5.2). Without such a line it is passed on as it is."""
    starts_with_dot = whole.startswith(b".") and len(whole) > len(FINAL_DOT)
    if not starts_with_dot and find_dotted(whole, b"\r\n.") in (-1, len(whole) - len(FINAL_DOT) - 2):
        yield whole
        return
    if starts_with_dot:
        yield b"."
    yield whole[: -len(FINAL_DOT)].replace(b"\r\n.", b"\r\n..")
    yield FINAL_DOT


def _sliced(pieces: Iterator[Octets]) -> Iterator[Octets]:
    for piece in pieces:
        if len(piece) <= SLICE:
            yield piece
            continue
        view = memoryview(piece)
        for start in range(0, len(view), SLICE):
            yield view[start : start + SLICE]


def _ends_a_line(chunks: Sequence[Octets]) -> bool:
    tail = b""
    for chunk in reversed(chunks):
        tail = bytes(chunk[-2:]) + tail
        if len(tail) >= 2:
            break
    return tail[-2:] == b"\r\n" or not tail
