"""Frames between the daemon and a worker, and the pipe that carries them."""

import asyncio
import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

from relay import serialization
from relay.inspection import Candidate, Octets, Options

LENGTH = struct.Struct(">I")
MAX_HEADER = 16 * 1024 * 1024

KEPT_BUFFER = 4 * 1024 * 1024
"""Octets of the buffer that a worker keeps: messages of usual size make it ask the system for no memory."""


class ChannelBroken(ConnectionError):
    """The other side is gone or does not speak our frames."""


def request(candidates: Sequence[Candidate], options: Options) -> list[Octets]:
    """The pieces of an inspection request, the contents not copied."""
    header = {
        "op": "inspect",
        "options": options,
        "candidates": [
            {
                "size": len(each.content),
                "encoding": each.encoding,
                "filename": each.filename,
                "media_type": each.media_type,
            }
            for each in candidates
        ],
    }
    return [frame(header), *(each.content for each in candidates)]


def frame(value: object) -> bytes:
    """One header, ready to send."""
    data = serialization.dump(value)
    return LENGTH.pack(len(data)) + data


def header_of(octets: bytes | bytearray) -> dict[str, Any]:
    """The header in its JSON text. Raises Broken when it is no object, ValueError when it is no JSON."""
    try:
        value = json.loads(octets)
    except RecursionError as error:
        raise ChannelBroken("a header nested beyond measure") from error
    if not isinstance(value, dict):
        raise ChannelBroken("a header that is no object")
    return value


def length_of(octets: bytes | bytearray | memoryview) -> int:
    """Octets of the header that these 4 announce. Raises Broken beyond MAX_HEADER."""
    (length,) = LENGTH.unpack(octets)
    if length > MAX_HEADER:
        raise ChannelBroken("a header beyond measure")
    return int(length)


class Inbox:
    """A worker's end of the channel, blocking. Requests come one at a time, so one buffer serves them all."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._kept = bytearray(KEPT_BUFFER)

    def receive(self) -> tuple[dict[str, Any], list[memoryview]]:
        """The next request: its header and its documents, which are good until the next call.

        Raises Broken at the end of the stream, or when something follows that was not announced.
        """
        buffer, got = self._filled(self._kept, 0, LENGTH.size)
        begin = LENGTH.size + length_of(memoryview(buffer)[: LENGTH.size])
        buffer, got = self._filled(buffer, got, begin)
        header = header_of(buffer[LENGTH.size : begin])
        sizes = [int(each["size"]) for each in header.get("candidates", ())]
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
                raise ChannelBroken("end of stream")
            self._received += data
            self._take()
        except BlockingIOError:
            pass
        except (OSError, ValueError) as error:
            self._fail(error)

    def _take(self) -> None:
        """Answer when the answer is whole. Raises Broken, ValueError."""
        if self._answer is None:
            raise ChannelBroken("an answer to no question")
        if len(self._received) < LENGTH.size:
            return
        end = LENGTH.size + length_of(self._received[: LENGTH.size])
        if len(self._received) < end:
            return
        if len(self._received) > end:
            raise ChannelBroken("more than one answer")
        header = header_of(self._received[LENGTH.size :])
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
