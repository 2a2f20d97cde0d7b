"""The next hop of the tests: a scriptable SMTP server that records every message octet for octet.

In a test:

    async with Peer() as peer:
        peer.on("rcpt", Say("450 4.2.1 mailbox busy"), times=1)
        ...
        await peer.wait(1)
        assert peer.mails[0].content == content

Alone, writing each message to a folder (`000001.eml` and its envelope `000001.json`):

    python -m tests.support.peer --port 2626 --dir /tmp/taken

Stages a behaviour may be set for: connect, ehlo, helo, starttls, auth, mail, rcpt, data, content, body, rset, quit.
`data` is the command, `content` the first octets after 354, `body` the answer to the final dot.
"""

import argparse
import asyncio
import json
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.peer_script import (
    Behaviour,
    Drop,
    Later,
    Raw,
    Reset,
    Say,
    Script,
    Silence,
    Stall,
    Tarpit,
)
from tests.support.peer_session import Gone, Session, Taken

__all__ = [
    "Behaviour",
    "Drop",
    "Later",
    "Peer",
    "Raw",
    "Reset",
    "Say",
    "Silence",
    "Stall",
    "Taken",
    "Tarpit",
    "self_signed",
]

EXTENSIONS = ("PIPELINING", "SIZE 104857600", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


@dataclass
class Peer:
    """host, port: where it listens (0: a free port). tls: none | starttls | implicit, with `certificate`.

    users: name -> password, or token; AUTH is offered when there are any. esmtp False: EHLO is answered 502, HELO only.
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
        self.script = Script()
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.context: ssl.SSLContext | None = None

    def on(
        self, stage: str, behaviour: Behaviour, times: int | None = None, when: Callable[[str], bool] | None = None
    ) -> None:
        """From now on, `times` times (None: always), at `stage`, if `when(argument)`: rules are tried in order."""
        self.script.add(stage, behaviour, times, when)

    def clear(self) -> None:
        """Behave well again."""
        self.script.clear()

    async def __aenter__(self) -> "Peer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> int:
        """Listen; the port. May be started again on the same port after `close` (a next hop that comes back)."""
        if self.certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*self.certificate)
        implicit = self.context if self.tls == "implicit" else None
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
        """The messages, once `number` have arrived. Raises TimeoutError after `seconds`."""
        await self.wait_until(lambda: self.taken >= number, seconds)
        return self.mails

    async def wait_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Return once `condition()` holds; it is looked at after each command, mail and session."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    async def tell(self) -> None:
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
            await Session(self, reader, writer, self.sessions).run()
        except (Gone, OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self.open_now -= 1
            self._tasks.discard(task)
            writer.close()
            await self.tell()

    async def take(self, mail: Taken) -> None:
        self.taken += 1
        if self.keep:
            self.mails.append(mail)
        if self.on_mail is not None:
            self.on_mail(mail)
        await self.tell()


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
