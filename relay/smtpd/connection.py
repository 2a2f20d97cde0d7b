"""One connection of a client: its octets, lines and replies, TLS, the PROXY header, timeouts.

No SMTP command is known here. Replies are collected and sent together once the input is used up (RFC 2920 §3.2)."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from aiosmtpd.proxy_protocol import get_proxy

from relay.idle_timer import IdleTimer
from relay.replies import Reply
from relay.single_line import replace_unprintable

RECEIVE_BUFFER = 256 * 1024  # octets of one read from the socket; all connections of a server share it
INPUT_LIMIT = 64 * 1024  # unread octets of one connection: beyond, its socket is not read
OUTPUT_LIMIT = 16 * 1024  # octets of replies that are collected before they are sent
SKIP_LIMIT = 1024 * 1024  # octets of one over-long line that are discarded before the connection is closed
PROXY_SECONDS = 5.0
HANDSHAKE_SECONDS = 30.0
SHUTDOWN_SECONDS = 5.0


class LineTooLong(Exception):
    """A line over the limit; it has been read to its end."""


class SessionCallbacks(Protocol):
    """What a connection calls of its session. None of these raises."""

    @property
    def reads_content(self) -> bool:
        """The next octets are the content of a message, not lines."""

    def connected(self) -> None: ...

    def advance(self) -> None:
        """Octets, the end of the input, or room for replies: there may be something to do."""

    def content_received(self, octets: memoryview) -> None:
        """`octets` are valid during the call only."""

    def idle_expired(self) -> None: ...

    def session_expired(self) -> None: ...

    def connection_lost(self) -> None: ...


class Connection(asyncio.BufferedProtocol):
    """buffer: where the loop puts what it reads; used during one callback only, so that connections can share it.

    clear_text: False on a port of implicit TLS, where nothing is said before the handshake. idle_timeout: seconds,
    asked for at each wait. session_timeout: seconds for the whole connection.
    """

    session: SessionCallbacks

    def __init__(
        self, buffer: memoryview, *, clear_text: bool, idle_timeout: Callable[[], float], session_timeout: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = buffer
        self._clear_text = clear_text
        self._idle_timeout = idle_timeout
        self._session_timeout = session_timeout
        self._idle_timer = IdleTimer(self._loop, self._idle_expired)
        self._session_timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._proxy_reader: asyncio.StreamReader | None = None
        self._input = bytearray()
        self._searched = 0  # octets of the input that hold no LF
        self._skipped = 0
        self._eof = False
        self._output = bytearray()
        self.peer = ""
        self.secure = False
        self.lost = False
        self.write_blocked = False  # the peer reads more slowly than we write

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peername = transport.get_extra_info("peername")
        self.peer = str(peername[0]) if peername else ""
        self.extend_session(self._session_timeout)
        self.session.connected()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        octets = self._buffer[:nbytes]
        if self._proxy_reader is not None:
            self._proxy_reader.feed_data(bytes(octets))
            return
        if self.session.reads_content and not self._input:
            self.session.content_received(octets)
        else:
            self._input += octets
            self.session.advance()
        if len(self._input) > INPUT_LIMIT and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """A client may send all it has and half-close: it still gets its replies. TLS has no half-close."""
        self._eof = True
        if self._proxy_reader is not None:
            self._proxy_reader.feed_eof()
        else:
            self.session.advance()
        return not self.secure

    def pause_writing(self) -> None:
        self.write_blocked = True
        self._idle_timer.begin(self._idle_timeout())

    def resume_writing(self) -> None:
        self.write_blocked = False
        self._idle_timer.end()
        self._loop.call_soon(self.session.advance)  # not at once: `flush` may have caused this call

    def connection_lost(self, error: Exception | None) -> None:
        if self.lost:
            return
        self.lost = True
        self._idle_timer.close()
        if self._session_timer is not None:
            self._session_timer.cancel()
        self._transport = None
        self._input.clear()
        if self._proxy_reader is not None:
            self._proxy_reader.feed_eof()
        self.session.connection_lost()

    # Reading.

    def read_line(self, limit: int) -> bytearray | None:
        """The next line with its LF; None: it has not come yet. Raises LineTooLong, EOFError, ConnectionError."""
        end = self._input.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._input)
            if self._searched > INPUT_LIMIT:
                self._skipped += self._searched
                self._drop(self._searched)
            if self._skipped > SKIP_LIMIT:
                raise ConnectionAbortedError("endless line")
            if self._eof:
                raise EOFError
            return None
        line = self._input[: end + 1]
        too_long = self._skipped > 0 or len(line) > limit
        self._skipped = 0
        self._drop(end + 1)
        self._idle_timer.end()
        if too_long:
            raise LineTooLong
        return line

    def read_content(self, limit: int | None) -> bytearray:
        """The octets that have come, perhaps none, at most `limit`. Raises EOFError."""
        octets = self._input
        if not octets and self._eof:
            raise EOFError
        if limit is None or len(octets) <= limit:
            self._input = bytearray()
            self._searched = 0
        else:
            octets = octets[:limit]
            self._drop(limit)
        return octets

    def unread(self, octets: bytes) -> None:
        """Put back what followed the end of a content."""
        self._input[:0] = octets

    def _drop(self, size: int) -> None:
        """Remove the first octets of the input."""
        self._searched = 0
        del self._input[:size]

    # Time.

    def wait_for_line(self) -> None:
        """A line must come within the idle timeout, however many pieces it comes in."""
        if not self._idle_timer.running:
            self._idle_timer.begin(self._idle_timeout())
        self._resume_reading()

    def wait_for_content(self) -> None:
        """Some octets must come within the idle timeout."""
        self._idle_timer.begin(self._idle_timeout())
        self._resume_reading()

    def _resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def stop_waiting(self) -> None:
        """Nothing is expected of the peer now."""
        if not self.write_blocked:
            self._idle_timer.end()

    def extend_session(self, seconds: float) -> None:
        """`session_expired` is called after `seconds`."""
        self._session_timer = self._loop.call_later(seconds, self.session.session_expired)

    def _idle_expired(self) -> None:
        self.session.idle_expired()

    # Writing.

    def say(self, reply: Reply | str) -> None:
        """Add a reply, or a line without CR LF, to what is sent next."""
        self._output += reply_line(reply)

    @property
    def output_full(self) -> bool:
        return len(self._output) > OUTPUT_LIMIT

    def flush(self) -> None:
        """Send what was said."""
        if not self._output:
            return
        output = bytes(self._output)
        self._output.clear()
        if self._transport is not None and not self._transport.is_closing() and (self.secure or self._clear_text):
            self._transport.write(output)

    def discard_output(self) -> None:
        """Send nothing of what was said."""
        self._output.clear()

    def close(self) -> None:
        """Send what was said, then close; a peer that does not read it is cut off."""
        self.flush()
        if self._transport is not None:
            self._transport.close()
            if self._transport.get_write_buffer_size():
                self._idle_timer.begin(self._idle_timeout())

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """Leave what comes in the socket, for the TLS handshake that follows."""
        if self._transport is not None:
            self._transport.pause_reading()

    # TLS and the PROXY header.

    async def start_tls(self, context: ssl.SSLContext, *, use_input: bool = False) -> None:
        """Handshake. Input that came in clear text is discarded (CVE-2011-0411, CVE-2024-34083).

        use_input: it is the start of the client's handshake, sent in one packet with a PROXY header.
        Raises ssl.SSLError, ConnectionError, TimeoutError.
        """
        if self._transport is None:
            raise ConnectionAbortedError("lost before the handshake")
        early = bytes(self._input) if use_input else b""
        self._input.clear()
        self._searched = 0
        if early:
            # loop.start_tls() sets up its protocol by call_soon before it waits. The early octets must follow that,
            # and precede what the socket brings.
            self._loop.call_soon(self._loop.call_soon, _receive, self._transport, early)
        try:
            transport = await self._loop.start_tls(
                self._transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
            if transport is None:
                raise ConnectionAbortedError("lost during the handshake")
        except OSError as error:  # asyncio does not report a connection that is lost during a handshake
            self._loop.call_soon(self.connection_lost, error)
            raise
        self._transport = transport
        self.secure = True

    async def read_proxy_header(self) -> bool:
        """Read the header of a proxy and take the client's address from it. False: it is not valid.

        Raises EOFError, TimeoutError.
        """
        reader = self._proxy_reader = asyncio.StreamReader(loop=self._loop)
        try:
            async with asyncio.timeout(PROXY_SECONDS):
                header = await get_proxy(reader)
            reader.feed_eof()
            self._input += await reader.read()
        finally:
            self._proxy_reader = None
        if not header.valid:
            return False
        if header.src_addr is not None:  # none in LOCAL and UNKNOWN: the proxy speaks for itself
            self.peer = str(header.src_addr)
        return True


def _receive(transport: asyncio.Transport, octets: bytes) -> None:
    """Give octets to the TLS layer as if the socket had just brought them."""
    layer = cast(asyncio.BufferedProtocol, transport.get_protocol())
    memoryview(layer.get_buffer(len(octets)))[: len(octets)] = octets
    layer.buffer_updated(len(octets))


def reply_line(reply: Reply | str) -> bytes:
    """A reply as it is sent: one line, ASCII, no control characters, at most 512 octets (RFC 5321 §4.5.3.1.5)."""
    text = replace_unprintable(str(reply))
    return text.encode("ascii", "replace")[:510] + b"\r\n"
