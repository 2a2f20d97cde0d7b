"""The daemon's end of a worker's channel: one request out, one answer in, without waiting on the loop for each step."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from relay.inspection import Octets
from relay.workers import frames

SEND_BUFFER = 1024 * 1024
"""Octets the kernel may hold for a worker (asked for; it grants up to net.core.wmem_max): a mail leaves in one call."""

READ = 32 * 1024
MOST_PIECES = 1000  # IOV_MAX is 1,024


class Channel:
    """A socket pair's end in the running loop. After any failure it answers nothing any more: see `broken`."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._socket = end
        self._loop = asyncio.get_running_loop()
        self._unsent: list[Octets] = []
        self._received = bytearray()
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self.broken: Exception | None = None
        self._loop.add_reader(end, self._readable)

    def ask(self, pieces: Sequence[Octets]) -> asyncio.Future[dict[str, Any]]:
        """Send a request; the future has the header of the answer, or raises OSError (frames.Broken), ValueError."""
        answer: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._answer = answer
        if self.broken is not None:
            answer.set_exception(self.broken)
            return answer
        self._unsent = list(pieces)
        self._send()
        if self._unsent:
            self._loop.add_writer(self._socket, self._writable)
        return answer

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket.fileno() >= 0:
            self._deaf()
            self._socket.close()

    def _writable(self) -> None:
        self._send()
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _send(self) -> None:
        try:
            while self._unsent:
                sent = self._socket.sendmsg(self._unsent[:MOST_PIECES])
                self._unsent = _after(self._unsent, sent)
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(error)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(READ)
            if not data:
                raise frames.Broken("end of stream")
            self._received += data
            self._take()
        except BlockingIOError:
            pass
        except (OSError, ValueError) as error:
            self._fail(error)

    def _take(self) -> None:
        """Answer when the answer is whole. Raises Broken, ValueError."""
        if self._answer is None:
            raise frames.Broken("an answer to no question")
        if len(self._received) < frames.LENGTH.size:
            return
        end = frames.LENGTH.size + frames.length_of(self._received[: frames.LENGTH.size])
        if len(self._received) < end:
            return
        if len(self._received) > end:
            raise frames.Broken("more than one answer")
        header = frames.header_of(self._received[frames.LENGTH.size :])
        self._received.clear()
        answer, self._answer = self._answer, None
        if not answer.done():
            answer.set_result(header)

    def _fail(self, error: Exception) -> None:
        self.broken = error
        self._unsent = []
        self._deaf()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def _deaf(self) -> None:
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)


def _after(pieces: Sequence[Octets], sent: int) -> list[Octets]:
    """What is left of `pieces` after their first `sent` octets."""
    for place, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:], *pieces[place + 1 :]]
        sent -= len(piece)
    return []
