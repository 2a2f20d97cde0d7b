"""Frames between the daemon and a worker, and the pipe that carries them.

A frame is the length of its header (4 octets), the header in JSON, then the contents of the sizes that the header
announces under "sizes"."""

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from relay import serialization
from relay.inspection import Octets

LENGTH = struct.Struct(">I")
MAX_HEADER = 16 * 1024 * 1024
MAX_ANSWER = 64 * 1024 * 1024
"""Octets of the contents of an answer."""

KEPT_BUFFER = 4 * 1024 * 1024
"""Octets of the buffer that a worker keeps: messages of usual size make it ask the system for no memory."""


class ChannelBroken(ConnectionError):
    """The other side is gone or does not speak our frames."""


def frame(header: dict[str, Any], *contents: Octets) -> bytes:
    """A frame whose contents are small, ready to send."""
    return b"".join(frame_pieces(header, contents))


def frame_pieces(header: dict[str, Any], contents: Sequence[Octets]) -> list[Octets]:
    """The pieces of a frame, the contents not copied."""
    if contents:
        header = {**header, "sizes": [len(content) for content in contents]}
    data = serialization.dump(header)
    return [LENGTH.pack(len(data)) + data, *contents]


def header_of(octets: bytes | bytearray) -> dict[str, Any]:
    """The header in its JSON text. Raises ChannelBroken when it is no object, ValueError when it is no JSON."""
    try:
        value = json.loads(octets)
    except RecursionError as error:
        raise ChannelBroken("a header nested beyond measure") from error
    if not isinstance(value, dict):
        raise ChannelBroken("a header that is no object")
    return value


def length_of(octets: bytes | bytearray | memoryview) -> int:
    """Octets of the header that these 4 announce. Raises ChannelBroken beyond MAX_HEADER."""
    (length,) = LENGTH.unpack(octets)
    if length > MAX_HEADER:
        raise ChannelBroken("a header beyond measure")
    return int(length)


def sizes_of(header: dict[str, Any]) -> list[int]:
    """The sizes of the contents that `header` announces. Raises ChannelBroken for anything but natural numbers."""
    sizes = header.get("sizes", [])
    if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes):
        raise ChannelBroken("contents without a size")
    return sizes


class Inbox:
    """A worker's end of the channel, blocking. Requests come one at a time, so one buffer serves them all."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._kept = bytearray(KEPT_BUFFER)

    def receive(self) -> tuple[dict[str, Any], list[memoryview]]:
        """The next request: its header and its contents, which are good until the next call.

        Raises ChannelBroken at the end of the stream, or when something follows that was not announced.
        """
        buffer, got = self._filled(self._kept, 0, LENGTH.size)
        begin = LENGTH.size + length_of(memoryview(buffer)[: LENGTH.size])
        buffer, got = self._filled(buffer, got, begin)
        header = header_of(buffer[LENGTH.size : begin])
        sizes = sizes_of(header)
        buffer, got = self._filled(buffer, got, begin + sum(sizes))
        if got > begin + sum(sizes):
            raise ChannelBroken("more than was announced")
        view, contents = memoryview(buffer), []
        for size in sizes:
            contents.append(view[begin : begin + size])
            begin += size
        return header, contents

    def _filled(self, buffer: bytearray, got: int, wanted: int) -> tuple[bytearray, int]:
        """`buffer` with at least `wanted` octets in it, and how many there are; a larger one when it is too small."""
        if wanted > len(buffer):
            buffer = buffer[:got] + bytes(wanted - got)
        view = memoryview(buffer)
        while got < wanted:
            count = self._channel.recv_into(view[got:])
            if not count:
                raise ChannelBroken("end of stream")
            got += count
        return buffer, got


SEND_BUFFER = 1024 * 1024
"""Octets the kernel may hold for a worker (asked for; it grants up to net.core.wmem_max): a message leaves in one
call."""

READ = 64 * 1024
MOST_PIECES = 1000  # IOV_MAX is 1,024

Answer = tuple[dict[str, Any], list[bytes]]
"""Header and contents."""


class Channel:
    """A socket pair's end in the running loop. answered: called with each answer. failed: called once, with why
    nothing can be asked any more; see `broken`."""

    def __init__(
        self, end: socket.socket, answered: Callable[[Answer], None], failed: Callable[[Exception], None]
    ) -> None:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._socket = end
        self._loop = asyncio.get_running_loop()
        self._answered, self._failed = answered, failed
        self._unsent: list[Octets] = []
        self._received = bytearray()
        self.broken: Exception | None = None
        self._loop.add_reader(end, self._readable)

    def send(self, pieces: Sequence[Octets]) -> None:
        """Send a frame, after those before it. What goes wrong is reported to `failed`, not before this returns."""
        if self.broken is not None:
            return
        waiting = bool(self._unsent)
        self._unsent += pieces
        if not waiting:
            self._send()
            if self._unsent:
                self._loop.add_writer(self._socket, self._writable)

    def close(self) -> None:
        """Let go of the socket; nobody is called any more."""
        if self._socket.fileno() >= 0:
            self._stop()
            self._socket.close()
        self.broken = self.broken or ChannelBroken("closed")

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
            self._unsent = []
            self._loop.call_soon(self._fail, error)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(READ)
            if not data:
                raise ChannelBroken("end of stream")
            self._received += data
            while self.broken is None and (answer := self._next()) is not None:
                self._answered(answer)
        except BlockingIOError:
            pass
        except (OSError, ValueError) as error:
            self._fail(error)

    def _next(self) -> Answer | None:
        """The next answer when it is whole. Raises ChannelBroken, ValueError."""
        received = self._received
        if len(received) < LENGTH.size:
            return None
        end = LENGTH.size + length_of(received[: LENGTH.size])
        if len(received) < end:
            return None
        header = header_of(received[LENGTH.size : end])
        sizes = sizes_of(header)
        if sum(sizes) > MAX_ANSWER:
            raise ChannelBroken("an answer beyond measure")
        if len(received) < end + sum(sizes):
            return None
        contents = []
        for size in sizes:
            contents.append(bytes(received[end : end + size]))
            end += size
        del received[:end]
        return header, contents

    def _fail(self, error: Exception) -> None:
        if self.broken is None:
            self.broken = error
            self._stop()
            self._failed(error)

    def _stop(self) -> None:
        self._unsent = []
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)


def _after(pieces: Sequence[Octets], sent: int) -> list[Octets]:
    """What is left of `pieces` after their first `sent` octets."""
    for place, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:], *pieces[place + 1 :]]
        sent -= len(piece)
    return []
