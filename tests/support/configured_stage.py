"""A stage for messages whose right answer is known: configuration from terms, reload, many messages in one session."""

import asyncio
import os
import signal
import smtplib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.demo.stage import Stage, free_port
from relay.replies import Reply
from relay.routing.policy import Terms
from tests.support.decision_yaml import write_terms

ROOT = Path(__file__).parents[2]


@dataclass
class ConfiguredStage(Stage):
    """given_reports: file for tests/support/daemon_with_given_reports.py; None: the daemon checks the documents."""

    given_reports: Path | None = None
    relay: dict[str, Any] = field(default_factory=dict)

    def take(self, terms: Terms) -> None:
        """Write the configuration of `terms`; `start()` or `reload()` puts it in force."""
        if not self.smtp:
            self.smtp, self.http = free_port(), free_port()
            self.config.mkdir(parents=True)
        relay = {
            "listen": [{"address": f"127.0.0.1:{self.smtp}"}],
            "smarthosts": {"default": {"host": "127.0.0.1", "port": self.receiver, "tls": "none"}},
            "spool": f"sqlite://{self.folder.resolve()}/spool.db",
            "http": f"127.0.0.1:{self.http}",
            "log": {"level": "info", "format": "json"},
        }
        write_terms(self.config, terms, {**relay, **self.relay})

    def command_line(self, *words: str) -> list[str]:
        line = super().command_line(*words)
        if words != ("run",) or self.given_reports is None:
            return line
        return [sys.executable, str(ROOT / "tests/support/daemon_with_given_reports.py"), *line[3:]]

    async def start(self, seconds: float = 60) -> bool:
        if self.given_reports is not None:
            os.environ["GIVEN_REPORTS"] = str(self.given_reports)
        return await super().start(seconds)

    async def reload(self) -> None:
        """SIGHUP, and wait until the new configuration is in force. Raises AssertionError when it is refused."""
        for event in ("reloaded", "reload_failed"):
            del self._events[event]
        self.send_signal(signal.SIGHUP)
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: bool({"reloaded", "reload_failed"} & self._events.keys()))
        assert "reload_failed" not in self._events, self.log.read_text("utf-8")[-3000:]

    def submit_all(self, mails: Sequence[tuple[Sequence[str], bytes]]) -> list[Reply]:
        """Each (recipients, mail) in one session; the reply to the final dot, or to RCPT if none is accepted."""
        with smtplib.SMTP("127.0.0.1", self.smtp, timeout=60) as client:
            client.ehlo("plateforme.jefacture.example")
            return [_one(client, recipients, mail) for recipients, mail in mails]


def _one(client: smtplib.SMTP, recipients: Sequence[str], mail: bytes) -> Reply:
    client.mail("platform@jefacture.example", [f"size={len(mail)}", *([] if mail.isascii() else ["body=8bitmime"])])
    answers = [client.rcpt(recipient) for recipient in recipients]
    if all(code == 550 for code, _ in answers):
        client.rset()
        return _reply(*answers[-1])
    assert all(code == 250 for code, _ in answers), (recipients, answers)
    return _reply(*client.data(mail))


def _reply(code: int, text: bytes) -> Reply:
    enhanced, _, rest = text.decode("utf-8", "replace").partition(" ")
    return Reply(code, enhanced, rest)
