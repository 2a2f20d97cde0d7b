"""Open a connection to the next hop, secure it, authenticate. Here and nowhere else stands aiosmtplib."""

import asyncio
import os
import socket
import ssl
import time
from functools import lru_cache

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPHeloError,
    SMTPResponseException,
    SMTPTimeoutError,
)

from relay.reply import Outcome, Stage, Trouble, classify, failure, remote
from relay.smarthost.dialogue import Dialogue
from relay.smarthost.route import Route, Tls

_NO_EHLO = frozenset({500, 501, 502, 504})  # rfc5321#4.1.4: then HELO is tried


class Unreachable(Exception):
    """No usable connection came about; `outcome` says what that means for the mail."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome.reply))
        self.outcome = outcome


async def dial(route: Route) -> Dialogue:
    """A connection ready for MAIL. Raises Unreachable."""
    client = SMTP(
        hostname=route.host,
        local_hostname=route.hostname,
        use_tls=route.tls is Tls.IMPLICIT,
        start_tls=False,
        tls_context=_trust(route),
    )
    try:
        await _greet(client, route, await _connect(route))
        await _secure(client, route)
        await _authenticate(client, route)
        return _take_over(client)
    except BaseException:
        client.close()
        raise


async def _connect(route: Route) -> socket.socket:
    """A connected socket: each address of the host is tried in turn."""
    loop, limit = asyncio.get_running_loop(), route.timeouts.connect
    try:
        async with asyncio.timeout(limit):
            found = await loop.getaddrinfo(route.host, route.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise Unreachable(failure(Stage.DNS, Trouble.UNRESOLVED, f"{route.host}: no answer in time")) from None
    except (OSError, UnicodeError) as error:
        raise Unreachable(failure(Stage.DNS, Trouble.UNRESOLVED, f"{route.host}: {error}")) from error
    last = "no address"
    for family, kind, protocol, _, address in found:
        attempt = socket.socket(family, kind, protocol)
        attempt.setblocking(False)
        try:
            async with asyncio.timeout(limit):
                await loop.sock_connect(attempt, address)
            return attempt
        except OSError as error:  # TimeoutError is one
            attempt.close()
            last = "no answer in time" if isinstance(error, TimeoutError) else os.strerror(error.errno or 0)
        except BaseException:
            attempt.close()
            raise
    raise Unreachable(failure(Stage.CONNECT, Trouble.UNREACHABLE, f"{route.host}:{route.port}: {last}"))


async def _greet(client: SMTP, route: Route, connected: socket.socket) -> None:
    implicit = route.tls is Tls.IMPLICIT
    try:
        await client.connect(sock=connected, timeout=route.timeouts.greeting)
    except (SMTPException, OSError) as error:
        # aiosmtplib wraps both the handshake and the greeting; the cause tells them apart.
        in_handshake = implicit and not isinstance(error.__cause__, SMTPException)
        stage = Stage.TLS if in_handshake and not isinstance(error, SMTPResponseException) else Stage.GREETING
        raise Unreachable(_meaning(stage, error)) from error
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
        raise Unreachable(_meaning(Stage.EHLO, error)) from error


async def _secure(client: SMTP, route: Route) -> None:
    if route.tls in (Tls.NONE, Tls.IMPLICIT):
        return
    if not client.supports_extension("starttls"):
        if route.tls is Tls.REQUIRED:
            raise Unreachable(failure(Stage.TLS, Trouble.NO_TLS))
        return
    try:
        await client.starttls(timeout=route.timeouts.tls)
    except (SMTPException, OSError) as error:
        raise Unreachable(_meaning(Stage.TLS, error)) from error
    await _ehlo(client, route)


async def _authenticate(client: SMTP, route: Route) -> None:
    """One method, tried once: a refused password repeated three times locks accounts."""
    if route.username is None:
        return
    if client.get_transport_info("sslcontext") is None:
        raise Unreachable(failure(Stage.AUTH, Trouble.NO_TLS, "no password is sent in clear"))
    if route.token is None:
        methods = {"plain": client.auth_plain, "login": client.auth_login, "cram-md5": client.auth_crammd5}
    else:
        methods = {"xoauth2": client.auth_xoauth2}
    method = next((methods[name] for name in methods if name in client.server_auth_methods), None)
    if method is None:
        raise Unreachable(failure(Stage.AUTH, Trouble.NO_AUTH, f"none of {', '.join(methods).upper()}"))
    secret = route.password or "" if route.token is None else route.token
    try:
        await method(route.username.encode(), secret.encode(), timeout=route.timeouts.auth)
    except (SMTPException, OSError) as error:
        raise Unreachable(_meaning(Stage.AUTH, error)) from error


def _take_over(client: SMTP) -> Dialogue:
    """From here on our own dialogue reads and writes on the transport; aiosmtplib's client is let go."""
    transport = client.transport
    if not isinstance(transport, asyncio.Transport) or transport.is_closing():
        raise Unreachable(failure(Stage.EHLO, Trouble.LOST))
    dialogue = Dialogue(transport, dict(client.esmtp_extensions), time.monotonic())
    transport.set_protocol(dialogue)
    return dialogue


def _meaning(stage: Stage, error: Exception) -> Outcome:
    """aiosmtplib's exceptions, read with the failure table."""
    cause = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    text = str(error.__cause__ or error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return failure(Stage.TLS, Trouble.CERTIFICATE, cause.verify_message)
    if isinstance(cause, ssl.SSLError):
        return failure(Stage.TLS, Trouble.TLS, text)
    if isinstance(error, SMTPResponseException):
        if error.code < 0:
            return failure(stage, Trouble.GARBAGE, error.message)
        reply = remote(error.code, error.message)
        return classify(stage, reply.code, reply.enhanced, reply.text)
    if isinstance(error, (SMTPTimeoutError, TimeoutError)):
        return failure(stage, Trouble.TIMEOUT, text)
    return failure(stage, Trouble.TLS if stage is Stage.TLS else Trouble.LOST, text)


def _trust(route: Route) -> ssl.SSLContext | None:
    if route.tls is Tls.NONE:
        return None
    try:
        return _context(route.ca_file, int(time.time()) // 3600)
    except OSError as error:
        raise Unreachable(failure(Stage.TLS, Trouble.UNUSABLE, f"{route.ca_file}: {error}")) from error


@lru_cache(maxsize=8)
def _context(ca_file: str | None, hour: int) -> ssl.SSLContext:
    """Certificate and host name verified, TLS 1.2 or later: there is no setting to weaken it.

    `hour` lets a renewed list of authorities be read in time.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
