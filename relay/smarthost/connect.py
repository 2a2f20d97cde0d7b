"""From a route to a connected socket: which hosts, which addresses, each tried in turn."""

import asyncio
import os
import socket
from dataclasses import dataclass
from typing import Any

from relay.reply import Stage, Trouble, failure
from relay.smarthost.mx import MailExchangers, trusted
from relay.smarthost.route import Route, Tls
from relay.smarthost.unreachable import Unreachable

ADDRESSES = 2  # of one exchanger: with five of them, ten waits for a connection at most


@dataclass(frozen=True, slots=True)
class Found:
    """One address to connect to, as getaddrinfo(3) gives it."""

    family: int
    kind: int
    protocol: int
    address: Any


async def hosts(route: Route, exchangers: MailExchangers) -> tuple[str, ...]:
    """Names of the hosts that serve the route, in the order to try them. Raises Unreachable."""
    if not route.mx:
        return (route.host,)
    return await exchangers.of(route.host, route.hostname, route.timeouts.connect)


async def addresses(route: Route, host: str, exchangers: MailExchangers) -> list[Found]:
    """Where to connect to for `host`, one of `hosts`; at least one. Raises Unreachable."""
    if not route.mx:
        return await _looked_up(route, host)
    if route.tls is not Tls.NONE and not trusted(host, route.host, route.mx_names):
        what = f"DNS names {host} for {route.host}, which mx_names does not list"
        raise Unreachable(failure(Stage.TLS, Trouble.CERTIFICATE, what))
    told = await exchangers.addresses(host, route.timeouts.connect)
    return [each for address in _of_both(told) for each in await _looked_up(route, address)]


async def connect(route: Route, host: str, found: Found) -> socket.socket:
    """A connected socket. host: for the words of what is raised: Unreachable."""
    attempt = socket.socket(found.family, found.kind, found.protocol)
    attempt.setblocking(False)
    try:
        async with asyncio.timeout(route.timeouts.connect):
            await asyncio.get_running_loop().sock_connect(attempt, found.address)
    except OSError as error:  # TimeoutError is one
        attempt.close()
        why = "no answer in time" if isinstance(error, TimeoutError) else os.strerror(error.errno or 0)
        raise Unreachable(failure(Stage.CONNECT, Trouble.UNREACHABLE, f"{host}:{route.port}: {why}")) from error
    except BaseException:
        attempt.close()
        raise
    return attempt


def _of_both(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """`ADDRESSES` of them, of both families if there are."""
    six = [each for each in addresses if ":" in each]
    four = [each for each in addresses if ":" not in each]
    return (*six[: max(1, ADDRESSES - len(four))], *four)[:ADDRESSES]


async def _looked_up(route: Route, host: str) -> list[Found]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(route.timeouts.connect):
            found = await loop.getaddrinfo(host, route.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise Unreachable(failure(Stage.DNS, Trouble.UNRESOLVED, f"{host}: no answer in time")) from None
    except (OSError, UnicodeError) as error:
        raise Unreachable(failure(Stage.DNS, Trouble.UNRESOLVED, f"{host}: {error}")) from error
    return [Found(family, kind, protocol, address) for family, kind, protocol, _, address in found]
