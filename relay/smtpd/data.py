"""The octets of one DATA or of BDAT chunks: collected, terminated, unstuffed, checked. Pure (RFC 5321 §2.3.8,
§4.5.2; RFC 3030 §2)."""

import re
from dataclasses import dataclass
from io import IncrementalNewlineDecoder

from relay.mime.rewriting import find_dotted
from relay.replies import Reply

TOO_LARGE = Reply(552, "5.3.4", "message message exceeds maximum size")
BARE = Reply(554, "5.6.11", "bare CR or LF in the message: lines must end with CR LF")
NUL = Reply(554, "5.6.11", "NUL in the message")

_END = b"\r\n.\r\n"
_TAIL = len(_END) - 1
_WINDOW = 1 << 16
_BARE_LF = re.compile(rb"(?<!\r)\n")
_LONE_DOT = re.compile(rb"(?:\A|\n)\.\r?\n")


class DataDecoder:
    """Collects what follows 354. limit: octets of the message without dot-stuffing (RFC 1870 §3).

    Over the limit it keeps no more than a terminator's length, so that the end is still found.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray(b"\r\n")  # as if a line had just ended: an empty message is ".\r\n" at once
        self.refusal: Reply | None = None
        self.discarded = 0

    def __len__(self) -> int:
        """Octets held."""
        return len(self._buffer)

    def feed(self, chunk: bytes | bytearray) -> bytes | None:
        """Add `chunk`. None while the end is not reached, else the octets that followed the end."""
        start = max(len(self._buffer) - _TAIL, 0)
        self._buffer += chunk
        end = find_dotted(self._buffer, _END, start)
        rest = None
        if end >= 0:
            rest = bytes(self._buffer[end + len(_END) :])
            del self._buffer[end + 2 :]
        if self.refusal is None and self._over(0 if end >= 0 else _TAIL):
            self.refusal = TOO_LARGE
        if self.refusal is not None:
            self._forget()
        return rest

    def refuse(self, reply: Reply) -> None:
        """Take no more, for a reason from outside; the end is still looked for."""
        self.refusal = reply
        self._forget()

    def take(self) -> bytes:
        """The message, un-stuffed, after `feed` found the end. One copy; one more where a line has a dot in front."""
        buffer, self._buffer = self._buffer, bytearray()
        if find_dotted(buffer, b"\r\n.") >= 0:
            buffer = buffer.replace(b"\r\n.", b"\r\n")
        with memoryview(buffer) as view:
            return bytes(view[2:])

    def _over(self, slack: int) -> bool:
        excess = len(self._buffer) - 2 - slack - self._limit
        return excess > 0 and excess > self._buffer.count(b"\r\n.")

    def _forget(self) -> None:
        kept = bytearray(self._buffer[-_TAIL:])
        self.discarded += len(self._buffer) - len(kept)
        self._buffer = kept


def repair(raw: bytes) -> bytes:
    """The message with a CR before each bare LF (`accept.bare_lf: repair`); a bare CR is never touched.

    Left as it is, and so refused by `flaw`, when a line is but a dot: that is how one smuggles, and no honest client
    sends it, for it would have doubled the dot of a line that it sees as one.
    """
    if raw.count(b"\n") == raw.count(b"\r\n") or _LONE_DOT.search(raw):
        return raw
    return _BARE_LF.sub(b"\r\n", raw)


def flaw(raw: bytes) -> Reply | None:
    """Why the message cannot be taken as it stands, or None.

    A bare CR or LF is refused, never repaired: what one server repairs another reads as the end of the message
    (SMTP smuggling). A line over 998 octets (rfc5322#2.1.1) is accepted, as Postfix does, and relayed as it came:
    base64 in one line is common, and a next hop that takes none says so itself.
    """
    if _has_bare_end(raw):
        return BARE
    return NUL if b"\0" in raw else None


def _has_bare_end(raw: bytes) -> bool:
    """Whether some line does not end with CR LF. Python's universal newlines note what they meet, and make no lines."""
    seen = IncrementalNewlineDecoder(None, translate=False)
    for start in range(0, len(raw), _WINDOW):
        seen.decode(raw[start : start + _WINDOW].decode("latin-1"))
    seen.decode("", final=True)
    return seen.newlines not in (None, "\r\n")


SYNTAX = Reply(501, "5.5.4", "syntax: BDAT octets [LAST]")
DATA_OR_BDAT = Reply(503, "5.5.1", "the mail is being sent by BDAT")

_ARGUMENTS = re.compile(r"([0-9]{1,20})(?: +(LAST))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What BDAT announced: so many octets follow; last: they are the end of the message."""

    size: int
    last: bool


def announced(arg: str) -> Chunk | None:
    """What follows the verb BDAT; None: nobody can know how many octets follow."""
    match = _ARGUMENTS.fullmatch(arg)
    return None if match is None else Chunk(int(match[1]), match[2] is not None)


class BdatDecoder:
    """Collects the chunks of one message. limit: octets of the whole. Once refused it keeps nothing."""

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
        """The message, as DATA would have brought it: its last line is ended where the client did not end it."""
        buffer, self._buffer = self._buffer, bytearray()
        if buffer and not buffer.endswith(b"\r\n"):
            buffer += b"\r\n"
        return bytes(buffer)
