"""agiris-relay as a contender: the real daemon with settings that let a bench through."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.load.bench import Target
from tests.bench.load.template import Template, of_size
from tests.support.daemon_process import DaemonProcess
from tests.support.many_clients import siren

CHECKS = {
    "off": "{level: off}",
    "structure": "{level: structure}",
    "full": "{level: full, french_rules: error}",
}

RELAY = """\
hostname: relay.bench.example
listen:
  - address: "127.0.0.1:{smtp}"
accept:
  recipients: ["*@export.relay.example"]
  max_connections: 1000
  max_connections_per_host: 1000
smarthosts:
{smarthosts}
destinations:
{destinations}
return_path: bounces@export.relay.example
spool: sqlite://{spool}
http: "127.0.0.1:{http}"
log: {{level: info, format: json}}
check: {check}
"""

FIRM = """\
firm: Cabinet
connections:
  agiris: {link_name: Agiris, type: email, transmit_documents: true, original_pdf: false}
clients:
"""

CLIENT = (
    '  - {{dossier: "{number:08d}", name: Client {number}, siren: "{siren}", share_with_firm: true, connection: agiris,'
    " agiris_address: {number:08d}@agiris.example, recipients: [c{number}@export.relay.example]{more}}}\n"
)


def recipient(number: int) -> str:
    """Where the platform sends the documents of client `number`."""
    return f"c{number}@export.relay.example"


def template(size: str, number: int = 0) -> Template:
    """A message of `size` for client `number`."""
    return of_size(size, recipient(number), siren(number))


@dataclass
class Ours:
    """`with Ours(sink_port, "full") as ours`: runs meanwhile, in a temporary folder.

    next_hops: ports by smarthost; client k goes by the k-th of them, each with a destination of its name.
    connections: open at once to each. more_check: further keys of `check`. environment, prefix: of the command; see
    Rig. before: called when the configuration is written and the daemon not started.
    """

    sink: int
    level: str
    clients: int = 1
    next_hops: Mapping[str, int] = field(default_factory=dict)
    connections: int = 16
    more_check: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()
    before: Callable[["Ours"], object] = lambda ours: None
    started_in: float = 0.0

    @property
    def name(self) -> str:
        return f"ours, {self.level}"

    @property
    def target(self) -> Target:
        return Target(self.name, self.rig.smtp, (self.rig.pid,), self.rig.pid, original=False)

    def prepare(self) -> None:
        """Write the configuration."""
        self._folder = tempfile.TemporaryDirectory(prefix="relay-bench-")
        self.rig = DaemonProcess(Path(self._folder.name), self.sink, environment=self.environment).prepare()
        hops = dict(self.next_hops) or {"default": self.sink}
        text = RELAY.format(
            smtp=self.rig.smtp,
            http=self.rig.http,
            spool=self.rig.database.resolve(),
            smarthosts="".join(
                f"  {name}: {{host: 127.0.0.1, port: {port}, tls: none, connections: {self.connections}}}\n"
                for name, port in {"default": self.sink, **hops}.items()
            ).rstrip(),
            destinations="".join(
                f"  {name}: {{max_mail_size: 50 MiB, max_mails_per_minute: 1000000}}\n"
                for name in ("agiris", *self.next_hops)
            ).rstrip(),
            check=CHECKS[self.level].replace("}", f"{self.more_check}}}"),
        )
        (self.rig.config / "relay.yaml").write_text(text, encoding="utf-8")
        names = list(self.next_hops)
        self.rig.write_firm(
            FIRM
            + "".join(
                CLIENT.format(number=number, siren=siren(number), more=_ways(names, number))
                for number in range(self.clients)
            )
        )

    def __enter__(self) -> "Ours":
        self.prepare()
        try:
            self.before(self)
            self.started_in = self.rig.start(self.prefix)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.rig.close()
        self._folder.cleanup()


def _ways(names: Sequence[str], number: int) -> str:
    if not names:
        return ""
    name = names[number % len(names)]
    return f", smarthost: {name}, destination: {name}"
