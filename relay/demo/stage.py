"""The stage of the demo: a temporary folder with a configuration, and the real daemon in its own process."""

import asyncio
import json
import os
import random
import signal
import smtplib
import socket
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.demo.scenes import FIRM_YAML
from relay.replies import Reply

RELAY_YAML = """\
hostname: relay.demo.example
listen:
  - address: "127.0.0.1:{smtp}"
accept:
  recipients: ["*@export.relay.example"]
smarthosts:
  default: {{host: 127.0.0.1, port: {receiver}, tls: none}}
return_path: bounces@export.relay.example
spool: sqlite://{folder}/spool.db
http: "127.0.0.1:{http}"
log: {{level: info, format: json}}
"""

CHECK_YAML = """\
check:
  on_invalid: hold
"""


_PORTS = range(10_000, 32_768)
"""Below those that Linux gives to outgoing connections: such a one must not take the port before its server listens."""
_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody holds at this moment, another one at each call. Raises OSError if none is."""
    for port in random.sample(_PORTS, 1000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise OSError("no port of 127.0.0.1 is free")


@dataclass
class Stage:
    """folder: holds `config/`, the spool and `daemon.log`. receiver: port of the next hop on 127.0.0.1.

    firms: texts of `firms/<key>.yaml`. more: text put at the end of relay.yaml.
    """

    folder: Path
    receiver: int
    firms: Mapping[str, str] = field(default_factory=lambda: {"cabinet-demo": FIRM_YAML})
    more: str = CHECK_YAML
    smtp: int = 0
    http: int = 0
    expected_exits: tuple[int, ...] = (0,)
    _process: asyncio.subprocess.Process | None = None
    _copier: asyncio.Task[None] | None = None
    _events: Counter[str] = field(default_factory=Counter)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def log(self) -> Path:
        return self.folder / "daemon.log"

    def prepare(self) -> None:
        """Write the configuration."""
        self.smtp, self.http = free_port(), free_port()
        (self.config / "firms").mkdir(parents=True)
        text = RELAY_YAML.format(smtp=self.smtp, http=self.http, receiver=self.receiver, folder=self.folder.resolve())
        (self.config / "relay.yaml").write_text(text + self.more, encoding="utf-8")
        for key, firm in self.firms.items():
            (self.config / "firms" / f"{key}.yaml").write_text(firm, encoding="utf-8")

    async def start(self, seconds: float = 60) -> bool:
        """Start the daemon; True once it has logged `started`."""
        self._process = await asyncio.create_subprocess_exec(
            *self.command_line("run"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 20,
        )
        self._events.clear()
        self._copier = asyncio.create_task(self._copy_log())
        try:
            await self.logged("started", seconds)
        except TimeoutError:
            return False
        return "ended" not in self._events

    async def _copy_log(self) -> None:
        """The daemon's log into the file; each event is announced. "started" and "ended" follow the end of the log."""
        assert self._process is not None and self._process.stdout is not None
        with self.log.open("ab") as log:
            async for line in self._process.stdout:
                log.write(line)
                log.flush()
                await self._announce(_event(line))
        await self._announce("ended", "started")

    async def _announce(self, *events: str) -> None:
        async with self._changed:
            self._events.update(events)
            self._changed.notify_all()

    def submit(self, recipient: str, mail: bytes) -> Reply:
        """Hand over one message as the platform's SMTP client does; the reply that ends it."""
        with smtplib.SMTP("127.0.0.1", self.smtp, timeout=30) as client:
            client.ehlo("plateforme.jefacture.example")
            code, text = client.mail("noreply@jefacture.example", [f"size={len(mail)}"])
            if code == 250:
                code, text = client.rcpt(recipient)
            if code == 250:
                code, text = client.data(mail)
        enhanced, _, rest = text.decode("utf-8", "replace").partition(" ")
        return Reply(code, enhanced, rest)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def logged(self, event: str, seconds: float = 30, times: int = 1) -> None:
        """Wait until the daemon has logged `event` so many times since its start. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: self._events[event] >= times)

    def command_line(self, *words: str) -> list[str]:
        """`agiris-relay WORDS` on this stage's configuration."""
        return [sys.executable, "-m", "relay.cli", *words, "--config", str(self.config)]

    async def command(self, *words: str) -> list[dict[str, Any]]:
        """What `agiris-relay WORDS --json` prints."""
        process = await asyncio.create_subprocess_exec(
            *self.command_line(*words, "--json"), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return [json.loads(line) for line in out.splitlines() if line.strip()]

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the daemon (not to its workers)."""
        # Not Process.send_signal: it polls, and so takes the exit code away from asyncio's own waiting.
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """kill -9, and wait until the process is gone."""
        assert self._process is not None
        self.send_signal(signal.SIGKILL)
        await self._process.wait()
        if self._copier is not None:
            await self._copier

    async def stop(self, seconds: float = 30) -> int:
        """SIGTERM, wait for the drain; the exit code."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            return await self._process.wait()
        finally:
            if self._copier is not None:
                await self._copier


def _event(line: bytes) -> str:
    try:
        return str(json.loads(line).get("event", ""))
    except (ValueError, AttributeError):
        return ""
