"""The content of a message as the client sends it, by DATA or by BDAT: decoders, which are pure (RFC 5321 §2.3.8,
§4.5.2; RFC 3030 §2), and readers, which keep the limits of size and memory."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from relay.mime.line_ends import repair
from relay.mime.rewriting import find_dotted
from relay.replies import Reply
from relay.smtpd.limits import Limits, MemoryBudget

TOO_LARGE = Reply(552, "5.3.4", "message exceeds maximum size")
NO_MEMORY = Reply(452, "4.3.1", "too many messages at once, try again later")

Octets = bytes | bytearray | memoryview

_END = b"\r\n.\r\n"
_TAIL = len(_END) - 1


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

    def feed(self, chunk: Octets) -> bytes | None:
        """Add `chunk`. None while the end is not reached, else the octets after the end."""
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
        """Keep nothing more, for a reason from outside; the end is still searched for."""
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


_ARGUMENTS = re.compile(r"([0-9]{1,20})(?: +(LAST))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a BDAT command announces: the number of octets that follow; last: they end the message."""

    size: int
    last: bool


def parse_bdat(arg: str) -> Chunk | None:
    """The arguments of BDAT; None: bad syntax, the number of octets that follow is unknown."""
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

    def feed(self, octets: Octets) -> None:
        if self.refusal is None:
            self._buffer += octets
        else:
            self.discarded += len(octets)

    def refuse(self, reply: Reply) -> None:
        """Keep nothing more; the first reason stays."""
        self.refusal = self.refusal or reply
        self.discarded += len(self._buffer)
        self._buffer = bytearray()

    def take(self) -> bytes:
        """The message as DATA would have brought it: a missing CR LF at its end is added."""
        buffer, self._buffer = self._buffer, bytearray()
        if buffer and not buffer.endswith(b"\r\n"):
            buffer += b"\r\n"
        return bytes(buffer)


class EndlessMessage(Exception):
    """A message far over its limit is not read to its end: the session answers `reply` and closes."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class MemoryReservation:
    """The part of the shared memory budget that one message holds."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._held = 0

    def resize(self, octets: int) -> bool:
        """Hold exactly `octets`. False: there is no room, and what was held is still held."""
        more = octets - self._held
        if more > 0 and not self._budget.reserve(more, held=self._held):
            return False
        if more < 0:
            self._budget.release(-more)
        self._held = octets
        return True

    def release(self) -> None:
        self._budget.release(self._held)
        self._held = 0


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message as it came, un-stuffed. Its receiver releases `memory`."""

    raw: bytes
    memory: MemoryReservation


class DataReader:
    """Reads the content of one DATA. Over a limit the rest is discarded: at most twice the size limit and 1 MiB."""

    def __init__(self, limits: Callable[[], Limits], budget: MemoryBudget) -> None:
        self._limits = limits
        self._discard_limit = _discard_limit(limits())
        self._decoder = DataDecoder(limits().max_mail_size)
        self._memory = MemoryReservation(budget)

    def feed(self, octets: Octets) -> bytes | None:
        """Add `octets`. None while the end is not reached, else the octets after the end. Raises EndlessMessage."""
        decoder = self._decoder
        rest = decoder.feed(octets)
        if not self._memory.resize(len(decoder)):
            decoder.refuse(NO_MEMORY)
            self._memory.resize(len(decoder))
        if rest is None and decoder.refusal is not None and decoder.discarded > self._discard_limit:
            raise EndlessMessage(decoder.refusal)
        return rest

    def take(self) -> ReceivedMessage | Reply:
        """After the end: the message, or why it is refused."""
        refusal = self._decoder.refusal
        if refusal is not None:
            self._memory.release()
            return refusal
        return _received(self._decoder.take(), self._memory, self._limits())

    def release(self) -> None:
        """Discard what was read."""
        self._decoder.refuse(NO_MEMORY)
        self._memory.release()


class BdatReader:
    """Reads the chunks of one message, each announced by `begin`. refusal: discard all of them."""

    def __init__(self, limits: Callable[[], Limits], budget: MemoryBudget, refusal: Reply | None = None) -> None:
        self._limits = limits
        self._discard_limit = _discard_limit(limits())
        self._decoder = BdatDecoder(limits().max_mail_size)
        self._memory = MemoryReservation(budget)
        self._left = 0
        if refusal is not None:
            self._decoder.refuse(refusal)

    @property
    def refusal(self) -> Reply | None:
        return self._decoder.refusal

    @property
    def missing(self) -> int:
        """Octets of the current chunk that have not come."""
        return self._left

    def begin(self, size: int) -> None:
        """`size` octets follow. Raises EndlessMessage when they are too many to discard."""
        self._decoder.expect(size)
        if self._decoder.refusal is not None and self._decoder.discarded + size > self._discard_limit:
            raise EndlessMessage(self._decoder.refusal)
        self._left = size

    def feed(self, octets: Octets) -> bytes | None:
        """Add `octets`. None while the chunk's end is not reached, else the octets after the end."""
        chunk = octets[: self._left]
        self._left -= len(chunk)
        self._decoder.feed(chunk)
        if not self._memory.resize(len(self._decoder)):
            self._decoder.refuse(NO_MEMORY)
            self._memory.release()
        return None if self._left else bytes(octets[len(chunk) :])

    def take(self) -> ReceivedMessage | Reply:
        """After the last chunk: the message, or why it is refused."""
        refusal = self._decoder.refusal
        if refusal is not None:
            self._memory.release()
            return refusal
        return _received(self._decoder.take(), self._memory, self._limits())

    def release(self) -> None:
        """Discard what was read."""
        self._decoder.refuse(NO_MEMORY)
        self._memory.release()


def _discard_limit(limits: Limits) -> int:
    return 2 * limits.max_mail_size + 1024 * 1024


def _received(raw: bytes, memory: MemoryReservation, limits: Limits) -> ReceivedMessage | Reply:
    if limits.bare_lf == "repair":
        size = len(raw) + raw.count(b"\n") - raw.count(b"\r\n")
        refusal = TOO_LARGE if size > limits.max_mail_size else None if memory.resize(size) else NO_MEMORY
        if refusal is not None:
            memory.release()
            return refusal
        raw = repair(raw)
    return ReceivedMessage(raw, memory)
