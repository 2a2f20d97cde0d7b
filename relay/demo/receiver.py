"""The receiving server that stands for Agiris: takes every message and remembers it octet for octet.

It is plain aiosmtpd and shares no code with the relay, so that an error in our own server cannot hide in it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from hashlib import sha256
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message that reached Agiris."""

    recipient: str
    sender: str
    content: bytes

    @property
    def message(self) -> Message:
        return message_from_bytes(self.content)

    @property
    def message_id(self) -> str:
        return str(self.message["message-id"] or "").strip()

    def documents(self) -> dict[str, str]:
        """sha256 of each attached document -> its file name."""
        found = {}
        for part in self.message.walk():
            if part.get_filename():
                content = part.get_payload(decode=True)
                found[sha256(bytes(content) if isinstance(content, bytes) else b"").hexdigest()] = str(
                    part.get_filename()
                )
        return found


@dataclass
class Receiver:
    """`start()` it, `wait()` for arrivals. `port` 0 takes a free one."""

    port: int = 0
    arrivals: list[Arrival] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen on 127.0.0.1; the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    def _session(self) -> SMTP:
        return SMTP(self, hostname="agiris.demo", data_size_limit=100 * 1024 * 1024, enable_SMTPUTF8=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """aiosmtpd's hook for a received mail."""
        content: Any = envelope.original_content
        async with self._changed:
            for recipient in envelope.rcpt_tos:
                sender = (envelope.mail_from or "").strip("<>")  # aiosmtpd keeps the brackets of the null sender
                self.arrivals.append(Arrival(recipient, sender, bytes(content)))
            self._changed.notify_all()
        return "250 2.0.0 taken in"

    @property
    def relayed(self) -> list[Arrival]:
        """What arrived of clients' messages: the relay's own notices have the null sender."""
        return [each for each in self.arrivals if each.sender]

    async def wait(self, number: int, seconds: float) -> bool:
        """True once `number` messages are here, False after `seconds`."""
        return await self._reached(lambda: len(self.arrivals) >= number, seconds)

    async def wait_relayed(self, number: int, seconds: float) -> bool:
        """True once `number` messages of clients are here, False after `seconds`."""
        return await self._reached(lambda: len(self.relayed) >= number, seconds)

    async def _reached(self, condition: Callable[[], bool], seconds: float) -> bool:
        async with self._changed:
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait_for(condition)
            except TimeoutError:
                return False
        return True

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
