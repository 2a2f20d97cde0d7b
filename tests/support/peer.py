"""The next hop of the tests: a scriptable SMTP server that records every mail octet for octet.

In a test:

    async with Peer() as peer:
        peer.on("rcpt", Say("450 4.2.1 mailbox busy"), times=1)
        ...
        await peer.wait(1)
        assert peer.mails[0].content == content

Alone, writing each mail to a folder (`000001.eml` and its envelope `000001.json`):

    python -m tests.support.peer --port 2626 --dir /tmp/taken

Stages a behaviour may be set for: connect, ehlo, helo, starttls, auth, mail, rcpt, data, content, body, rset, quit.
`data` is the command, `content` the first octets after 354, `body` the answer to the final dot.
"""

import argparse
import asyncio
import base64
import json
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXTENSIONS = ("PIPELINING", "SIZE 104857600", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
READ = 1 << 18


@dataclass(frozen=True)
class Taken:
    """One mail that arrived whole. `session` counts connections from 1; `content` is without dot-stuffing."""

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


@dataclass(frozen=True)
class Say:
    """Answer with these lines (several for a multi-line reply, as they shall stand on the wire)."""

    text: str
    close: bool = False


@dataclass(frozen=True)
class Raw:
    """Answer with these octets, whatever they are."""

    octets: bytes
    close: bool = False


@dataclass(frozen=True)
class Drop:
    """Close without an answer. At stage `body` the mail has been recorded: lost after the final dot."""


@dataclass(frozen=True)
class Reset:
    """Break the connection with a TCP reset."""


@dataclass(frozen=True)
class Silence:
    """Never answer, until the client goes or the peer is closed."""


@dataclass(frozen=True)
class Tarpit:
    """Answer one octet every `pause` seconds."""

    text: str
    pause: float = 1.0


@dataclass(frozen=True)
class Later:
    """Answer as usual, or with `text`, once `gate` is set (`gate` None: after `seconds`)."""

    gate: asyncio.Event | None = None
    seconds: float = 0.0
    text: str | None = None


Behaviour = Say | Raw | Drop | Reset | Silence | Tarpit | Later


@dataclass
class _Rule:
    behaviour: Behaviour
    left: int | None
    when: Callable[[str], bool] | None


class _Gone(Exception):
    """The session is over."""


@dataclass
class Peer:
    """host, port: where it listens (0: a free port). tls: none | starttls | implicit, with `certificate`.

    users: name -> password; AUTH is offered when there are any. esmtp False: EHLO is answered 502, HELO only.
    """

    host: str = "127.0.0.1"
    port: int = 0
    extensions: tuple[str, ...] = EXTENSIONS
    esmtp: bool = True
    tls: str = "none"
    certificate: tuple[Path, Path] | None = None
    users: dict[str, str] = field(default_factory=dict)
    name: str = "peer.example"
    keep: bool = True
    on_mail: Callable[[Taken], None] | None = None
    mails: list[Taken] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    taken: int = 0
    sessions: int = 0
    open_now: int = 0
    most_open: int = 0

    def __post_init__(self) -> None:
        self._rules: dict[str, list[_Rule]] = {}
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._context: ssl.SSLContext | None = None

    def on(
        self, stage: str, behaviour: Behaviour, times: int | None = None, when: Callable[[str], bool] | None = None
    ) -> None:
        """From now on, `times` times (None: always), at `stage`, if `when(argument)`: rules are tried in order."""
        self._rules.setdefault(stage, []).append(_Rule(behaviour, times, when))

    def clear(self) -> None:
        """Behave well again."""
        self._rules.clear()

    async def __aenter__(self) -> "Peer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> int:
        """Listen; the port. May be started again on the same port after `close` (a next hop that comes back)."""
        if self.certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*self.certificate)
        implicit = self._context if self.tls == "implicit" else None
        self._server = await asyncio.start_server(self._accept, self.host, self.port, ssl=implicit, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def close(self) -> None:
        """Stop listening and cut every session."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    async def wait(self, number: int, seconds: float = 10.0) -> list[Taken]:
        """The mails, once `number` have arrived. Raises TimeoutError after `seconds`."""
        await self.wait_until(lambda: self.taken >= number, seconds)
        return self.mails

    async def wait_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Return once `condition()` holds; it is looked at after each command, mail and session."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.sessions += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            await _Session(self, reader, writer, self.sessions).run()
        except (_Gone, OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self.open_now -= 1
            self._tasks.discard(task)
            writer.close()
            await self._tell()

    def _pick(self, stage: str, argument: str) -> Behaviour | None:
        for rule in self._rules.get(stage, ()):
            if rule.left == 0 or (rule.when is not None and not rule.when(argument)):
                continue
            if rule.left is not None:
                rule.left -= 1
            return rule.behaviour
        return None

    async def _take(self, mail: Taken) -> None:
        self.taken += 1
        if self.keep:
            self.mails.append(mail)
        if self.on_mail is not None:
            self.on_mail(mail)
        await self._tell()


class _Session:
    """One connection."""

    def __init__(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
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
            verb, _, argument = line.partition(" ")
            method = getattr(self, f"do_{verb.lower()}", None)
            if method is None:
                await self.say("500 5.5.2 what?")
            else:
                await method(argument)
            await self.peer._tell()

    async def answer(self, stage: str, argument: str, usual: str) -> bool:
        """Carry out the behaviour set for `stage`, else say `usual`. True when the usual was said."""
        behaviour = self.peer._pick(stage, argument)
        match behaviour:
            case None:
                await self.say(usual)
                return True
            case Say(text, close):
                await self.say(text)
            case Raw(octets, close):
                self.writer.write(octets)
                await self.writer.drain()
            case Later(gate, seconds, text):
                await (gate.wait() if gate is not None else asyncio.sleep(seconds))
                await self.say(text or usual)
                return text is None
            case Tarpit(text, pause):
                for octet in f"{text}\r\n".encode():
                    self.writer.write(bytes([octet]))
                    await self.writer.drain()
                    await asyncio.sleep(pause)
                return text.startswith(usual[:1])
            case _:
                await self._vanish(behaviour)
        if close:
            raise _Gone
        return isinstance(behaviour, Say) and behaviour.text[:1] == usual[:1]

    async def _vanish(self, behaviour: Behaviour) -> None:
        if isinstance(behaviour, Silence):
            while await self.reader.read(READ):
                pass
        if isinstance(behaviour, Reset):
            raw: Any = self.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        raise _Gone

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
            offers.append("AUTH PLAIN LOGIN")
        words = [self.peer.name, *offers]
        lines = [f"250{'-' if index < len(words) - 1 else ' '}{word}" for index, word in enumerate(words)]
        await self.answer("ehlo", argument, "\r\n".join(lines))

    async def do_helo(self, argument: str) -> None:
        self.reset()
        self.helo = argument
        await self.answer("helo", argument, f"250 {self.peer.name}")

    async def do_starttls(self, argument: str) -> None:
        assert self.peer._context is not None
        if not await self.answer("starttls", argument, "220 2.0.0 go ahead"):
            return
        self.buffer.clear()
        await self.writer.start_tls(self.peer._context)
        self.secure = True
        self.reset()

    async def do_auth(self, argument: str) -> None:
        method, _, initial = argument.partition(" ")
        if method.upper() == "PLAIN":
            if not initial:
                await self.say("334 ")
                initial = (await self.line()).decode()
            _, name, password = base64.b64decode(initial).decode().split("\0")
        else:
            if not initial:
                await self.say("334 VXNlcm5hbWU6")
                initial = (await self.line()).decode()
            name = base64.b64decode(initial).decode()
            await self.say("334 UGFzc3dvcmQ6")
            password = base64.b64decode(await self.line()).decode()
        right = self.peer.users.get(name) == password
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
        behaviour = self.peer._pick("content", argument)
        if isinstance(behaviour, (Say, Raw, Tarpit, Later)):
            await self.fill()
            self.peer._rules.setdefault("", []).append(_Rule(behaviour, 1, None))
            await self.answer("", argument, "250 2.0.0 taken")
        elif behaviour is not None:
            await self._vanish(behaviour)
        content = await self.content()
        assert self.sender is not None
        mail = Taken(
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
        self.reset()
        usual = f"250 2.0.0 taken as {self.peer.taken + 1}"
        refused = self._refuses()
        if not refused:
            await self.peer._take(mail)
        await self.answer("body", argument, usual)

    def _refuses(self) -> bool:
        """Whether the next answer to the final dot is a refusal: then the mail is not taken."""
        for rule in self.peer._rules.get("body", ()):
            if rule.left != 0:
                text = getattr(rule.behaviour, "text", None) or ""
                return text[:1] in ("4", "5")
        return False

    async def do_rset(self, argument: str) -> None:
        self.reset()
        await self.answer("rset", argument, "250 2.0.0 reset")

    async def do_noop(self, argument: str) -> None:
        await self.say("250 2.0.0 ok")

    async def do_quit(self, argument: str) -> None:
        await self.answer("quit", argument, "221 2.0.0 bye")
        raise _Gone


def _path(argument: str) -> tuple[str, tuple[str, ...]]:
    """`FROM:<a@b> SIZE=1` -> ("a@b", ("SIZE=1",))."""
    _, _, rest = argument.partition("<")
    address, _, params = rest.rpartition(">")
    return address, tuple(params.split())


def self_signed(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """A certificate for `name`, signed by itself: (certificate, key) in `folder`. Needs the `openssl` command."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    words = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN={name}"
    alternative = f"subjectAltName=DNS:{name},IP:127.0.0.1" if name == "localhost" else f"subjectAltName=DNS:{name}"
    subprocess.run(
        [*words.split(), "-addext", alternative, "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


def _writer(folder: Path) -> Callable[[Taken], None]:
    folder.mkdir(parents=True, exist_ok=True)
    numbers = iter(range(1, 1 << 62))

    def write(mail: Taken) -> None:
        stem = folder / f"{next(numbers):06d}"
        stem.with_suffix(".eml").write_bytes(mail.content)
        facts = {"sender": mail.sender, "recipients": mail.recipients, "params": mail.mail_params, "at": mail.at}
        stem.with_suffix(".json").write_text(json.dumps({**facts, "session": mail.session, "tls": mail.tls}))

    return write


async def _serve(port: int, folder: Path | None) -> None:
    peer = Peer(port=port, keep=False, on_mail=_writer(folder) if folder else None)
    await peer.start()
    print(f"listening on {peer.host}:{peer.port}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="receive mails and write them to a folder")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--dir", type=Path)
    options = parser.parse_args()
    asyncio.run(_serve(options.port, options.dir))


if __name__ == "__main__":
    main()
