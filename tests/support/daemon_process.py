"""The real daemon as a process group that fault tests can kill, stop and trace.

Blocking calls, for the tests of tests/fault run threads as senders and wait for nothing else meanwhile.
"""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from relay.demo.stage import free_port
from relay.queue import Limits
from tests.support.message_ledger import Arrival, Kill, read_journal

ROOT = Path(os.environ.get("RELAY_TREE", Path(__file__).parents[2]))
"""The tree whose `relay` runs: a sabotaged copy can be put under the same tests."""

CONNECTIONS = 4
IN_FLIGHT = Limits().per_destination
"""Deliveries to one destination that may be claimed and not settled at one instant: what a kill may double.

The limit is hard: a claim takes no more than a destination has places free. The average must not exceed the
connections: the others in flight wait for one, or for the record of an answer already heard."""

SIRENS = ("732829320", "356000000", "552100554", "542051180")
STRANGER = "775670417"

RELAY = """\
hostname: relay.fault.example
listen:
  - address: "127.0.0.1:{smtp}"
accept: {{recipients: ["*@export.relay.example"], max_connections_per_host: 200}}
smarthosts:
  default: {{host: 127.0.0.1, port: {next_hop}, tls: none, connections: {connections}}}
destinations:
  agiris: {{max_mails_per_minute: 100000}}
return_path: bounces@export.relay.example
retry: {{first: 1s, ceiling: 2s}}
spool: sqlite://{spool}
http: "127.0.0.1:{http}"
log: {{level: info, format: json}}
check: {{level: structure, workers: 1}}
"""


def firm_yaml(address: Callable[[int], str] = lambda number: f"{number:08d}@agiris.example") -> str:
    """Four clients on one connection; `address(number)`: their Agiris addresses."""
    clients = "".join(
        f'  - {{dossier: "{number:08d}", name: Client {number}, siren: "{siren}", share_with_firm: true,'
        f" connection: agiris, agiris_address: {address(number)}, recipients: [client{number}@export.relay.example]}}\n"
        for number, siren in enumerate(SIRENS)
    )
    return (
        "firm: Cabinet\noperator: exploitation@cabinet.example\nconnections:\n"
        "  agiris: {link_name: Agiris, type: email, transmit_documents: true, original_pdf: false}\nclients:\n"
        + clients
    )


class NextHopProcess:
    """The recording next hop in its own process (tests/support/recording_next_hop.py)."""

    def __init__(self, journal: Path, faults: float = 0.0, seed: int = 1, port: int = 0, pace: float = 0.0) -> None:
        self.journal = journal
        self._read = self._counted = 0
        words = ["--journal", str(journal), "--faults", str(faults), "--seed", str(seed), "--port", str(port)]
        words += ["--pace", str(pace)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.recording_next_hop", *words],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    @property
    def pid(self) -> int:
        return self._process.pid

    def behave(self) -> None:
        self._process.send_signal(signal.SIGUSR1)

    def refuse(self) -> None:
        self._process.send_signal(signal.SIGUSR2)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def arrivals(self) -> list[Arrival]:
        return read_journal(self.journal)

    def count(self) -> int:
        """Arrivals so far."""
        if self.journal.exists():
            with self.journal.open("rb") as journal:
                journal.seek(self._read)
                fresh = journal.read()
            self._read, self._counted = self._read + len(fresh), self._counted + fresh.count(b"\n")
        return self._counted


@dataclass
class DaemonProcess:
    """folder: configuration and log. spool: path of the database, by default in `folder`. wrap: words before python."""

    folder: Path
    next_hop: int
    spool: Path | None = None
    more: str = ""
    smtp: int = field(default_factory=free_port)
    http: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    replace: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _started: int = 0
    _tracers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def log(self) -> Path:
        return self.folder / "daemon.log"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def database(self) -> Path:
        return self.spool or self.folder / "spool" / "spool.db"

    def prepare(self) -> "DaemonProcess":
        (self.config / "firms").mkdir(parents=True)
        self.write_relay()
        self.write_firm(firm_yaml())
        return self

    def write_relay(self) -> None:
        text = RELAY.format(
            smtp=self.smtp,
            http=self.http,
            next_hop=self.next_hop,
            spool=self.database.resolve(),
            connections=CONNECTIONS,
        )
        for old, new in self.replace.items():
            assert old in text, old
            text = text.replace(old, new)
        (self.config / "relay.yaml").write_text(text + self.more, encoding="utf-8")

    def write_firm(self, text: str) -> None:
        (self.config / "firms" / "cabinet.yaml").write_text(text, encoding="utf-8")

    def launch(self, prefix: Sequence[str] = ()) -> None:
        """Begin to start; `wait_started` waits for it. prefix: a command that runs it, as strace."""
        self._started = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "relay.cli", "run", "--config", str(self.config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
            )

    def start(self, prefix: Sequence[str] = (), seconds: float = 60) -> float:
        """Start the daemon; seconds until it says `started`."""
        began = time.monotonic()
        self.launch(prefix)
        self.wait_event("started", seconds)
        return time.monotonic() - began

    def wait_event(self, event: str, seconds: float = 30, since: int | None = None) -> dict[str, Any]:
        """The first log line of `event` since this start (or octet `since` of the log)."""
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            found.extend(self.events(event, self._started if since is None else since)[:1])
            return bool(found) or self._ended()

        wait_until(seen, seconds, lambda: f"no {event!r} in the log:\n{self.tail()}")
        assert found, f"the daemon ended before {event!r}:\n{self.tail()}"
        return found[0]

    def events(self, event: str = "", since: int = 0) -> list[dict[str, Any]]:
        """Log lines of `event` (all for "") from octet `since` on."""
        with self.log.open("rb") as log:
            log.seek(since)
            text = log.read()
        wanted = f'"event": "{event}"'.encode() if event else b'"event"'
        return [json.loads(line) for line in text.splitlines() if wanted in line and line.endswith(b"}")]

    def tail(self) -> str:
        return self.log.read_text("utf-8", "replace")[-3000:] if self.log.exists() else ""

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def wait_exit(self, seconds: float = 40) -> int:
        assert self._process is not None
        return self._process.wait(seconds)

    def signal_all(self, number: signal.Signals) -> None:
        """To the daemon and its workers."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def strace(self, *words: str) -> subprocess.Popen[bytes]:
        """strace attached to the daemon and all its threads, once it is attached. It ends with the daemon."""
        tracer = subprocess.Popen(
            ["strace", "-f", "-p", str(self.pid), *words], stderr=subprocess.PIPE, start_new_session=True
        )
        assert tracer.stderr is not None
        while (line := tracer.stderr.readline()) and b"attached" not in line:
            pass
        assert line, "strace could not be attached"
        self._tracers.append(tracer)
        threading.Thread(target=tracer.stderr.read, daemon=True).start()
        return tracer

    def kill(self) -> Kill:
        """kill -9 of all processes at once; when."""
        assert self._process is not None
        at = time.time()
        self.signal_all(signal.SIGKILL)
        self._process.wait()
        return Kill(at, time.time())

    def terminate(self, seconds: float = 40) -> int:
        """SIGTERM as systemd sends it; the exit code."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        return self.wait_exit(seconds)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal_all(signal.SIGCONT)
            self.kill()
        for tracer in self._tracers:
            tracer.terminate()
            tracer.wait()

    def command(self, *words: str) -> list[dict[str, Any]]:
        """What `agiris-relay WORDS --json` prints."""
        done = subprocess.run(
            [sys.executable, "-m", "relay.cli", *words, "--json", "--config", str(self.config)],
            capture_output=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]

    def metric(self, name: str) -> float:
        """A figure of /metrics, summed over its labels."""
        with urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        values = re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        assert values, f"no metric {name}:\n{text}"
        return sum(float(value) for value in values)

    def children(self) -> list[int]:
        """Pids of the workers."""
        found = []
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            found += [int(each) for each in (task / "children").read_text().split()]
        return found

    def resident(self) -> int:
        """Octets of memory of the main process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]


def wait_until(condition: Callable[[], bool], seconds: float, why: Callable[[], str] | str) -> None:
    """Look again and again until `condition()`; fails with `why` after `seconds`."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(why if isinstance(why, str) else why())
        pause.wait(0.02)


def pause(seconds: float) -> None:
    """Let the daemon run for so long: the time of a fault, not a wait for something."""
    threading.Event().wait(seconds)


def greeting(port: int, seconds: float) -> bytes:
    """What the door says to a new connection; b"" when nothing comes in time."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), seconds) as connection:
        if select.select([connection], [], [], seconds)[0]:
            return connection.recv(512)
    return b""
