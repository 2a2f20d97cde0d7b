"""A message as it leaves: its envelope, and its content ready for the wire (RFC 5321 §4.5.2)."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from relay.mime.rewriting import find_dotted

Octets = bytes | bytearray | memoryview

SevenBit = Callable[[], Awaitable[Sequence[Octets]]]
"""Makes a content for a next hop without 8BITMIME."""

SLICE = 1 << 18
FINAL_DOT = b".\r\n"
_END_OF_HEADER = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class OutgoingContent:
    """pieces: what goes on the wire after 354, the final dot at its end; each at most `SLICE` octets long.

    size: octets before dot-stuffing, as declared by SIZE (RFC 1870 §5). eightbit: has octets over 127.
    utf8_header: the header has some (RFC 6532).
    """

    pieces: tuple[Octets, ...]
    size: int
    eightbit: bool
    utf8_header: bool


def prepare(chunks: Sequence[Octets]) -> OutgoingContent:
    """`chunks`, one after the other, are the message in CRLF lines; an end of line missing at the end is added.

    The octets are copied once.
    """
    whole = b"".join((*chunks, FINAL_DOT if _ends_a_line(chunks) else b"\r\n" + FINAL_DOT))
    eightbit = not whole.isascii()
    return OutgoingContent(
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


HELO_ATTEMPTS = 3
"""Before this attempt, a next hop that rejected EHLO is expected to accept it again."""


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """What is to be sent. `sender` "" is the null sender; smtputf8: it was submitted so (RFC 6531).

    attempt: of this delivery, from 1. seven_bit: makes the content for a next hop without 8BITMIME, if that can be.
    """

    sender: str
    recipients: tuple[str, ...]
    content: OutgoingContent
    smtputf8: bool = False
    attempt: int = 1
    seven_bit: SevenBit | None = None

    @property
    def needs_smtputf8(self) -> bool:
        addresses_ascii = self.sender.isascii() and all(map(str.isascii, self.recipients))
        return not addresses_ascii or (self.smtputf8 and self.content.utf8_header)


def outgoing_message(
    sender: str, recipients: Sequence[str], chunks: Sequence[Octets], smtputf8: bool = False
) -> OutgoingMessage:
    """chunks: the message, in order, CRLF lines, without dot-stuffing; they are copied once."""
    return OutgoingMessage(sender, tuple(dict.fromkeys(recipients)), prepare(chunks), smtputf8)
