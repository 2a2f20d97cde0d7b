"""The client's side of an SMTP connection: commands out, replies in (RFC 5321 §4.2, RFC 2920)."""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Protocol, cast

from relay.idle_timer import IdleTimer
from relay.replies import Reply, clean, remote
from relay.smtp_client.outgoing_content import Octets

MAX_LINE = 4096
MAX_REPLY = 1 << 16
MAX_WAITING = 200
_LINE = re.compile(rb"([0-9]{3})(?:([ -])(.*))?", re.DOTALL)


class ConnectionLost(Exception):
    """The connection is gone."""


class InvalidReply(Exception):
    """What was received is not an SMTP reply, or exceeds the limits."""


class Listener(Protocol):
    """Who waits for what the next hop says: a transaction. Called in the event loop, one event at a time."""

    def replied(self, reply: Reply) -> None:
        """The next reply, whole."""

    def writable(self) -> None:
        """The next hop has taken what was sent, but for a little."""

    def failed(self, error: ConnectionLost | InvalidReply | TimeoutError) -> None:
        """Nothing more will be received, or nothing was in time."""


class ClientProtocol(asyncio.Protocol):
    """One connection with the next hop.

    extensions: keyword (lower case) -> parameters, as in the reply to EHLO. esmtp: EHLO was accepted (not only HELO).
    uses: transactions so far. dirty: RSET is due. listener: the transaction under way, or None.
    """

    def __init__(
        self, transport: asyncio.WriteTransport, extensions: Mapping[str, str], opened: float, esmtp: bool = True
    ) -> None:
        self.extensions = extensions
        self.opened = opened
        self.esmtp = esmtp
        self.uses = 0
        self.dirty = False
        self.listener: Listener | None = None
        self.write_blocked = False
        """The next hop has not taken the last octets that were sent."""
        self._transport = transport
        self._replies: deque[Reply] = deque()
        self._outstanding = 0
        self._buffer = b""
        self._lines: list[str] = []
        self._octets = 0
        self._fault: ConnectionLost | InvalidReply | None = None
        self._timer = IdleTimer(asyncio.get_running_loop(), self._expired)
        self._on_idle: Callable[[], None] = self.close

    @property
    def usable(self) -> bool:
        """Open and in sync: no reply was received that no command asked for."""
        quiet = not self._replies and not self._buffer and not self._outstanding
        return self._fault is None and quiet and not self._transport.is_closing()

    @property
    def has_reply(self) -> bool:
        """A reply that the listener has not been given yet, or the end of the connection, has been received."""
        return bool(self._replies) or self._fault is not None

    @property
    def broken(self) -> bool:
        """Nothing more can be sent. A failed write closes the transport at once, and tells the protocol in the next
        turn of the loop."""
        return self._fault is not None or self._transport.is_closing()

    def command(self, *lines: bytes) -> None:
        """Send command lines (with their CRLF) in one packet; one reply is due for each."""
        self._outstanding += len(lines)
        self._write(lines[0] if len(lines) == 1 else b"".join(lines))

    def send_slice(self, octets: Octets, last: bool) -> None:
        """Send a part of the content. last: it ends with the final dot, whose reply is due."""
        self._outstanding += last
        self._write(octets)

    def wait(self, seconds: float) -> None:
        """The listener is told that it has failed unless it waits anew, or is done, within `seconds`."""
        self._timer.begin(seconds)

    def done(self) -> None:
        """The transaction is over."""
        self.listener = None
        self._timer.end()

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

    def _expired(self) -> None:
        if self.listener is None:
            self._on_idle()
        else:
            self.listener.failed(TimeoutError())

    def _tell(self) -> None:
        """Give the listener each reply, then the end. What is left over was not asked for: see `usable`."""
        while self._replies and self.listener is not None:
            self._outstanding -= 1
            self.listener.replied(self._replies.popleft())
        if self._fault is not None and self.listener is not None:
            self.listener.failed(self._fault)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._fault is None:
            self._fault = ConnectionLost(clean(str(exc)) if exc else "closed by the next hop")
        self._timer.close()
        self._tell()

    def pause_writing(self) -> None:
        self.write_blocked = True

    def resume_writing(self) -> None:
        self.write_blocked = False
        if self.listener is not None:
            self.listener.writable()

    def data_received(self, data: bytes) -> None:
        if self._fault is not None:
            return
        try:
            self._read_lines(self._buffer + data if self._buffer else data)
        except InvalidReply as garbage:
            self._fault = garbage
            self._transport.abort()
        self._tell()

    def _read_lines(self, data: bytes) -> None:
        *lines, self._buffer = data.split(b"\n")
        for line in lines:
            self._read_line(line.rstrip(b"\r"))
        if len(self._buffer) > MAX_LINE:
            raise InvalidReply("a reply line without end")

    def _read_line(self, line: bytes) -> None:
        """rfc5321#4.2.1: code, then `-` when more lines follow. The last line's code counts."""
        if len(self._replies) >= MAX_WAITING:
            raise InvalidReply("a reply without end")
        reply, text = _parsed(line)
        if reply is not None and not self._lines:
            self._replies.append(reply)
            return
        self._lines.append(text)
        self._octets += len(line)
        if self._octets > MAX_REPLY:
            raise InvalidReply("a reply without end")
        if reply is not None:
            self._replies.append(remote(reply.code, "\n".join(self._lines)))
            self._lines, self._octets = [], 0


@lru_cache(maxsize=64)  # the same words for each MAIL, RCPT and DATA
def _parsed(line: bytes) -> tuple[Reply | None, str]:
    """The reply that ends with `line`, if it has no lines before it; None when more follow. The text of the line.

    Raises InvalidReply.
    """
    read = _LINE.fullmatch(line)
    if read is None or len(line) > MAX_LINE:
        raise InvalidReply(repr(line[:80]))
    code, mark, octets = read.groups(b"")
    text = octets.decode("utf-8", "replace")
    return (None if mark == b"-" else remote(int(code), text)), text
