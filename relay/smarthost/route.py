"""Where a mail goes and how: bound at each attempt from the settings in force (DESIGN rule 7)."""

from dataclasses import dataclass, field
from enum import StrEnum


class Tls(StrEnum):
    """`starttls`: when offered; `required`: STARTTLS or nothing; `implicit`: TLS from the first octet (RFC 8314)."""

    NONE = "none"
    STARTTLS = "starttls"
    REQUIRED = "required"
    IMPLICIT = "implicit"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait at each stage; the defaults are those of rfc5321#4.5.3.2 where it names one.

    connect: for each address of the host. block: for each slice of the content to be taken from us.
    final: for the reply to the final dot; being too short here makes duplicates.
    """

    connect: float = 30.0
    greeting: float = 300.0
    ehlo: float = 300.0
    tls: float = 60.0
    auth: float = 60.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    block: float = 180.0
    final: float = 600.0


@dataclass(frozen=True, slots=True)
class Route:
    """One next hop as it is to be reached now. Two equal routes share their connections.

    name: of the smarthost in the settings, for logs. hostname: what we call ourselves in EHLO.
    ca_file: certificates to trust in place of the system's. connections: at most so many at a time.
    mx: `host` is a domain whose mail exchangers are asked for. mx_names: which names they may have (a pattern:
    `*.provider.example`); none: the domain's own and those below it.
    A username needs TLS: without it the mail is deferred and no password leaves. token: an access token, given by
    XOAUTH2 in place of a password.
    """

    host: str
    port: int = 25
    tls: Tls = Tls.REQUIRED
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    connections: int = 4
    name: str = "default"
    hostname: str = "localhost"
    ca_file: str | None = None
    timeouts: Timeouts = Timeouts()
    mx: bool = False
    mx_names: tuple[str, ...] = ()
