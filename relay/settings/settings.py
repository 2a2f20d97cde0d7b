"""Settings: all that relay.yaml and the firms mean, as frozen values. Durations in seconds, sizes in octets.

Live keys are those marked (live) in config/relay.yaml; the rest is read once, at start."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relay.model import Retry
from relay.routing.policy import Terms
from relay.settings.yaml_file import is_file

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


def is_token(value: str) -> bool:
    """Is `value` an access token alone (RFC 6750 §2.1)?"""
    return _TOKEN.fullmatch(value) is not None


class PasswordError(Exception):
    """The secret cannot be had now: a temporary failure (DESIGN rule 3). Its text never holds the secret."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """host: a name or an address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Listener:
    """One SMTP door. tls: none | starttls (offered) | required (demanded before MAIL) | implicit.

    certificate, private_key, users_file: absolute paths, or None. allow_networks: CIDR; may send without AUTH.
    proxy_networks: CIDR; may send a PROXY header; None: those of allow_networks.
    """

    host: str
    port: int
    tls: str = "none"
    certificate: str | None = None
    private_key: str | None = None
    proxy_protocol: bool = False
    allow_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    users_file: str | None = None
    proxy_networks: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return str(Endpoint(self.host, self.port))


@dataclass(frozen=True, slots=True)
class Accept:
    """Limits of the door. max_mails_per_minute_per_host: 0 is none. bare_lf: refuse | repair. backlog: of listen(2)."""

    max_mail_size: int = 50 * 1024 * 1024
    max_recipients: int = 100
    max_connections: int = 500
    max_connections_per_host: int = 50
    idle_timeout: float = 300.0
    session_timeout: float = 3600.0
    max_mails_per_minute_per_host: int = 0
    bare_lf: str = "refuse"
    backlog: int = 1024


@dataclass(frozen=True, slots=True)
class Smarthost:
    """How messages leave. tls: none | starttls (if offered) | required | implicit.

    password_file, token_file: absolute, or None; at most one of them. mx: host is a domain, sent to by its exchangers.
    mx_names: which names these may have (`*.provider.example` is a pattern); none: those of the domain.
    """

    name: str
    host: str
    port: int = 587
    tls: str = "required"
    username: str | None = None
    password_file: str | None = None
    token_file: str | None = None
    connections: int = 4
    mx: bool = False
    mx_names: tuple[str, ...] = ()

    def password(self) -> str | None:
        """The password as it stands on disk at this moment (DESIGN rule 7), None when none is configured.

        Blocks for one small read. Raises PasswordError when the file cannot be read or is empty.
        """
        return None if self.password_file is None else self._secret("password", self.password_file)

    def token(self) -> str | None:
        """The access token as it stands on disk at this moment: it lives for about an hour. As `password`.

        PasswordError too when it is not a token (RFC 6750 §2.1), so that nothing else gets into the dialogue.
        """
        if self.token_file is None:
            return None
        value = self._secret("token", self.token_file)
        if not is_token(value):
            raise PasswordError(f"token of smarthost {self.name}: {self.token_file} holds no access token alone")
        return value

    def _secret(self, kind: str, file: str) -> str:
        told = f"{kind} of smarthost {self.name}: {file}"
        try:
            value = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not UTF-8"
            raise PasswordError(f"{told}: {reason}") from None
        if not value:
            raise PasswordError(f"{told} is empty")
        return value


@dataclass(frozen=True, slots=True)
class Log:
    """level: debug | info | warning | error. format: auto | json | console."""

    level: str = "info"
    format: str = "auto"


@dataclass(frozen=True, slots=True)
class Dkim:
    domain: str
    selector: str
    private_key: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What is in force. spool: `sqlite:///absolute/path`. keep_delivered: seconds. http: None when off.

    digest: off | daily | weekly. operator: of the host, `defaults.operator`, or None.
    """

    terms: Terms
    listen: tuple[Listener, ...] = (Listener("::1", 2525), Listener("127.0.0.1", 2525))
    accept: Accept = Accept()
    smarthosts: Mapping[str, Smarthost] = field(default_factory=dict)
    retry: Retry = Retry()  # noqa: RUF009 - frozen
    spool: str = "sqlite:///var/lib/agiris-relay/spool.db"
    keep_delivered: float = 30 * 86400.0
    http: Endpoint | None = Endpoint("127.0.0.1", 9525)
    log: Log = Log()
    language: str = "fr"
    digest: str = "off"
    dkim: Dkim | None = None
    operator: str | None = None

    @property
    def own_smarthost(self) -> str:
        """By which smarthost messages of our own leave: "default", else the one that `smarthosts` names first."""
        return "default" if "default" in self.smarthosts else next(iter(self.smarthosts), "default")


STATIC = ("listen", "spool", "keep_delivered", "http", "log")
"""Keys read once, as is `hostname`: a reload that changes one of them warns that it takes a restart."""


def resolve_path(directory: Path, name: str) -> str:
    """Absolute path of a file named in the YAML: from its folder, or a systemd credential of that bare name."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and "/" not in name and is_file(Path(credentials) / name):
        return str(Path(credentials) / name)
    return str((directory / name).absolute())
