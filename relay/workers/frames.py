"""What crosses between the daemon and a worker: a length of 4 octets, a JSON header, then the documents as they are."""

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

from relay import wire
from relay.inspection import Candidate, Options

LENGTH = struct.Struct(">I")
MAX_HEADER = 16 * 1024 * 1024


class Broken(ConnectionError):
    """The other side is gone or does not speak our frames."""


def request(candidates: Sequence[Candidate], options: Options) -> list[bytes]:
    """The pieces of an inspection request, the contents not copied."""
    header = {
        "op": "inspect",
        "options": wire.plain(options),
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
    data = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    return LENGTH.pack(len(data)) + data


def receive_header(channel: socket.socket) -> dict[str, Any]:
    """The next header, blocking. Raises Broken at the end of the stream."""
    (length,) = LENGTH.unpack(receive(channel, LENGTH.size))
    if length > MAX_HEADER:
        raise Broken("a header beyond measure")
    value = json.loads(bytes(receive(channel, length)))
    if not isinstance(value, dict):
        raise Broken("a header that is no object")
    return value


def receive(channel: socket.socket, size: int) -> bytearray:
    """Exactly `size` octets, blocking, into one buffer. Raises Broken at the end of the stream."""
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        count = channel.recv_into(view[got:])
        if not count:
            raise Broken("end of stream")
        got += count
    return data
