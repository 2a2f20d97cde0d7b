"""The limits of the SMTP server as the configuration gives them, and what counts connections, failures and memory."""

import functools
import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from relay.observability.events import RejectCause

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

ERROR_LIMIT = 20  # refused commands in a session, as Postfix's smtpd_hard_error_limit
JUNK_LIMIT = 100  # commands that bring no message nearer, between two messages: smtpd_junk_command_limit
SURPLUS_LIMIT = 1000  # recipients over the limit: a correct client may send them all in one group
LINE_LIMIT = 2048  # octets of a command line: 512 plus what SIZE, BODY, SMTPUTF8, DSN add
AUTH_LINE_LIMIT = 12288  # rfc4954#4

AUTH_FAILURES_PER_SESSION = 3
AUTH_FAILURES_PER_HOST = 10
AUTH_FAILURE_SECONDS = 600.0


class Listener(Protocol):
    """One address to listen on. `tls`: none | starttls | required | implicit. Networks as text ("127.0.0.0/8").

    proxy_networks: who may send a PROXY header; None: whoever is in allow_networks.
    """

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def tls(self) -> str: ...
    @property
    def certificate(self) -> str | None: ...
    @property
    def private_key(self) -> str | None: ...
    @property
    def proxy_protocol(self) -> bool: ...
    @property
    def allow_networks(self) -> Iterable[str]: ...
    @property
    def users_file(self) -> str | None: ...
    @property
    def proxy_networks(self) -> Iterable[str] | None: ...


class Limits(Protocol):
    """Octets, counts, seconds. Read at each use: a reload is in force at once (`backlog`: read at the start).

    max_mails_per_minute_per_host: 0 is no limit. bare_lf: refuse | repair.
    """

    @property
    def max_mail_size(self) -> int: ...
    @property
    def max_recipients(self) -> int: ...
    @property
    def max_connections(self) -> int: ...
    @property
    def max_connections_per_host(self) -> int: ...
    @property
    def idle_timeout(self) -> float: ...
    @property
    def session_timeout(self) -> float: ...
    @property
    def max_mails_per_minute_per_host(self) -> int: ...
    @property
    def bare_lf(self) -> str: ...
    @property
    def backlog(self) -> int: ...


@functools.lru_cache(4096)
def _address(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address without its zone; None: `peer` is none. An IPv4 address mapped into IPv6 is an IPv4 address."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@functools.lru_cache(4096)
def host_of(peer: str) -> str:
    """What counts as one host: an IPv4 address, or the /64 of an IPv6 address, which belongs to one customer."""
    address = _address(peer)
    if address is None:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


def allowed(peer: str, networks: Iterable[IpNetwork]) -> bool:
    """Is the address in one of the networks?"""
    address = _address(peer)
    return address is not None and any(address in network for network in networks)


class ConnectionCounter:
    """Open connections: in all, and by host."""

    def __init__(self) -> None:
        self._hosts: Counter[str] = Counter()
        self.total = 0

    def enter(self, peer: str, limits: Limits) -> RejectCause | None:
        """Count a connection, or say why it is rejected: a rejected one is not counted."""
        host = host_of(peer)
        if self._hosts.get(host, 0) >= limits.max_connections_per_host:
            return RejectCause.HOST_LIMIT
        if self.total >= limits.max_connections:
            return RejectCause.SERVER_LIMIT
        self._hosts[host] += 1
        self.total += 1
        return None

    def leave(self, peer: str) -> None:
        host = host_of(peer)
        self.total -= 1
        self._hosts[host] -= 1
        if self._hosts[host] <= 0:
            del self._hosts[host]


class AuthFailureLimiter:
    """Wrong passwords by host, forgotten after ten minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, list[float]] = {}

    def record(self, peer: str) -> int:
        """Record a failure; how many the host now has."""
        if len(self._failed) > 10_000:
            self._prune()
        recent = [*self._recent(host_of(peer)), self._clock()][-AUTH_FAILURES_PER_HOST:]
        self._failed[host_of(peer)] = recent
        return len(recent)

    def blocked(self, peer: str) -> bool:
        """The host has failed too often to try again now."""
        return len(self._recent(host_of(peer))) >= AUTH_FAILURES_PER_HOST

    def _recent(self, host: str) -> list[float]:
        horizon = self._clock() - AUTH_FAILURE_SECONDS
        return [at for at in self._failed.get(host, ()) if at > horizon]

    def _prune(self) -> None:
        self._failed = {host: times for host in self._failed if (times := self._recent(host))}


class RateLimiter:
    """Messages by host over the last minute: each host has an allowance that fills up again evenly."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent: dict[str, tuple[float, float]] = {}  # host -> (messages that count, when that was computed)

    def admit(self, peer: str, limit: int) -> bool:
        """May the host begin one more message, of `limit` a minute? It is counted if so. 0 is no limit."""
        if not limit:
            return True
        host, now = host_of(peer), self._clock()
        if len(self._spent) > 10_000:
            self._spent = {other: state for other, state in self._spent.items() if now - state[1] < 60}
        spent, at = self._spent.get(host, (0.0, now))
        spent = max(0.0, spent - (now - at) * limit / 60)
        if spent + 1 > limit:
            return False
        self._spent[host] = (spent + 1, now)
        return True


class MemoryBudget:
    """Octets of the messages being received in all sessions. Beyond `limit` a message is refused for now."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def reserve(self, octets: int, held: int) -> bool:
        """Reserve `octets` more for a message that holds `held`; False: there is no room.

        One message alone always has room: its own size limit bounds it.
        """
        if self.used > held and self.used + octets > self.limit:
            return False
        self.used += octets
        return True

    def release(self, octets: int) -> None:
        self.used -= octets
