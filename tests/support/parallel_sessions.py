"""Peers that mean harm or are many, an honest one among them, and the memory that they cost the daemon."""

import asyncio
import smtplib
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from relay.demo.stage import Stage
from tests.support.smtp_fuzz import resident

MARTIN = "martin@export.relay.example"
MIB = 1 << 20
GREETING = b"EHLO client.example\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<" + MARTIN.encode() + b">\r\n"
SMALL = b"From: a@sender.example\r\nSubject: x\r\n\r\nbody\r\n"


class Peak:
    """The most memory that a process has held since `start`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
        self.start = resident(pid)

    def grown(self) -> int:
        text = Path(f"/proc/{self._pid}/status").read_text(encoding="ascii")
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024 - self.start

    def octets(self) -> int:
        return self.start + self.grown()


def good_mail(stage: Stage, source: str = "127.0.0.2", mail: bytes = SMALL) -> int:
    """The reply to a message of an honest client at another address."""
    with smtplib.SMTP("127.0.0.1", stage.smtp, timeout=60, source_address=(source, 0)) as client:
        client.ehlo("good.example")
        client.mail("a@sender.example")
        client.rcpt(MARTIN)
        return client.data(mail)[0]


def poured(stage: Stage, head: bytes, chunks: Iterator[bytes]) -> bytes:
    """Send until the server hangs up or all is sent; what it said."""
    said = b""
    with socket.create_connection(("127.0.0.1", stage.smtp), timeout=60) as peer:
        peer.sendall(head)
        with suppress(ConnectionError):
            for chunk in chunks:
                peer.sendall(chunk)
        with suppress(OSError):
            peer.shutdown(socket.SHUT_WR)
            while octets := peer.recv(65536):
                said += octets
    return said


class crowd:  # noqa: N801 - used as a verb
    """Connections that say nothing, and some that say an octet now and then; gives a way to make others that reset."""

    def __init__(self, port: int, idle: int, slow: int) -> None:
        self._port, self._idle, self._slow = port, idle, slow
        self._writers: list[asyncio.StreamWriter] = []
        self._dripping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Callable[[int], object]:
        for _ in range(self._idle + self._slow):
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._writers.append(writer)
        self._dripping = asyncio.create_task(self._drip(self._writers[self._idle :]))
        return self._reset

    async def _drip(self, slow: list[asyncio.StreamWriter]) -> None:
        for octet in GREETING + b"DATA\r\n" + b"x" * 10_000:
            for writer in slow:
                writer.write(bytes([octet]))
            await asyncio.sleep(0.05)

    async def _reset(self, number: int) -> None:
        for _ in range(number):
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(GREETING)
            with suppress(ConnectionError):
                await writer.drain()
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async def __aexit__(self, *_: object) -> None:
        assert self._dripping is not None
        self._dripping.cancel()
        for writer in self._writers:
            writer.close()
