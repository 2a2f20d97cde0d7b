"""The settings of relay.yaml, declared once each, and what they mean with the firms' files: Settings.

All are frozen values; durations in seconds, sizes in octets. `relay.routing.policy` declares what routing obeys."""

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from relay.model import Retry
from relay.routing.policy import Check, Destination, Export, Identify, IdentifyStep, Kinds, Terms
from relay.setting_parsers import Endpoint
from relay.setting_types import (
    COMPUTED,
    Bool,
    Count,
    Duration,
    Email,
    Exchanger,
    FileName,
    Host,
    Hostname,
    HostPort,
    HttpEndpoint,
    Meaning,
    Name,
    Network,
    NonEmpty,
    Pattern,
    Port,
    Rate,
    Section,
    Setting,
    Size,
    SmallCount,
    SpoolUrl,
    Text,
    one_of,
)
from relay.settings.yaml_file import is_file

_Tls = Annotated[str, one_of("none", "starttls", "required", "implicit")]
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


def is_token(value: str) -> bool:
    """Is `value` an access token alone (RFC 6750 §2.1)?"""
    return _TOKEN.fullmatch(value) is not None


class PasswordError(Exception):
    """The secret cannot be had now: a temporary failure. Its text never holds the secret."""


@dataclass(frozen=True, slots=True)
class Listener(Section):
    """One address that this SMTP server listens on. certificate, private_key, users_file: absolute paths, or None."""

    host: Annotated[str, COMPUTED]
    port: Annotated[int, COMPUTED]
    tls: Annotated[
        _Tls,
        Meaning(
            "`none`, `starttls` (offered), `required` (demanded before MAIL), `implicit` (from the first octet)",
            "required",
        ),
    ] = "none"
    certificate: Annotated[
        FileName | None,
        Meaning("PEM chain, for all but `none`; the file itself is read again on reload", "tls/fullchain.pem"),
    ] = None
    private_key: Annotated[FileName | None, Meaning("its key", "tls/privkey.pem")] = None
    proxy_protocol: Annotated[
        Bool, Meaning("a HAProxy stands before this listener and sends the PROXY header (v1 or v2)", True)
    ] = False
    allow_networks: Annotated[tuple[Network, ...], Meaning("who may send without AUTH", ["192.0.2.0/24"])] = (
        "127.0.0.0/8",
        "::1/128",
    )
    users_file: Annotated[
        FileName | None,
        Meaning(
            "`name:hash` lines for AUTH PLAIN and LOGIN, over TLS only; the file itself is read again on reload",
            "users",
        ),
    ] = None
    proxy_networks: Annotated[
        tuple[Network, ...] | None,
        Meaning("who may send that header; left out: who is in `allow_networks`", ["192.0.2.5/32"]),
    ] = None

    def __str__(self) -> str:
        return str(self.address)

    @property
    def address(self) -> Endpoint:
        return Endpoint(self.host, self.port)

    @classmethod
    def settings(cls) -> tuple[Setting, ...]:
        """The key `address` stands for host and port."""
        return (_ADDRESS, *Section.settings.__func__(cls))  # type: ignore[attr-defined]

    @classmethod
    def from_keys(cls, values: dict[str, Any]) -> Self:
        return cls(*values.pop("address"), **values)


_ADDRESS = Setting(
    "address", "address", HostPort, Meaning("address and port; required in each entry", "0.0.0.0:2525"), MISSING
)


@dataclass(frozen=True, slots=True)
class Accept(Section):
    """Limits of the SMTP server. max_mails_per_minute_per_host: 0 is none."""

    recipients: Annotated[
        tuple[Pattern, ...],
        NonEmpty(),
        Meaning(
            "what we relay for; anything else is `550 5.7.1`: never an open relay. With `identify: [recipient]` alone, "
            "an address of no client is `550 5.1.1`",
            ["*@export.relay.example"],
        ),
    ] = ("*@export.relay.example",)
    max_mail_size: Annotated[Size, Meaning("of an incoming message; beyond it `552`", "25 MiB")] = 50 * 1024 * 1024
    max_recipients: Annotated[Count, Meaning("of one message; beyond it `452`", 50)] = 100
    max_connections: Annotated[Count, Meaning("open at once; beyond it `421`", 200)] = 500
    max_connections_per_host: Annotated[Count, Meaning("open at once from one address", 20)] = 50
    idle_timeout: Annotated[Duration, Meaning("silence after which a session is ended", "10 min")] = 300.0
    session_timeout: Annotated[Duration, Meaning("a session in all; a message being stored is finished", "30 min")] = (
        3600.0
    )
    max_mails_per_minute_per_host: Annotated[
        Rate, Meaning("`0`: no limit; beyond it `450 4.7.1`, the host tries again", 600)
    ] = 0
    bare_lf: Annotated[
        str,
        one_of("refuse", "repair"),
        Meaning(
            "a lone LF: `refuse` (`554 5.6.11`) or `repair` (becomes CR LF); a lone CR is always refused", "repair"
        ),
    ] = "refuse"
    backlog: Annotated[Count, Meaning("connections waiting to be taken by the kernel", 256, live=False)] = 1024


@dataclass(frozen=True, slots=True)
class Smarthost(Section):
    """How messages leave. password_file, token_file: absolute, or None; at most one of them."""

    name: Annotated[str, COMPUTED]
    host: Annotated[Host, Meaning("name or address of the mail server; required", "smtp.example")]
    port: Annotated[Port, Meaning("its port", 465)] = 587
    tls: Annotated[
        _Tls,
        Meaning("`required` (no message without it), `starttls` (if offered), `implicit`, `none`", "implicit"),
    ] = "required"
    username: Annotated[Text | None, Meaning("for AUTH", "relay")] = None
    password_file: Annotated[
        FileName | None,
        Meaning(
            "file with the password, not readable by others; read at each connection; never a password in YAML",
            "smarthost-password",
        ),
    ] = None
    token_file: Annotated[
        FileName | None,
        Meaning(
            "in place of a password: file with the access token for XOAUTH2 (Google, Microsoft), read at each "
            "connection; whatever gets new tokens writes it anew; no systemd credential, for those are copied at start",
            "smarthost-token",
        ),
    ] = None
    connections: Annotated[SmallCount, Meaning("open at once", 2)] = 4
    mx: Annotated[
        Bool,
        Meaning(
            "`host` is a domain: messages go to its mail exchangers (MX, else its own address), by preference; with "
            "`port: 25`",
            True,
        ),
    ] = False
    mx_names: Annotated[
        tuple[Exchanger, ...],
        Meaning(
            "which names the exchangers may have, over TLS: DNS can be forged; `[]`: the domain's own and those below "
            "it",
            ["*.provider.example"],
        ),
    ] = ()

    @classmethod
    def from_keys(cls, values: dict[str, Any]) -> Self:
        """Without its name, which is the key of its section."""
        return cls("", **values)

    def password(self) -> str | None:
        """The password as it stands on disk at this moment (it may change at any time), None when none is configured.

        Blocks for one small read. Raises PasswordError when the file cannot be read or is empty.
        """
        return None if self.password_file is None else self._secret("password", self.password_file)

    def token(self) -> str | None:
        """The access token as it stands on disk at this moment: it lives for about an hour. As `password`.

        PasswordError too when it is not a token (RFC 6750 §2.1), so that nothing else is sent.
        """
        if self.token_file is None:
            return None
        value = self._secret("token", self.token_file)
        if not is_token(value):
            raise PasswordError(f"token of smarthost {self.name}: {self.token_file} holds no access token alone")
        return value

    def _secret(self, kind: str, file: str) -> str:
        what = f"{kind} of smarthost {self.name}: {file}"
        try:
            value = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not UTF-8"
            raise PasswordError(f"{what}: {reason}") from None
        if not value:
            raise PasswordError(f"{what} is empty")
        return value


@dataclass(frozen=True, slots=True)
class Log(Section):
    """`log:` of relay.yaml."""

    level: Annotated[
        str,
        one_of("debug", "info", "warning", "error"),
        Meaning("`debug` (whole addresses too), `info`, `warning`, `error`", "warning", live=False),
    ] = "info"
    format: Annotated[
        str,
        one_of("auto", "json", "console"),
        Meaning("`auto` (JSON under systemd, colours on a terminal), `json`, `console`", "json", live=False),
    ] = "auto"


@dataclass(frozen=True, slots=True)
class Dkim(Section):
    """`dkim:` of relay.yaml."""

    domain: Annotated[Hostname, Meaning("domain that signs (`d=`)", "durand.example")]
    selector: Annotated[Name, Meaning("where its public key is published (`s=`)", "relay")]
    private_key: Annotated[
        FileName,
        Meaning(
            "RSA (2048 bits or more) or Ed25519, PEM without passphrase, not readable by others; read again at a "
            "reload. `agiris-relay dkim record` prints the TXT record to publish",
            "dkim.pem",
        ),
    ]


@dataclass(frozen=True, slots=True)
class Defaults(Export):
    """`defaults:` of relay.yaml, for all firms of the host: in force where firm, connection and client say nothing."""

    inherited_meaning: ClassVar[Meaning | None] = Meaning("as in a connection")

    operator: Annotated[
        Email | None,
        Meaning(
            "who gets the notices and the digest of a firm that names no `operator`; on a host with several firms also "
            "the notices of messages that are of no known client",
            "exploitation@hote.example",
        ),
    ] = None
    share_with_firm: Annotated[
        Bool, Meaning("as in a client; `false`: only the clients that say `true` share", True)
    ] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSettings(Section):
    """What relay.yaml says to the daemon itself; the keys that `relay.routing` obeys are in RelayFile and Terms."""

    listen: Annotated[
        tuple[Listener, ...],
        NonEmpty(),
        Meaning(
            "where the SMTP server listens, one address or more; left out: `127.0.0.1:2525` and `[::1]:2525`",
            live=False,
        ),
    ] = (Listener("::1", 2525), Listener("127.0.0.1", 2525))
    accept: Annotated[Accept, Meaning("what the SMTP server accepts")] = Accept()
    smarthosts: Annotated[
        Mapping[Name, Smarthost],
        NonEmpty(),
        Meaning(
            "how messages leave, by name; required, `default` is what connections and the relay's own messages use",
            required=True,
        ),
    ] = field(default_factory=dict)
    dkim: Annotated[Dkim | None, Meaning("sign what leaves, our own messages too; left out: off")] = None
    retry: Annotated[
        Retry, Meaning("when a deferred message is tried again, somebody warned, the message given up")
    ] = Retry()  # noqa: RUF009 - frozen
    spool: Annotated[
        SpoolUrl,
        Meaning(
            "where accepted messages are; a local disk, never a network share. `sqlite:spool.db`: a file in this "
            "folder, for a trial",
            "sqlite:///srv/agiris-relay/spool.db",
            live=False,
        ),
    ] = "sqlite:///var/lib/agiris-relay/spool.db"
    keep_delivered: Annotated[
        Duration,
        Meaning(
            "for so long content and history of what is over are kept; what a setting withheld counts as over from the "
            "day it was withheld",
            "90 d",
            live=False,
        ),
    ] = 30 * 86400.0
    http: Annotated[
        HttpEndpoint,
        Meaning("address of `/metrics`, `/healthz`, `/readyz`; `off`: none", "127.0.0.1:9600", live=False),
    ] = Endpoint("127.0.0.1", 9525)  # noqa: RUF009 - frozen
    log: Annotated[Log, Meaning("the log on standard output", live=False)] = Log()
    language: Annotated[str, one_of("fr", "en"), Meaning("of notices and digests to operators: `fr`, `en`", "en")] = (
        "fr"
    )
    digest: Annotated[
        str,
        one_of("off", "daily", "weekly"),
        Meaning(
            "to each firm's operator, as text and HTML: `off`, `daily` (at 7 h, the machine's time), `weekly` (Mondays "
            "at 7 h); none for a firm before its first message",
            "weekly",
        ),
    ] = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayFile(DaemonSettings):
    """All keys of relay.yaml."""

    hostname: Annotated[
        Hostname,
        Meaning(
            "public name of this machine: `EHLO`, `Received:`, Message-ID of notices",
            "relay.durand.example",
            live=False,
        ),
    ] = "relay.cabinet.example"
    identify: Annotated[
        tuple[Annotated[Identify, IdentifyStep()], ...],
        NonEmpty(),
        Meaning("who is the client? The first answer wins, a contradiction holds the message", ["recipient", "siren"]),
    ] = (Identify("recipient"), Identify("header", "x-dossier"), Identify("siren"))
    kinds: Annotated[Kinds, Meaning("what a document without a Factur-X is")] = Kinds()  # noqa: RUF009 - frozen
    check: Annotated[Check, Meaning("the check of the Factur-X")] = field(default_factory=Check)
    defaults: Annotated[
        Defaults,
        Meaning(
            "for all firms of this host, where neither the client nor its connection (for `operator`: the firm) says "
            "otherwise"
        ),
    ] = Defaults()
    destinations: Annotated[
        Mapping[Name, Destination],
        Meaning("what a receiving intake demands, by name; `agiris` is built in"),
    ] = field(default_factory=dict)
    return_path: Annotated[
        Email,
        Meaning(
            "envelope sender of what is relayed, tagged per message, so that late bounces arrive here; at most 24 "
            "characters before the `@`, for the tag needs room",
            "retours@export.relay.example",
        ),
    ] = "bounces@export.relay.example"


@dataclass(frozen=True, slots=True)
class Settings(DaemonSettings):
    """What is in force. spool: `sqlite:///absolute/path`. operator: of the host, `defaults.operator`, or None."""

    terms: Terms
    operator: str | None = None

    @property
    def own_smarthost(self) -> str:
        """By which smarthost messages of our own leave: "default", else the one that `smarthosts` names first."""
        return "default" if "default" in self.smarthosts else next(iter(self.smarthosts), "default")


def read_at_start() -> tuple[str, ...]:
    """The keys of relay.yaml that are not live: a reload that changes one of them warns that it takes a restart."""
    return tuple(setting.key for setting in RelayFile.settings() if not setting.meaning.live)


def resolve_path(directory: Path, name: str) -> str:
    """Absolute path of a file named in the YAML: from its folder, or a systemd credential of that bare name."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and "/" not in name and is_file(Path(credentials) / name):
        return str(Path(credentials) / name)
    return str((directory / name).absolute())
