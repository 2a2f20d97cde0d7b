"""BDAT: the octets of one mail in counted chunks (RFC 3030 §2). Pure; the reading is `relay.smtpd.reception`'s."""

import re
from dataclasses import dataclass

from relay.reply import Reply
from relay.smtpd.content import TOO_LARGE

SYNTAX = Reply(501, "5.5.4", "syntax: BDAT octets [LAST]")
DATA_OR_BDAT = Reply(503, "5.5.1", "the mail is being sent by BDAT")

_ARGUMENTS = re.compile(r"([0-9]{1,20})(?: +(LAST))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What BDAT announced: so many octets follow; last: they are the end of the mail."""

    size: int
    last: bool


def announced(arg: str) -> Chunk | None:
    """What follows the verb BDAT; None: nobody can know how many octets follow."""
    match = _ARGUMENTS.fullmatch(arg)
    return None if match is None else Chunk(int(match[1]), match[2] is not None)


class Chunks:
    """Collects the chunks of one mail. limit: octets of the whole. Once refused it keeps nothing."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self.refusal: Reply | None = None
        self.discarded = 0

    def __len__(self) -> int:
        """Octets held."""
        return len(self._buffer)

    def expect(self, size: int) -> None:
        """`size` more octets are announced: what would be too large is refused before it is read."""
        if len(self._buffer) + size > self._limit:
            self.refuse(TOO_LARGE)

    def feed(self, octets: bytes | bytearray) -> None:
        if self.refusal is None:
            self._buffer += octets
        else:
            self.discarded += len(octets)

    def refuse(self, reply: Reply) -> None:
        """Take no more; the first reason stays."""
        self.refusal = self.refusal or reply
        self.discarded += len(self._buffer)
        self._buffer = bytearray()

    def take(self) -> bytes:
        """The mail, as DATA would have brought it: its last line is ended where the client did not end it."""
        buffer, self._buffer = self._buffer, bytearray()
        if buffer and not buffer.endswith(b"\r\n"):
            buffer += b"\r\n"
        return bytes(buffer)
