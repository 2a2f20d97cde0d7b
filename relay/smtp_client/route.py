"""The route to a next hop: host, TLS, credentials and timeouts; its mail exchangers by DNS (RFC 5321 §5.1)."""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import dns.exception
import dns.name
from dns.asyncresolver import Resolver
from dns.resolver import NXDOMAIN, Answer, LifetimeTimeout, NoAnswer, NoNameservers

from relay.replies import Deferred, ErrorKind, Outcome, Stage, failure


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
    A username needs TLS: without it the message is deferred and no password leaves. token: an access token, given by
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


class Unreachable(Exception):
    """No usable connection came about; `outcome` says what that means for the message."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome.reply))
        self.outcome = outcome

    @property
    def alerts(self) -> bool:
        """An operator must act."""
        return isinstance(self.outcome, Deferred) and self.outcome.alert

    @property
    def at_auth(self) -> bool:
        """The host was reached and rejected the credentials."""
        return isinstance(self.outcome, Deferred) and self.outcome.stage is Stage.AUTH


MAX_EXCHANGERS = 5  # as many as Postfix's smtp_mx_address_limit

_DNS_ERRORS = (OSError, dns.exception.DNSException, ValueError)  # ValueError: of a resolv.conf that is none


class MailExchangers:
    """resolver: makes one that knows which name servers to ask; by itself as /etc/resolv.conf says at that moment.

    shuffle: puts exchangers of one preference in any order, in place.
    """

    def __init__(
        self, resolver: Callable[[], Resolver] = Resolver, shuffle: Callable[[list[str]], None] = random.shuffle
    ) -> None:
        self._resolver, self._shuffle = resolver, shuffle

    async def of(self, domain: str, ourselves: str, seconds: float) -> tuple[str, ...]:
        """Host names to try, most preferred first, at most `MAX_EXCHANGERS`; the domain itself if it has no MX.

        ourselves: our own name; exchangers that are no nearer than we are left out, for they would send to us.
        Raises Unreachable: nobody could tell in `seconds`, there is no such domain, or it takes no message (null MX).
        """
        try:
            answer = await self._ask(domain, "MX", seconds)
        except NoAnswer:
            return (domain,)
        except _DNS_ERRORS as error:
            raise Unreachable(failure(Stage.DNS, ErrorKind.UNRESOLVED, f"MX of {domain}: {_why(error)}")) from error
        exchangers = [(record.preference, _text(record.exchange)) for record in answer]
        named = [each for each in exchangers if each[1]]
        if not named:
            raise Unreachable(failure(Stage.DNS, ErrorKind.UNUSABLE, f"{domain} takes no mail (null MX, RFC 7505)"))
        nearer = _nearer(named, ourselves.lower())
        if not nearer:
            raise Unreachable(failure(Stage.DNS, ErrorKind.UNUSABLE, f"mail for {domain} would come back to us"))
        return self._ordered(nearer)[:MAX_EXCHANGERS]

    async def addresses(self, name: str, seconds: float) -> tuple[str, ...]:
        """IPv6 and IPv4 addresses of a host. Raises Unreachable."""
        answers = await asyncio.gather(
            self._ask(name, "AAAA", seconds), self._ask(name, "A", seconds), return_exceptions=True
        )
        addresses: list[str] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                if not isinstance(answer, _DNS_ERRORS):
                    raise answer
            else:
                addresses += [record.address for record in answer]
        if not addresses:
            why = next((each for each in answers if not isinstance(each, NoAnswer)), answers[-1])
            assert isinstance(why, Exception)
            raise Unreachable(failure(Stage.DNS, ErrorKind.UNRESOLVED, f"{name}: {_why(why)}"))
        return tuple(addresses)

    async def _ask(self, name: str, kind: str, seconds: float) -> Answer:
        async with asyncio.timeout(seconds):
            return await self._resolver().resolve(dns.name.from_text(name), kind, lifetime=seconds, search=False)

    def _ordered(self, exchangers: Iterable[tuple[int, str]]) -> tuple[str, ...]:
        """The lowest preference first; those of one preference in any order, to spread the load (RFC 5321 §5.1)."""
        levels: dict[int, list[str]] = {}
        for preference, name in exchangers:
            levels.setdefault(preference, []).append(name)
        for names in levels.values():
            self._shuffle(names)
        return tuple(dict.fromkeys(name for preference in sorted(levels) for name in levels[preference]))


def trusted(name: str, domain: str, patterns: Sequence[str]) -> bool:
    """May `name` be an exchanger of `domain`? DNS is not proof: whoever forges an answer names a host of his own.

    patterns: host names, or `*.domain` for one label more (as in RFC 8461 §4.1). The domain itself always may; without
    patterns what is below it too (as by Postfix's smtp_tls_secure_cert_match).
    """
    if name == domain:
        return True
    if not patterns:
        return name.endswith(f".{domain}")
    return any(
        name.partition(".")[2] == pattern[2:] if pattern.startswith("*.") else name == pattern for pattern in patterns
    )


def _nearer(exchangers: list[tuple[int, str]], ourselves: str) -> list[tuple[int, str]]:
    ours = min((preference for preference, name in exchangers if name == ourselves), default=None)
    return exchangers if ours is None else [each for each in exchangers if each[0] < ours]


def _text(name: dns.name.Name) -> str:
    """Lower case, without the dot at the end; "" for the root, which a null MX names."""
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


def _why(error: Exception) -> str:
    match error:
        case NXDOMAIN():
            return "no such domain"
        case NoAnswer():
            return "no address"
        case LifetimeTimeout() | TimeoutError():
            return "no answer in time"
        case NoNameservers():
            return "the name servers cannot tell"
        case _:
            return str(error) or type(error).__name__
