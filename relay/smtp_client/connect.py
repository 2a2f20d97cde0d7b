"""Connect to a next hop: resolve its names, try its addresses in turn, TLS, EHLO, AUTH."""

import asyncio
import os
import socket
import ssl
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPHeloError,
    SMTPResponseException,
    SMTPTimeoutError,
)

from relay.replies import ErrorKind, Outcome, Stage, classify, failure, remote
from relay.smtp_client.protocol import ClientProtocol
from relay.smtp_client.route import MailExchangers, Route, Tls, Unreachable, trusted

MAX_ADDRESSES = 2  # of one exchanger: with five of them, ten waits for a connection at most


@dataclass(frozen=True, slots=True)
class ResolvedAddress:
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


async def addresses(route: Route, host: str, exchangers: MailExchangers) -> list[ResolvedAddress]:
    """Where to connect to for `host`, one of `hosts`; at least one. Raises Unreachable."""
    if not route.mx:
        return await _resolve(route, host)
    if route.tls is not Tls.NONE and not trusted(host, route.host, route.mx_names):
        what = f"DNS names {host} for {route.host}, which mx_names does not list"
        raise Unreachable(failure(Stage.TLS, ErrorKind.CERTIFICATE, what))
    exchanger_addresses = await exchangers.addresses(host, route.timeouts.connect)
    return [each for address in _of_both_families(exchanger_addresses) for each in await _resolve(route, address)]


async def connect(route: Route, host: str, resolved: ResolvedAddress) -> socket.socket:
    """A connected socket. Raises Unreachable, whose text names `host`."""
    attempt = socket.socket(resolved.family, resolved.kind, resolved.protocol)
    attempt.setblocking(False)
    try:
        async with asyncio.timeout(route.timeouts.connect):
            await asyncio.get_running_loop().sock_connect(attempt, resolved.address)
    except OSError as error:  # TimeoutError is one
        attempt.close()
        why = "no answer in time" if isinstance(error, TimeoutError) else os.strerror(error.errno or 0)
        raise Unreachable(failure(Stage.CONNECT, ErrorKind.UNREACHABLE, f"{host}:{route.port}: {why}")) from error
    except BaseException:
        attempt.close()
        raise
    return attempt


def _of_both_families(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """`MAX_ADDRESSES` of them, of both families if there are."""
    six = [each for each in addresses if ":" in each]
    four = [each for each in addresses if ":" not in each]
    return (*six[: max(1, MAX_ADDRESSES - len(four))], *four)[:MAX_ADDRESSES]


async def _resolve(route: Route, host: str) -> list[ResolvedAddress]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(route.timeouts.connect):
            resolved = await loop.getaddrinfo(host, route.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise Unreachable(failure(Stage.DNS, ErrorKind.UNRESOLVED, f"{host}: no answer in time")) from None
    except (OSError, UnicodeError) as error:
        raise Unreachable(failure(Stage.DNS, ErrorKind.UNRESOLVED, f"{host}: {error}")) from error
    return [ResolvedAddress(family, kind, protocol, address) for family, kind, protocol, _, address in resolved]


_NO_EHLO = frozenset({500, 501, 502, 504})  # rfc5321#4.1.4: then HELO is tried


async def open_connection(route: Route, exchangers: MailExchangers) -> ClientProtocol:
    """A connection ready for MAIL: each host of the route, and each of its addresses, is tried in turn.

    Raises Unreachable. A host that rejects the password ends the attempt: the next host would reject it too and count
    one more guess. So does a failure later than `timeouts.greeting` after the start.
    """
    trust = _trust(route)
    failures: list[Unreachable] = []
    last_start = time.monotonic() + route.timeouts.greeting
    for host in await hosts(route, exchangers):
        try:
            resolved = await addresses(route, host, exchangers)
        except Unreachable as unreachable:
            failures.append(unreachable)
            continue
        for each in resolved:
            try:
                return await _open(route, host, trust, await connect(route, host, each))
            except Unreachable as unreachable:
                failures.append(unreachable)
            if failures[-1].at_auth or time.monotonic() > last_start:
                raise _most_relevant(failures)
    raise _most_relevant(failures)


def _most_relevant(failures: list[Unreachable]) -> Unreachable:
    """The first failure that an operator must act on, else the last one."""
    return next((each for each in failures if each.alerts), failures[-1])


async def _open(route: Route, host: str, trust: ssl.SSLContext | None, connected: socket.socket) -> ClientProtocol:
    """host: the name that the certificate must be for."""
    client = SMTP(
        hostname=host,
        local_hostname=route.hostname,
        use_tls=route.tls is Tls.IMPLICIT,
        start_tls=False,
        tls_context=trust,
    )
    try:
        await _greet(client, route, connected)
        await _secure(client, route)
        await _authenticate(client, route)
        return _hand_over(client)
    except BaseException:
        client.close()
        raise


async def _greet(client: SMTP, route: Route, connected: socket.socket) -> None:
    implicit = route.tls is Tls.IMPLICIT
    try:
        await client.connect(sock=connected, timeout=route.timeouts.greeting)
    except (SMTPException, OSError) as error:
        # aiosmtplib wraps both the handshake and the greeting; the cause distinguishes them.
        in_handshake = implicit and not isinstance(error.__cause__, SMTPException)
        stage = Stage.TLS if in_handshake and not isinstance(error, SMTPResponseException) else Stage.GREETING
        raise Unreachable(_outcome_of(stage, error)) from error
    await _ehlo(client, route)


async def _ehlo(client: SMTP, route: Route) -> None:
    limit = route.timeouts.ehlo
    try:
        try:
            await client.ehlo(timeout=limit)
        except SMTPHeloError as error:
            if error.code not in _NO_EHLO:
                raise
            await client.helo(timeout=limit)
    except (SMTPException, OSError) as error:
        raise Unreachable(_outcome_of(Stage.EHLO, error)) from error


async def _secure(client: SMTP, route: Route) -> None:
    if route.tls in (Tls.NONE, Tls.IMPLICIT):
        return
    if not client.supports_extension("starttls"):
        if route.tls is Tls.REQUIRED:
            raise Unreachable(failure(Stage.TLS, ErrorKind.NO_TLS))
        return
    try:
        await client.starttls(timeout=route.timeouts.tls)
    except (SMTPException, OSError) as error:
        raise Unreachable(_outcome_of(Stage.TLS, error)) from error
    await _ehlo(client, route)


async def _authenticate(client: SMTP, route: Route) -> None:
    """One method, tried once: a refused password repeated three times locks accounts."""
    if route.username is None:
        return
    if client.get_transport_info("sslcontext") is None:
        raise Unreachable(failure(Stage.AUTH, ErrorKind.NO_TLS, "no password is sent in clear"))
    if route.token is None:
        methods = {"plain": client.auth_plain, "login": client.auth_login, "cram-md5": client.auth_crammd5}
    else:
        methods = {"xoauth2": client.auth_xoauth2}
    method = next((methods[name] for name in methods if name in client.server_auth_methods), None)
    if method is None:
        raise Unreachable(failure(Stage.AUTH, ErrorKind.NO_AUTH, f"none of {', '.join(methods).upper()}"))
    secret = route.password or "" if route.token is None else route.token
    try:
        await method(route.username.encode(), secret.encode(), timeout=route.timeouts.auth)
    except (SMTPException, OSError) as error:
        raise Unreachable(_outcome_of(Stage.AUTH, error)) from error


def _hand_over(client: SMTP) -> ClientProtocol:
    """Hand the transport over to our own protocol; aiosmtplib's client is not used any more."""
    transport = client.transport
    if not isinstance(transport, asyncio.Transport) or transport.is_closing():
        raise Unreachable(failure(Stage.EHLO, ErrorKind.LOST))
    connection = ClientProtocol(transport, dict(client.esmtp_extensions), time.monotonic(), client.supports_esmtp)
    transport.set_protocol(connection)
    return connection


def _outcome_of(stage: Stage, error: Exception) -> Outcome:
    """aiosmtplib's exceptions, read with the failure table."""
    cause = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    text = str(error.__cause__ or error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return failure(Stage.TLS, ErrorKind.CERTIFICATE, cause.verify_message)
    if isinstance(cause, ssl.SSLError):
        return failure(Stage.TLS, ErrorKind.TLS, text)
    if isinstance(error, SMTPResponseException):
        if error.code < 0:
            return failure(stage, ErrorKind.GARBAGE, error.message)
        reply = remote(error.code, error.message)
        return classify(stage, reply.code, reply.enhanced, reply.text)
    if isinstance(error, (SMTPTimeoutError, TimeoutError)):
        return failure(stage, ErrorKind.TIMEOUT, text)
    return failure(stage, ErrorKind.TLS if stage is Stage.TLS else ErrorKind.LOST, text)


def _trust(route: Route) -> ssl.SSLContext | None:
    if route.tls is Tls.NONE:
        return None
    try:
        return _context(route.ca_file, int(time.time()) // 3600)
    except OSError as error:
        raise Unreachable(failure(Stage.TLS, ErrorKind.UNUSABLE, f"{route.ca_file}: {error}")) from error


@lru_cache(maxsize=8)
def _context(ca_file: str | None, hour: int) -> ssl.SSLContext:
    """Certificate and host name verified, TLS 1.2 or later: there is no setting to weaken it.

    `hour` lets a renewed list of authorities be read in time.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
