"""The octets of one connection: lines read, replies written, time. Neither SMTP commands nor TLS are known here.

Built on `aiosmtpd.smtp.SMTP`, whose reader, timers, error answers and command loop are replaced.
Replies are gathered and leave together when the client has nothing more in the pipe (RFC 2920 §3.2)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from aiosmtpd.smtp import SMTP

from relay.idle_timer import IdleTimer
from relay.replies import Reply
from relay.single_line import replace_unprintable
from relay.smtpd.limits import AUTH_LINE_LIMIT, LINE_LIMIT
from relay.smtpd.listener import ListenerState, ServerContext

BUFFER = 64 * 1024
SKIPPED_LIMIT = 1024 * 1024  # octets of one over-long line passed over before we hang up

TIMEOUT = Reply(421, "4.4.2", "timeout, closing")


class LineTooLong(Exception):
    """A command line over the limit; it has been read to its end."""


class SessionEnded(Exception):
    """The session ends; what was said is sent first."""


class _Nameless:
    """aiosmtpd looks for commands, mechanisms and hooks among all names of a session and its handler, each time."""

    def __dir__(self) -> tuple[str, ...]:
        return ()


_HANDLER = _Nameless()


class LineTransport(_Nameless, SMTP):
    """Octets, lines and time of one peer. `_verbs`: the commands of a subclass, by their verb."""

    line_length_limit = 2 * BUFFER  # of the reader, which stops the socket at twice that: what one recv brings must fit

    transport: Any  # loosely typed by asyncio: one of its transports, or None once lost
    _reader: Any
    _writer: Any
    _timeout_handle: Any
    _handler_coroutine: Any
    _verbs: ClassVar[dict[str, Callable[[Any, str], Awaitable[None]]]] = {}
    _paused: bool  # of asyncio's: the peer reads more slowly than we write
    handing = False  # a message is with the intake: its reply must still be sent
    amid = False  # in the octets of a message: what comes next is no command
    midway = False  # between two chunks of a message: it may be finished when we drain

    def __init__(self, post: ListenerState, house: ServerContext, ended: Callable[["LineTransport"], None]) -> None:
        self.command_size_limits: dict[str, int] = {}  # aiosmtpd shares one dictionary between all clients
        loop = asyncio.get_running_loop()
        super().__init__(_HANDLER, data_size_limit=None, enable_SMTPUTF8=True, hostname=house.hostname, loop=loop)
        self._patience = IdleTimer(loop, self._lost_patience)
        self.post = post
        self.house = house
        self._ended = ended
        self.peer = ""
        self.secure = False
        self.idle = False
        self._out = bytearray()

    def __init_subclass__(cls) -> None:
        cls._verbs = {name.removeprefix("smtp_"): getattr(cls, name) for name in dir(cls) if name.startswith("smtp_")}

    @property
    def idle_timeout(self) -> float:
        return self.house.limits().idle_timeout

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peername = transport.get_extra_info("peername")
        self.peer = str(peername[0]) if peername else ""
        super().connection_made(transport)

    def eof_received(self) -> bool | None:
        """A client may send all it has and half-close: it still gets its replies. aiosmtpd cancels the session."""
        return asyncio.StreamReaderProtocol.eof_received(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self.transport is None:
            return
        self._ended(self)
        self._patience.close()
        self._timeout_handle.cancel()
        asyncio.StreamReaderProtocol.connection_lost(self, error)  # aiosmtpd cancels the session, handing or not
        if not self.handing:
            self._handler_coroutine.cancel()
        self.transport = None

    def _reset_timeout(self, duration: float | None = None) -> None:
        """The one timer of aiosmtpd bounds the whole session here; reads and writes have their own."""
        if self._timeout_handle is None:
            self._timeout_handle = self.loop.call_later(self.house.limits().session_timeout, self._timeout_cb)

    def _timeout_cb(self) -> None:
        if self.handing:
            self._timeout_handle = self.loop.call_later(10.0, self._timeout_cb)
            return
        self.dismiss(TIMEOUT)

    def dismiss(self, reply: Reply) -> None:
        """Say a last word from outside of the session's own task, and hang up."""
        if self.transport is None or self.transport.is_closing():
            return
        if not self.secure and self.post.listener.tls == "implicit":
            self.transport.abort()
            return
        self._writer.write(bytes(self._out) + line(reply))
        self._out.clear()
        self.transport.close()

    # Writing.

    def say(self, reply: Reply | str) -> None:
        """Put a reply, or a ready line without CRLF, to what goes out next."""
        self._out += line(reply)

    async def push(self, status: Any) -> None:
        self.say(status if isinstance(status, str) else status.decode("ascii", "replace"))

    async def flush(self) -> None:
        """Send what was said. A peer that reads nothing is waited for, then cut off."""
        if self._out:
            self._writer.write(bytes(self._out))
            self._out.clear()
        if self._paused:
            self._patience.begin(self.idle_timeout)
            try:
                await self._writer.drain()
            finally:
                self._patience.end()

    # Reading.

    async def read_line(self, limit: int = LINE_LIMIT) -> bytes:
        """The next line with its LF. Raises LineTooLong, EOFError, TimeoutError (over the whole line, not an octet)."""
        end = self._reader._buffer.find(b"\n")
        if end < 0 or len(self._out) > 16 * 1024:
            await self.flush()
        skipped = 0
        if end < 0:
            skipped = await self._wait_for_line()
            end = self._reader._buffer.find(b"\n")
        found = self._take(end + 1)
        if skipped or len(found) > limit:
            raise LineTooLong
        return found

    async def _wait_for_line(self) -> int:
        """Read on until a line is whole; how many of its octets were passed over."""
        buffer, skipped, searched = self._reader._buffer, 0, 0
        self.idle = not self.midway
        self._patience.begin(self.idle_timeout)
        try:
            while buffer.find(b"\n", searched) < 0:
                searched = len(buffer)
                if searched > BUFFER:
                    skipped += searched
                    searched = 0
                    buffer.clear()
                if skipped > SKIPPED_LIMIT:
                    raise ConnectionAbortedError("endless line")
                await self._more()
        finally:
            self._patience.end()
            self.idle = False
        return skipped

    async def _more(self) -> None:
        """Wait until octets have come. Raises EOFError, TimeoutError, ConnectionError."""
        reader = self._reader
        if (error := reader.exception()) is not None:
            raise error
        if reader._eof:
            raise EOFError
        await reader._wait_for_data("_more")

    def _take(self, size: int) -> bytes:
        """The first octets of what has come."""
        reader = self._reader
        with memoryview(reader._buffer) as view:
            found = bytes(view[:size])
        del reader._buffer[:size]
        reader._maybe_resume_transport()
        return found

    def _lost_patience(self) -> None:
        """The peer said nothing, or took nothing, for too long."""
        if self._paused:
            self.event("session_error", why="timeout")
            self.transport.abort()
        self._reader.set_exception(TimeoutError())

    async def read_auth_line(self) -> bytes:
        return await self.read_line(AUTH_LINE_LIMIT)

    async def read_chunk(self, most: int = 4 * BUFFER) -> bytes | bytearray:
        """What has come, up to `most` octets and 256 KiB. Raises EOFError, TimeoutError (when nothing came)."""
        if not self._reader._buffer:
            self._patience.begin(self.idle_timeout)
            try:
                await self._more()
            finally:
                self._patience.end()
        if not self._reader._buffer:
            raise EOFError
        if len(self._reader._buffer) > min(most, 4 * BUFFER):
            return self._take(min(most, 4 * BUFFER))
        chunk: bytearray = self._reader._buffer
        self._reader._buffer = bytearray()
        self._reader._maybe_resume_transport()
        return chunk

    def unread(self, octets: bytes) -> None:
        """Put back what followed the end of a message."""
        self._reader._buffer[:0] = octets

    def event(self, name: str, **fields: Any) -> None:
        self.house.on_event(name, peer=self.peer, **fields)


def line(reply: Reply | str) -> bytes:
    """A reply on the wire: one line, ASCII, no control octets, at most 512 octets (RFC 5321 §4.5.3.1.5)."""
    text = replace_unprintable(str(reply))
    return text.encode("ascii", "replace")[:510] + b"\r\n"
