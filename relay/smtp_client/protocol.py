"""The client's side of an SMTP connection: commands, replies, and the content in slices (RFC 5321 §4.2, RFC 2920)."""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from relay.idle_timer import IdleTimer
from relay.mime.rewriting import find_dotted
from relay.replies import Reply, clean, remote

Octets = bytes | bytearray | memoryview

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


MAX_LINE = 4096
MAX_REPLY = 1 << 16
MAX_WAITING = 200
_LINE = re.compile(rb"([0-9]{3})(?:([ -])(.*))?", re.DOTALL)


class ConnectionLost(Exception):
    """The connection is gone."""


class InvalidReply(Exception):
    """What was received is not an SMTP reply, or exceeds the limits."""


class ClientProtocol(asyncio.Protocol):
    """One connection with the next hop.

    extensions: keyword (lower case) -> parameters, as in the reply to EHLO. esmtp: EHLO was accepted (not only HELO).
    uses: transactions so far. dirty: RSET is due.
    """

    def __init__(
        self, transport: asyncio.WriteTransport, extensions: Mapping[str, str], opened: float, esmtp: bool = True
    ) -> None:
        self.extensions = extensions
        self.opened = opened
        self.esmtp = esmtp
        self.uses = 0
        self.dirty = False
        self._transport = transport
        self._replies: deque[Reply] = deque()
        self._outstanding = 0
        self._buffer = b""
        self._code = 0
        self._lines: list[str] = []
        self._octets = 0
        self._fault: ConnectionLost | InvalidReply | None = None
        self._paused = False
        self._timed_out = False
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = IdleTimer(self._loop, self._expired)
        self._on_idle: Callable[[], None] = self.close

    @property
    def usable(self) -> bool:
        """Open and in sync: no reply was received that no command asked for."""
        quiet = not self._replies and not self._buffer and not self._outstanding
        return self._fault is None and quiet and not self._transport.is_closing()

    @property
    def has_reply(self) -> bool:
        """A reply, or the end of the connection, has been received."""
        return bool(self._replies) or self._fault is not None

    @property
    def write_blocked(self) -> bool:
        """The next hop has not taken the last octets that were sent."""
        return self._paused

    def command(self, *lines: bytes) -> None:
        """Send command lines (with their CRLF) in one packet; one reply is due for each."""
        self._outstanding += len(lines)
        self._write(lines[0] if len(lines) == 1 else b"".join(lines))

    async def finish_content(self, last: Octets, seconds: float) -> None:
        """Send the last slice of a content, with the final dot; its reply is due.

        Raises ConnectionLost, TimeoutError: then the final dot was certainly not sent.
        """
        self._outstanding += 1
        await self.send_slice(last, seconds)

    async def send_slice(self, octets: Octets, seconds: float) -> None:
        """Send a part of the content and wait until it has been taken. Raises ConnectionLost, TimeoutError."""
        self._write(octets)
        if self._paused and not self.has_reply:
            self._timer.begin(seconds)
            while self._paused and not self.has_reply:
                await self._wait_for_change()
            self._timer.end()
        if not self.has_reply:
            self._check()

    async def reply(self, seconds: float) -> Reply:
        """The next reply, whole. Raises ConnectionLost, InvalidReply, TimeoutError."""
        if not self._replies:
            self._timer.begin(seconds)
            while not self._replies:
                if self._fault is not None:
                    raise self._fault
                await self._wait_for_change()
            self._timer.end()
        self._outstanding -= 1
        return self._replies.popleft()

    def park(self, seconds: float, on_idle: Callable[[], None]) -> None:
        """Keep the connection idle: `on_idle` is called unless `unpark` is called within `seconds`."""
        self._on_idle = on_idle
        self._timer.begin(seconds)

    def unpark(self) -> None:
        """Take the connection back into use."""
        self._timer.end()

    def close(self) -> None:
        """Close the connection, with QUIT if it is in sync."""
        if self.usable:
            self._write(b"QUIT\r\n")
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once; what is not sent yet is not sent."""
        self._transport.abort()

    def _write(self, octets: Octets) -> None:
        if self._fault is None and not self._transport.is_closing():
            self._transport.write(octets)

    def _check(self) -> None:
        """A failed write closes the transport at once, and tells the protocol in the next turn of the loop."""
        if self._fault is not None or self._transport.is_closing():
            raise ConnectionLost(str(self._fault or "connection broken while writing"))

    async def _wait_for_change(self) -> None:
        if self._timed_out:
            raise TimeoutError
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _expired(self) -> None:
        if self._waiter is None:
            self._on_idle()
        else:
            self._timed_out = True
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._fault is None:
            self._fault = ConnectionLost(clean(str(exc)) if exc else "closed by the next hop")
        self._timer.close()
        self._wake()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def data_received(self, data: bytes) -> None:
        if self._fault is not None:
            return
        self._buffer += data
        try:
            self._read_lines()
        except InvalidReply as garbage:
            self._fault = garbage
            self._transport.abort()
        self._wake()

    def _read_lines(self) -> None:
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._read_line(line.rstrip(b"\r"))
        if len(self._buffer) > MAX_LINE:
            raise InvalidReply("a reply line without end")

    def _read_line(self, line: bytes) -> None:
        """rfc5321#4.2.1: code, then `-` when more lines follow. The last line's code counts."""
        size, read = len(line), _LINE.fullmatch(line)
        if size > MAX_LINE or read is None:
            raise InvalidReply(repr(line[:80]))
        self._octets += size
        if self._octets > MAX_REPLY or len(self._replies) >= MAX_WAITING:
            raise InvalidReply("a reply without end")
        code, mark, text = read.groups(b"")
        self._lines.append(text.decode("utf-8", "replace"))
        if mark != b"-":
            self._replies.append(_cached_reply(int(code), "\n".join(self._lines)))
            self._lines, self._octets = [], 0


_cached_reply = lru_cache(maxsize=64)(remote)  # the same words for each MAIL, RCPT and DATA
