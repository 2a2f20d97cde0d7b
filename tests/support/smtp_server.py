"""The SMTP server in its own process, its intake records: `python -m tests.support.smtp_server [--tls MODE] …`.

Prints one JSON line `{"ready": [[host, port], …]}` on stdout, then one for each message accepted; SIGTERM drains.
Recipients: anything @export.example, and postmaster. Local part "fault": the intake raises. "busy": 451. "slow": waits.
"""

import argparse
import asyncio
import hashlib
import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from relay import serialization
from relay.demo.stage import Stage, free_port
from relay.intake import LINE_REPLIES
from relay.mime.line_ends import flaw
from relay.model import Envelope
from relay.observability.events import Event
from relay.replies import Reply
from relay.smtpd import SmtpServer, make_user_line

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Listener:
    host: str = "127.0.0.1"
    port: int = 0
    tls: str = "none"
    certificate: str | None = None
    private_key: str | None = None
    proxy_protocol: bool = False
    allow_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    users_file: str | None = None
    proxy_networks: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    max_mail_size: int = 100_000
    max_recipients: int = 5
    max_connections: int = 100
    max_connections_per_host: int = 100
    idle_timeout: float = 30.0
    session_timeout: float = 3600.0
    max_mails_per_minute_per_host: int = 0
    bare_lf: str = "refuse"
    backlog: int = 1024


class Recorder:
    """An intake that accepts what is for export.example and keeps it."""

    def __init__(self) -> None:
        self.mails: list[tuple[Envelope, bytes]] = []
        self.arrived = asyncio.Event()
        self.go_on = asyncio.Event()

    def room(self) -> Reply | None:
        return None

    def recipient(self, address: str) -> Reply | None:
        if address.startswith("oops@"):
            raise RuntimeError("a secret of ours")
        if address == "postmaster" or address.lower().endswith("@export.example"):
            return None
        return Reply(550, "5.7.1", "not an export address of this relay")

    async def accept(self, envelope: Envelope, raw: bytes) -> Reply:
        self.arrived.set()
        local = envelope.addresses[0].partition("@")[0]
        if local == "fault":
            raise RuntimeError("a secret of ours")
        if local == "busy":
            return Reply(451, "4.3.2", "busy")
        if local == "slow":
            await self.go_on.wait()
        if (found := flaw(raw)) is not None:  # as the daemon's own intake
            return LINE_REPLIES[found]
        self.mails.append((envelope, raw))
        return Reply(250, "2.0.0", f"sha256 {hashlib.sha256(raw).hexdigest()[:16]} size {len(raw)}")


class Events:
    """An observer that keeps the events of the server."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.all.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.all if isinstance(event, kind)]


def self_signed(directory: Path) -> tuple[str, str]:
    """(certificate, private key) for "localhost", made by openssl."""
    import subprocess

    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return str(certificate), str(key)


def six_listeners(stage: Stage, folder: Path, users: Mapping[str, str], accept: str = "") -> dict[str, tuple[str, int]]:
    """Give a prepared daemon the same six listeners as the server has here; return the address of each.

    accept: what stands under `accept:` in place of the demo's (indented by two spaces).
    """
    certificate, key = self_signed(folder)
    (folder / "users").write_text("".join(f"{make_user_line(*each)}\n" for each in users.items()), encoding="utf-8")
    Path(key).chmod(0o600)
    (folder / "users").chmod(0o600)
    addresses = {"plain": ("127.0.0.1", stage.smtp)}
    files = f"certificate: {certificate}, private_key: {key}, users_file: {folder / 'users'}"
    listen = [f'{{address: "127.0.0.1:{stage.smtp}"}}']
    for name in ("starttls", "required", "implicit", "outside"):
        addresses[name] = ("127.0.0.1", free_port())
        networks = "[192.0.2.0/24]" if name == "outside" else "[127.0.0.0/8]"
        tls = "starttls" if name == "outside" else name
        listen.append(f'{{address: "127.0.0.1:{addresses[name][1]}", tls: {tls}, allow_networks: {networks}, {files}}}')
    addresses["proxy"] = ("127.0.0.1", free_port())
    listen.append(
        f'{{address: "127.0.0.1:{addresses["proxy"][1]}", proxy_protocol: true, proxy_networks: [127.0.0.0/8],'
        " allow_networks: [192.0.2.0/24]}"
    )
    path = stage.config / "relay.yaml"
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition("listen:\n")
    _, _, rest = rest.partition("accept:\n")
    text = head + "listen:\n" + "".join(f"  - {each}\n" for each in listen) + "accept:\n" + (accept or "") + rest
    path.write_text(text, encoding="utf-8")
    return addresses


async def _main(listeners: list[Listener], limits: Limits) -> None:
    recorder, stop = Recorder(), asyncio.Event()
    recorder.go_on.set()

    def observe(event: Event) -> None:
        print(event, file=sys.stderr)

    server = SmtpServer(listeners, lambda: limits, recorder, "mx.example", observe, auth_delay=0.0)
    await server.start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(json.dumps({"ready": server.addresses}), flush=True)
    await stop.wait()
    await server.drain(5.0)
    for envelope, raw in recorder.mails:
        print(json.dumps({"envelope": serialization.plain(envelope), "size": len(raw)}))


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("certificate", "private-key", "users-file"):
        parser.add_argument(f"--{name}")
    arguments = parser.parse_args()
    plain = Listener()
    listeners = [plain]
    if arguments.certificate:
        secured = replace(
            plain,
            certificate=arguments.certificate,
            private_key=arguments.private_key,
            users_file=arguments.users_file,
        )
        listeners += [replace(secured, tls=mode) for mode in ("starttls", "required", "implicit")]
        listeners.append(replace(secured, tls="starttls", allow_networks=()))
    listeners.append(replace(plain, proxy_protocol=True, allow_networks=("127.0.0.0/8", "192.0.2.0/24")))
    asyncio.run(_main(listeners, Limits()))


if __name__ == "__main__":
    main()
