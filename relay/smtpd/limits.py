"""What bounds the door: its terms as the configuration gives them, and the counting of peers."""

import functools
import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from relay.observability.events import RejectCause

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

ERROR_LIMIT = 20  # refused commands a session, as Postfix's smtpd_hard_error_limit
JUNK_LIMIT = 100  # commands that bring no message nearer, between two messages: smtpd_junk_command_limit
SURPLUS_LIMIT = 1000  # recipients over the limit: a correct client may send them all in one group
LINE_LIMIT = 2048  # octets of a command line: 512 plus what SIZE, BODY, SMTPUTF8, DSN add
AUTH_LINE_LIMIT = 12288  # rfc4954#4

GUESSES_SESSION = 3
GUESSES_HOST = 10
GUESSES_SECONDS = 600.0


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
    """Octets, counts, seconds. Asked for at each use: a reload is in force at once (`backlog`: read at the start).

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
    """What counts as one host: an IPv4 address, or the /64 of an IPv6 address, which one customer has to himself."""
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
    """Who is connected: in all, and by host."""

    def __init__(self) -> None:
        self._hosts: Counter[str] = Counter()
        self.total = 0

    def enter(self, peer: str, limits: Limits) -> RejectCause | None:
        """Count one in; or why that would be one too many: who is turned away takes nobody's place."""
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

    def failed(self, peer: str) -> int:
        """Note one; how many the host now has."""
        if len(self._failed) > 10_000:
            self._prune()
        recent = [*self._recent(host_of(peer)), self._clock()][-GUESSES_HOST:]
        self._failed[host_of(peer)] = recent
        return len(recent)

    def barred(self, peer: str) -> bool:
        return len(self._recent(host_of(peer))) >= GUESSES_HOST

    def _recent(self, host: str) -> list[float]:
        horizon = self._clock() - GUESSES_SECONDS
        return [at for at in self._failed.get(host, ()) if at > horizon]

    def _prune(self) -> None:
        self._failed = {host: times for host in self._failed if (times := self._recent(host))}


class RateLimiter:
    """Messages by host over the last minute: each host has an allowance that fills up again evenly."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent: dict[str, tuple[float, float]] = {}  # host -> (messages not yet worked off, when)

    def admit(self, peer: str, most: int) -> bool:
        """May the host begin one more mail, of `most` a minute? It is counted if so. 0 is no limit."""
        if not most:
            return True
        host, now = host_of(peer), self._clock()
        if len(self._spent) > 10_000:
            self._spent = {each: found for each, found in self._spent.items() if now - found[1] < 60}
        spent, at = self._spent.get(host, (0.0, now))
        spent = max(0.0, spent - (now - at) * most / 60)
        if spent + 1 > most:
            return False
        self._spent[host] = (spent + 1, now)
        return True


class MemoryBudget:
    """Octets of messages being received, over all sessions: beyond `limit` a message is put off, not the process at
    risk."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, octets: int, beside: int) -> bool:
        """Reserve `octets` more for a message that holds `beside`; False when there is no room.

        One message alone always has room: its own limit bounds it.
        """
        if self.used > beside and self.used + octets > self.limit:
            return False
        self.used += octets
        return True

    def give(self, octets: int) -> None:
        self.used -= octets
