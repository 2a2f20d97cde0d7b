"""One connection of the scripted next hop."""

import asyncio
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from tests.support.peer_auth import METHODS, REFUSED_TOKEN, credentials
from tests.support.peer_script import Behaviour, Later, Raw, Reset, Say, Silence, Stall, Tarpit

READ = 1 << 18


@dataclass(frozen=True)
class Taken:
    """One message that arrived whole. `session` counts connections from 1; `content` is without dot-stuffing."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    at: float
    session: int
    mail_params: tuple[str, ...] = ()
    rcpt_params: tuple[tuple[str, ...], ...] = ()
    helo: str = ""
    tls: bool = False
    user: str | None = None


class Gone(Exception):
    """The session is over."""


class Session:
    """One connection."""

    def __init__(self, peer: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.peer, self.reader, self.writer, self.number = peer, reader, writer, number
        self.buffer = bytearray()
        self.helo = ""
        self.secure = peer.tls == "implicit"
        self.user: str | None = None
        self.reset()

    def reset(self) -> None:
        self.sender: str | None = None
        self.mail_params: tuple[str, ...] = ()
        self.recipients: list[str] = []
        self.rcpt_params: list[tuple[str, ...]] = []

    async def run(self) -> None:
        await self.answer("connect", "", f"220 {self.peer.name} ESMTP")
        while True:
            line = (await self.line()).decode("utf-8", "surrogateescape")
            self.peer.commands.append(line)
            await self.peer.tell()
            verb, _, argument = line.partition(" ")
            method = getattr(self, f"do_{verb.lower()}", None)
            if method is None:
                await self.say("500 5.5.2 what?")
            else:
                await method(argument)
            await self.peer.tell()

    async def answer(self, stage: str, argument: str, usual: str) -> bool:
        """Carry out the behaviour set for `stage`, else say `usual`. True when the dialogue goes on as usual."""
        return await self.carry_out(self.peer.script.pick(stage, argument), usual)

    async def carry_out(self, behaviour: Behaviour | None, usual: str) -> bool:
        text, close = usual, False
        match behaviour:
            case None:
                await self.say(usual)
            case Say(text, close):
                await self.say(text)
            case Raw(octets, close):
                text = octets.decode("latin-1")
                self.writer.write(octets)
                await self.writer.drain()
            case Later(gate, seconds, other):
                await (gate.wait() if gate is not None else asyncio.sleep(seconds))
                text = other or usual
                await self.say(text)
            case Tarpit(text, pause):
                for octet in f"{text}\r\n".encode():
                    self.writer.write(bytes([octet]))
                    await self.writer.drain()
                    await asyncio.sleep(pause)
            case _:
                await self._vanish(behaviour)
        if close:
            raise Gone
        return text[:1] == usual[:1]

    async def _vanish(self, behaviour: Behaviour) -> None:
        if isinstance(behaviour, Stall):
            await asyncio.Event().wait()
        if isinstance(behaviour, Silence):
            while await self.reader.read(READ):
                pass
        if isinstance(behaviour, Reset):
            raw: Any = self.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        raise Gone

    async def say(self, text: str) -> None:
        self.writer.write(f"{text}\r\n".encode("utf-8", "surrogateescape"))
        await self.writer.drain()

    async def fill(self) -> None:
        data = await self.reader.read(READ)
        if not data:
            raise EOFError
        self.buffer += data

    async def line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            await self.fill()
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line

    async def content(self) -> bytes:
        """What stands before the line with the dot alone, un-stuffed (rfc5321#4.5.2)."""
        self.buffer[:0] = b"\r\n"
        looked = 0
        while (end := self.buffer.find(b"\r\n.\r\n", looked)) < 0:
            looked = max(0, len(self.buffer) - 4)
            await self.fill()
        content = bytes(self.buffer[: end + 2])
        del self.buffer[: end + 5]
        return content.replace(b"\r\n.", b"\r\n")[2:]

    async def do_ehlo(self, argument: str) -> None:
        self.reset()
        self.helo = argument
        if not self.peer.esmtp:
            await self.say("502 5.5.1 HELO only")
            return
        offers = list(self.peer.extensions)
        if self.peer.tls == "starttls" and not self.secure:
            offers.append("STARTTLS")
        if self.peer.users:
            offers.append(f"AUTH {' '.join(METHODS)}")
        words = [self.peer.name, *offers]
        lines = [f"250{'-' if index < len(words) - 1 else ' '}{word}" for index, word in enumerate(words)]
        await self.answer("ehlo", argument, "\r\n".join(lines))

    async def do_helo(self, argument: str) -> None:
        self.reset()
        self.helo = argument
        await self.answer("helo", argument, f"250 {self.peer.name}")

    async def do_starttls(self, argument: str) -> None:
        assert self.peer.context is not None
        if not await self.answer("starttls", argument, "220 2.0.0 go ahead"):
            return
        self.buffer.clear()
        await self.writer.start_tls(self.peer.context)
        self.secure = True
        self.reset()

    async def do_auth(self, argument: str) -> None:
        name, secret = await credentials(argument, self.say, self.line)
        right = self.peer.users.get(name) == secret
        if not right and argument.upper().startswith(
            "XOAUTH2"
        ):  # the reason as a challenge, to which nothing is answered
            await self.say(f"334 {REFUSED_TOKEN}")
            assert await self.line() == b""
        if await self.answer("auth", name, "235 2.7.0 welcome" if right else "535 5.7.8 wrong") and right:
            self.user = name

    async def do_mail(self, argument: str) -> None:
        if self.sender is not None:
            await self.say("503 5.5.1 nested MAIL")
            return
        address, params = _path(argument)
        if await self.answer("mail", argument, "250 2.1.0 sender ok"):
            self.sender, self.mail_params = address, params

    async def do_rcpt(self, argument: str) -> None:
        if self.sender is None:
            await self.say("503 5.5.1 MAIL first")
            return
        address, params = _path(argument)
        if await self.answer("rcpt", argument, "250 2.1.5 recipient ok"):
            self.recipients.append(address)
            self.rcpt_params.append(params)

    async def do_data(self, argument: str) -> None:
        if not self.recipients:
            await self.say("554 5.5.1 no valid recipients")
            return
        if not await self.answer("data", argument, "354 go on"):
            return
        behaviour = self.peer.script.pick("content", argument)
        if behaviour is not None:
            await (self._vanish(behaviour) if isinstance(behaviour, Stall) else self.fill())
            await self.carry_out(behaviour, "250 2.0.0 taken")
        mail = self.taken(await self.content())
        self.reset()
        behaviour = self.peer.script.pick("body", argument)
        if not str(getattr(behaviour, "text", None)).startswith(("4", "5")):
            await self.peer.take(mail)
        await self.carry_out(behaviour, f"250 2.0.0 taken as {self.peer.taken}")

    def taken(self, content: bytes) -> Taken:
        assert self.sender is not None
        return Taken(
            self.sender,
            tuple(self.recipients),
            content,
            time.time(),
            self.number,
            self.mail_params,
            tuple(self.rcpt_params),
            self.helo,
            self.secure,
            self.user,
        )

    async def do_rset(self, argument: str) -> None:
        self.reset()
        await self.answer("rset", argument, "250 2.0.0 reset")

    async def do_noop(self, argument: str) -> None:
        await self.say("250 2.0.0 ok")

    async def do_quit(self, argument: str) -> None:
        await self.answer("quit", argument, "221 2.0.0 bye")
        raise Gone


def _path(argument: str) -> tuple[str, tuple[str, ...]]:
    """`FROM:<a@b> SIZE=1` -> ("a@b", ("SIZE=1",))."""
    _, _, rest = argument.partition("<")
    address, _, params = rest.rpartition(">")
    return address, tuple(params.split())
