"""One connection: reading lines, writing replies, TLS, time. No SMTP command is known here.

Built on `aiosmtpd.smtp.SMTP`, whose reader, timer, error answers and command loop are replaced.
Replies are gathered and leave together when the client has nothing more in the pipe (RFC 2920 §3.2).
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from aiosmtpd.proxy_protocol import get_proxy
from aiosmtpd.smtp import SMTP

from relay.ops.labels import Cause
from relay.reply import Reply
from relay.smtpd.limits import AUTH_LINE_LIMIT, LINE_LIMIT, allowed
from relay.smtpd.post import House, Post

BUFFER = 64 * 1024
SKIPPED_LIMIT = 1024 * 1024  # octets of one over-long line passed over before we hang up
PROXY_SECONDS = 5.0
HANDSHAKE_SECONDS = 30.0

TIMEOUT = Reply(421, "4.4.2", "timeout, closing")
CLOSING = Reply(421, "4.3.2", "shutting down, try again later")


class LineTooLong(Exception):
    """A command line over the limit; it has been read to its end."""


class Goodbye(Exception):
    """The session ends; what was said is sent first."""


class Connection(SMTP):
    """Octets, lines, TLS and time of one peer."""

    line_length_limit = BUFFER  # the reader's buffer: aiosmtpd's 1,001 makes one read a line

    transport: Any  # loosely typed by asyncio: one of its transports, or None once lost
    _reader: Any
    _writer: Any
    handing = False  # a mail is with the intake: its reply must still be sent
    midway = False  # between two chunks of a mail: it may be finished when we drain

    def __init__(self, post: Post, house: House, ended: Callable[["Connection"], None]) -> None:
        self.command_size_limits: dict[str, int] = {}  # aiosmtpd shares one dictionary between all clients
        super().__init__(
            None, data_size_limit=None, enable_SMTPUTF8=True, hostname=house.hostname, loop=asyncio.get_running_loop()
        )
        self.post = post
        self.house = house
        self._ended = ended
        self.peer = ""
        self.secure = False
        self.idle = False
        self._present = False
        self._out = bytearray()

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
        self._leave()
        self._ended(self)
        super().connection_lost(error)

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
        """Send what was said; raises TimeoutError when the peer reads nothing."""
        if self._out:
            self._writer.write(bytes(self._out))
            self._out.clear()
        async with asyncio.timeout(self.idle_timeout):
            await self._writer.drain()

    # Reading.

    def pending(self) -> bool:
        """Is another whole line in the pipe?"""
        return b"\n" in self._reader._buffer

    async def read_line(self, limit: int = LINE_LIMIT) -> bytes:
        """The next line with its LF. Raises LineTooLong, EOFError, TimeoutError (over the whole line, not an octet)."""
        if not self.pending() or len(self._out) > 16 * 1024:
            await self.flush()
        skipped = 0
        self.idle = not self.midway
        try:
            async with asyncio.timeout(self.idle_timeout):
                while True:
                    try:
                        found: bytes = await self._reader.readuntil(b"\n")
                        break
                    except asyncio.LimitOverrunError as error:
                        skipped += len(await self._reader.read(error.consumed))
                        if skipped > SKIPPED_LIMIT:
                            raise ConnectionAbortedError("endless line") from None
        finally:
            self.idle = False
        if skipped or len(found) > limit:
            raise LineTooLong
        return found

    async def read_auth_line(self) -> bytes:
        return await self.read_line(AUTH_LINE_LIMIT)

    async def read_chunk(self, most: int = 4 * BUFFER) -> bytes:
        """What has come, up to `most` octets and 256 KiB; the caller bounds the time. Raises EOFError at the end."""
        chunk: bytes = await self._reader.read(min(most, 4 * BUFFER))
        if not chunk:
            raise EOFError
        return chunk

    def unread(self, octets: bytes) -> None:
        """Put back what followed the end of a mail."""
        self._reader._buffer[:0] = octets

    # TLS and the PROXY protocol.

    async def start_tls(self, *, begun: bool = False) -> None:
        """Handshake; what came in clear after STARTTLS is thrown away (CVE-2011-0411, CVE-2024-34083).

        begun: what came is the client's handshake already (a proxy's header and it in one packet), and is used.
        Raises ssl.SSLError, ConnectionError, TimeoutError.
        """
        context = self.post.context
        if context is None:
            raise ConnectionAbortedError("TLS is not available here")
        await self.flush()
        early = bytes(self._reader._buffer) if begun else b""
        self._reader._buffer.clear()
        self._reader._paused = False
        if early:
            # start_tls sets its protocol up by call_soon before it waits; the octets must be next, before the socket's.
            self.loop.call_soon(self.loop.call_soon, _feed, self.transport, early)
        try:
            transport: Any = await self.loop.start_tls(
                self.transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=5.0,
            )
            if transport is None:
                raise ConnectionAbortedError("lost during the handshake")
        except (OSError, ssl.SSLError) as error:
            self.connection_lost(error)  # asyncio does not say so when the connection goes during a handshake
            raise
        except AttributeError as error:  # the transport went away between the reply and the handshake
            raise ConnectionAbortedError("lost before the handshake") from error
        self.transport = transport
        self._reader._transport = transport
        self._writer._transport = transport
        self._transport, self._over_ssl = transport, True
        self.secure = True

    async def read_proxy_header(self) -> bool:
        """Take the client's address from the proxy (PROXY v1, v2); False if it is not one, or may not be trusted.

        The proxy itself must be in `proxy_networks`: any other could name itself any address.
        """
        if not allowed(self.peer, self.post.proxies):
            return False
        async with asyncio.timeout(PROXY_SECONDS):
            data = await get_proxy(self._reader)
        if not data.valid:
            return False
        if data.src_addr is not None:  # none for LOCAL and UNKNOWN: the proxy speaks for itself
            self.peer = str(data.src_addr)
        return True

    # Presence.

    def _enter(self) -> Cause | None:
        """Count one in; why that is one too many."""
        cause = self.house.presence.enter(self.peer, self.house.limits())
        self._present = cause is None
        return cause

    def _leave(self) -> None:
        if self._present:
            self._present = False
            self.house.presence.leave(self.peer)

    def event(self, name: str, **fields: Any) -> None:
        self.house.on_event(name, peer=self.peer, **fields)


def _feed(transport: Any, octets: bytes) -> None:
    """Give octets to the TLS layer as if the socket had just brought them."""
    layer = transport.get_protocol()
    layer.get_buffer(len(octets))[: len(octets)] = octets
    layer.buffer_updated(len(octets))


def line(reply: Reply | str) -> bytes:
    """A reply on the wire: one line, ASCII, no control octets, at most 512 octets (RFC 5321 §4.5.3.1.5)."""
    text = str(reply)
    if not text.isprintable():
        text = "".join(each if each.isprintable() else " " for each in text)
    return text.encode("ascii", "replace")[:510] + b"\r\n"
