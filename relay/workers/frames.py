"""What crosses between the daemon and a worker: a length of 4 octets, a JSON header, then the documents as they are."""

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

from relay import wire
from relay.inspection import Candidate, Octets, Options

LENGTH = struct.Struct(">I")
MAX_HEADER = 16 * 1024 * 1024

KEPT_BUFFER = 4 * 1024 * 1024
"""Octets of the buffer that a worker keeps: mails of usual size make it ask the system for no memory."""


class Broken(ConnectionError):
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
    data = wire.dump(value)
    return LENGTH.pack(len(data)) + data


def header_of(octets: bytes | bytearray) -> dict[str, Any]:
    """The header in its JSON text. Raises Broken when it is no object, ValueError when it is no JSON."""
    try:
        value = json.loads(octets)
    except RecursionError as error:
        raise Broken("a header nested beyond measure") from error
    if not isinstance(value, dict):
        raise Broken("a header that is no object")
    return value


def length_of(octets: bytes | bytearray | memoryview) -> int:
    """Octets of the header that these 4 announce. Raises Broken beyond MAX_HEADER."""
    (length,) = LENGTH.unpack(octets)
    if length > MAX_HEADER:
        raise Broken("a header beyond measure")
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
            raise Broken("more than was announced")
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
                raise Broken("end of stream")
            got += count
        return buffer, got
