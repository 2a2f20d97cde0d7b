"""The next hop of the fault tests, in a process of its own: takes messages, notes each one, and misbehaves by chance.

    python -m tests.support.recording_next_hop --journal FILE [--faults 0.05] [--seed 1] [--port 0] [--pace 0.0]

Each stage that a message passes fails by chance `--faults`: 421, 451, 450, a dropped connection, a reset in DATA, a
silence after the dot (the message is kept). `--pace`: seconds before MAIL is answered. SIGUSR1 ends faults and pace,
SIGUSR2 refuses all messages with 451 until SIGUSR1.
A message is in the journal before it is answered.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import signal
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

FAULTS = {
    "connect": ("421", "drop"),
    "ehlo": ("421", "drop"),
    "mail": ("421", "451", "drop"),
    "rcpt": ("450", "451", "421", "drop"),
    "data": ("451", "421", "drop"),
    "content": ("reset",),
    "body": ("451", "450", "421", "silence", "reset"),
}


class Vanish(Exception):
    """The session ends without a word."""


class RecordingNextHop:
    """journal: one JSON line an arrival. faults: probability at each stage. script: what each stage always does."""

    def __init__(self, journal: Path, faults: float, seed: int, pace: float = 0.0) -> None:
        self._fd = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.faults, self.pace = faults, pace
        self.refusing = False
        self.script: dict[str, str] = {}
        self.released = asyncio.Event()
        self.noted = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._chance = random.Random(seed)

    def behave(self) -> None:
        self.faults, self.pace, self.refusing = 0.0, 0.0, False
        self.script.clear()
        self.released.set()
        self.released = asyncio.Event()

    def refuse(self) -> None:
        self.refusing = True

    def hang_up(self) -> None:
        """On all who are connected."""
        for writer in self._open:
            writer.close()

    def fault(self, stage: str) -> str | None:
        if self.refusing and stage == "mail":
            return "451"
        if stage in self.script:
            return self.script[stage]
        return self._chance.choice(FAULTS[stage]) if self._chance.random() < self.faults else None

    def note(self, sender: str, recipients: list[str], content: bytes, answered: int) -> None:
        row = {"at": time.time(), "sender": sender, "recipients": recipients, "answered": answered}
        line = json.dumps(row | {"content": base64.b64encode(content).decode("ascii")})
        os.write(self._fd, line.encode() + b"\n")
        self.noted += 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(Vanish, OSError, EOFError):
            await Session(self, reader, writer).run()
        self._open.discard(writer)
        writer.close()


class Session:
    """One connection."""

    def __init__(self, next_hop: RecordingNextHop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.next_hop, self.reader, self.writer = next_hop, reader, writer
        self.sender = ""
        self.recipients: list[str] = []

    async def run(self) -> None:
        await self.answer("connect", "220 next-hop.example ESMTP")
        while True:
            line = await self.reader.readuntil(b"\r\n")
            verb, _, argument = line.decode("utf-8", "replace").strip().partition(" ")
            match verb.upper():
                case "HELO":
                    await self.say("250 next-hop.example")
                case "EHLO":
                    await self.answer(
                        "ehlo", "250-next-hop.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 104857600"
                    )
                case "MAIL":
                    await asyncio.sleep(self.next_hop.pace)
                    if await self.answer("mail", "250 2.1.0 ok"):
                        self.sender, self.recipients = path(argument), []
                case "RCPT":
                    if await self.answer("rcpt", "250 2.1.5 ok"):
                        self.recipients.append(path(argument))
                case "DATA":
                    await self.data()
                case "QUIT":
                    await self.say("221 2.0.0 bye")
                    return
                case _:
                    await self.say("250 2.0.0 ok")

    async def data(self) -> None:
        if not self.recipients:
            await self.say("554 5.5.1 no recipient")
            return
        if not await self.answer("data", "354 go on"):
            return
        if self.next_hop.fault("content"):
            await self.reader.read(1000)
            self.reset()
        content = await self.content()
        fault = self.next_hop.fault("body")
        answered = {"slow": 250, None: 250}.get(fault, int(fault) if (fault or "").isdigit() else 0)
        self.next_hop.note(self.sender, self.recipients, content, answered)
        self.recipients = []
        await self.carry_out(fault, "250 2.0.0 taken")

    async def content(self) -> bytes:
        text = await self.reader.readuntil(b"\r\n.\r\n")
        return (b"\r\n" + text[:-3]).replace(b"\r\n.", b"\r\n")[2:]

    async def answer(self, stage: str, usual: str) -> bool:
        return await self.carry_out(self.next_hop.fault(stage), usual)

    async def carry_out(self, fault: str | None, usual: str) -> bool:
        match fault:
            case None:
                await self.say(usual)
                return True
            case "drop":
                raise Vanish
            case "reset":
                self.reset()
            case "silence":
                # As a next hop that lost its network; not for as long as the relay would wait, or the test never ends.
                await asyncio.sleep(2)
                raise Vanish
            case "garbage":
                await self.say("?\x00 what is this")
                raise Vanish
            case "slow":
                await self.say_slowly(usual)
                return True
            case "bare":
                await self.say("250 next-hop.example")
                return True
            case "hang":
                await self.next_hop.released.wait()
                raise Vanish
            case _:
                await self.say(f"{fault} {fault[0]}.3.0 a fault by chance")
                if fault == "421":
                    raise Vanish
        return False

    def reset(self) -> None:
        raw: Any = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise Vanish

    async def say_slowly(self, text: str) -> None:
        """An octet at a time."""
        for octet in f"{text}\r\n".encode():
            self.writer.write(bytes([octet]))
            await self.writer.drain()
            await asyncio.sleep(0.02)

    async def say(self, text: str) -> None:
        self.writer.write(f"{text}\r\n".encode())
        await self.writer.drain()


def path(argument: str) -> str:
    """`FROM:<a@b> SIZE=1` -> "a@b"."""
    return argument.partition("<")[2].partition(">")[0]


async def main() -> None:
    parser = argparse.ArgumentParser(description="a next hop that notes what it takes")
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--pace", type=float, default=0.0)
    options = parser.parse_args()
    next_hop = RecordingNextHop(options.journal, options.faults, options.seed, options.pace)
    server = await asyncio.start_server(next_hop.serve, "127.0.0.1", options.port, limit=1 << 26, backlog=512)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, next_hop.behave)
    loop.add_signal_handler(signal.SIGUSR2, next_hop.refuse)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
