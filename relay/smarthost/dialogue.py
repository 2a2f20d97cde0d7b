"""The client's half of an SMTP dialogue: writes commands and slices, reads replies within limits.

It takes over the transport that aiosmtplib opened, secured and authenticated: aiosmtplib can neither pipeline nor send
a content in slices (shared/SPEED.md, point 7).
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import cast

from relay.patience import Patience
from relay.reply import Reply, clean, remote
from relay.smarthost.content import Octets

MAX_LINE = 4096
MAX_REPLY = 1 << 16
MAX_WAITING = 200
_LINE = re.compile(rb"([0-9]{3})(?:([ -])(.*))?", re.DOTALL)


class Lost(Exception):
    """The connection is gone."""


class Garbage(Exception):
    """What came is not an SMTP reply, or one without end."""


class Dialogue(asyncio.Protocol):
    """One connection with the next hop.

    extensions: keyword (lower case) -> parameters, as EHLO told. esmtp: it was greeted by EHLO and not by HELO.
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
        self._fault: Lost | Garbage | None = None
        self._paused = False
        self._late = False
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._patience = Patience(self._loop, self._expired)
        self._forgotten: Callable[[], None] = self.close

    @property
    def usable(self) -> bool:
        """Open, and in step: nothing was said by the other side that nobody asked for."""
        quiet = not self._replies and not self._buffer and not self._outstanding
        return self._fault is None and quiet and not self._transport.is_closing()

    @property
    def spoken(self) -> bool:
        """A reply, or the end of the connection, is there to be read."""
        return bool(self._replies) or self._fault is not None

    @property
    def stuck(self) -> bool:
        """The next hop has not taken the last octets that were sent."""
        return self._paused

    def command(self, *lines: bytes) -> None:
        """Send command lines (with their CRLF) in one packet; one reply is due for each."""
        self._outstanding += len(lines)
        self._write(lines[0] if len(lines) == 1 else b"".join(lines))

    async def end(self, last: Octets, seconds: float) -> None:
        """Send the last slice of a content, with the final dot; its reply is due.

        Raises Lost, TimeoutError: then the dot certainly did not leave.
        """
        self._outstanding += 1
        await self.slice(last, seconds)

    async def slice(self, octets: Octets, seconds: float) -> None:
        """Send a part of the content and wait until it has been taken. Raises Lost, TimeoutError."""
        self._write(octets)
        if self._paused and not self.spoken:
            self._patience.begin(seconds)
            while self._paused and not self.spoken:
                await self._changed()
            self._patience.end()
        if not self.spoken:
            self._check()

    async def reply(self, seconds: float) -> Reply:
        """The next reply, whole. Raises Lost, Garbage, TimeoutError."""
        if not self._replies:
            self._patience.begin(seconds)
            while not self._replies:
                if self._fault is not None:
                    raise self._fault
                await self._changed()
            self._patience.end()
        self._outstanding -= 1
        return self._replies.popleft()

    def rest(self, seconds: float, forgotten: Callable[[], None]) -> None:
        """Nothing to send for the moment: `forgotten` is called unless `resume` is within `seconds`."""
        self._forgotten = forgotten
        self._patience.begin(seconds)

    def resume(self) -> None:
        """There is something to send again."""
        self._patience.end()

    def close(self) -> None:
        """Leave as the protocol asks, as far as that is still possible."""
        if self.usable:
            self._write(b"QUIT\r\n")
        self._transport.close()

    def abort(self) -> None:
        """Leave at once; what was not sent is not sent any more."""
        self._transport.abort()

    def _write(self, octets: Octets) -> None:
        if self._fault is None and not self._transport.is_closing():
            self._transport.write(octets)

    def _check(self) -> None:
        """A failed write closes the transport at once, and tells the protocol in the next turn of the loop."""
        if self._fault is not None or self._transport.is_closing():
            raise Lost(str(self._fault or "connection broken while writing"))

    async def _changed(self) -> None:
        if self._late:
            raise TimeoutError
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _expired(self) -> None:
        if self._waiter is None:
            self._forgotten()
        else:
            self._late = True
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._fault is None:
            self._fault = Lost(clean(str(exc)) if exc else "closed by the next hop")
        self._patience.close()
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
        except Garbage as garbage:
            self._fault = garbage
            self._transport.abort()
        self._wake()

    def _read_lines(self) -> None:
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._read_line(line.rstrip(b"\r"))
        if len(self._buffer) > MAX_LINE:
            raise Garbage("a reply line without end")

    def _read_line(self, line: bytes) -> None:
        """rfc5321#4.2.1: code, then `-` when more lines follow. The last line's code counts."""
        size, read = len(line), _LINE.fullmatch(line)
        if size > MAX_LINE or read is None:
            raise Garbage(repr(line[:80]))
        self._octets += size
        if self._octets > MAX_REPLY or len(self._replies) >= MAX_WAITING:
            raise Garbage("a reply without end")
        code, mark, text = read.groups(b"")
        self._lines.append(text.decode("utf-8", "replace"))
        if mark != b"-":
            self._replies.append(_known(int(code), "\n".join(self._lines)))
            self._lines, self._octets = [], 0


_known = lru_cache(maxsize=64)(remote)  # the same words for each MAIL, RCPT and DATA
