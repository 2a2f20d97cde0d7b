"""One connection: TLS, the PROXY protocol, who is counted present. No SMTP command is known here."""

import asyncio
import ssl
from typing import Any

from aiosmtpd.proxy_protocol import get_proxy

from relay.observability.events import RejectCause
from relay.replies import Reply
from relay.smtpd.limits import allowed
from relay.smtpd.transport import LineTransport

PROXY_SECONDS = 5.0
HANDSHAKE_SECONDS = 30.0

CLOSING = Reply(421, "4.3.2", "shutting down, try again later")


class Connection(LineTransport):
    """A pipe that may be made secure, and whose peer may speak for another."""

    _present = False

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()
        super().connection_lost(error)

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

    def _enter(self) -> RejectCause | None:
        """Count one in; why that is one too many."""
        cause = self.house.presence.enter(self.peer, self.house.limits())
        self._present = cause is None
        return cause

    def _leave(self) -> None:
        if self._present:
            self._present = False
            self.house.presence.leave(self.peer)


def _feed(transport: Any, octets: bytes) -> None:
    """Give octets to the TLS layer as if the socket had just brought them."""
    layer = transport.get_protocol()
    layer.get_buffer(len(octets))[: len(octets)] = octets
    layer.buffer_updated(len(octets))
