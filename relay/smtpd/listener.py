"""One listener with its certificate and users as last read, and what all sessions of a server share."""

import asyncio
import ipaddress
import ssl
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from relay.model import Envelope
from relay.observability.events import Event, FinalReply, InternalError
from relay.replies import Reply
from relay.settings.users_file import Users, UsersFileError, read_users, verify
from relay.settings.yaml_file import open_regular, signature, unreadable
from relay.smtpd.connection import RECEIVE_BUFFER
from relay.smtpd.limits import (
    AuthFailureLimiter,
    ConnectionCounter,
    IpNetwork,
    Limits,
    Listener,
    MemoryBudget,
    RateLimiter,
)
from relay.smtpd.states import LOCAL_ERROR


class ListenerConfigError(Exception):
    """Certificates, keys or users files cannot be used. faults: one text for each, with the name of the file."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class BindError(OSError):
    """The address of `listener` cannot be used: in use, not of this machine, not permitted."""

    def __init__(self, listener: Listener, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self.listener = listener


class Intake(Protocol):
    """Who decides about recipients and takes the messages."""

    def room(self) -> Reply | None:
        """None: a message can be stored now, else the refusal of MAIL, before the message is sent in vain."""

    def recipient(self, address: str) -> Reply | None:
        """None: we relay for `address` ("postmaster" without domain is possible), else the refusal."""

    async def accept(self, envelope: Envelope, raw: bytes) -> Reply:
        """The reply to the final dot. Runs to its end even if the peer has gone."""


@dataclass(frozen=True, slots=True)
class ListenerFiles:
    """What the certificate, the key and the users file of a listener held when they were read."""

    context: ssl.SSLContext | None
    users: Users


def read_files(listener: Listener) -> ListenerFiles:
    """Read the files of `listener`. Blocks. Raises ListenerConfigError with every fault."""
    context: ssl.SSLContext | None = None
    users: Users = {}
    faults: list[str] = []
    try:
        context = _context(listener)
    except ListenerConfigError as error:
        faults += error.faults
    try:
        users = _users(listener)
    except ListenerConfigError as error:
        faults += error.faults
    if faults:
        raise ListenerConfigError(*faults)
    return ListenerFiles(context, users)


@dataclass(slots=True)
class ListenerState:
    """`use` replaces what the files gave; a session reads it at each use."""

    listener: Listener
    networks: tuple[IpNetwork, ...] = ()
    proxies: tuple[IpNetwork, ...] = ()
    context: ssl.SSLContext | None = None
    users: Users = field(default_factory=dict)

    def use(self, files: ListenerFiles) -> None:
        """New sessions get `files`."""
        self.networks = _networks(self.listener.allow_networks)
        proxies = self.listener.proxy_networks
        self.proxies = self.networks if proxies is None else _networks(proxies)
        self.context, self.users = files.context, files.users

    @property
    def authenticates(self) -> bool:
        """AUTH is offered: there are users, and TLS."""
        return bool(self.users) and self.context is not None


def _networks(texts: Iterable[str]) -> tuple[IpNetwork, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def _context(listener: Listener) -> ssl.SSLContext | None:
    if listener.tls == "none":
        return None
    if listener.certificate is None:
        raise ListenerConfigError(f"{listener.host}:{listener.port}: tls {listener.tls} needs a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    files = [Path(file) for file in (listener.certificate, listener.private_key) if file is not None]
    before = _signatures(files)
    for file in files:
        try:
            open_regular(file).close()
        except OSError as error:
            raise ListenerConfigError(f"certificate or key {file}: {unreadable(error)[0]}") from error
    try:
        context.load_cert_chain(listener.certificate, listener.private_key, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise ListenerConfigError(
            f"certificate {listener.certificate}: {error.strerror or error.__class__.__name__}"
        ) from error
    if _signatures(files) != before:
        raise ListenerConfigError(f"certificate {listener.certificate}: the file changed while it was read")
    return context


def _signatures(files: Iterable[Path]) -> list[tuple[int, ...]]:
    return [signature(file) for file in files]


def _no_password() -> str:
    """No password; without this function OpenSSL asks for one on the terminal."""
    return ""


def _users(listener: Listener) -> Users:
    if listener.users_file is None:
        return {}
    try:
        return read_users(Path(listener.users_file))
    except OSError as error:
        raise ListenerConfigError(f"users file {listener.users_file}: {unreadable(error)[0]}") from error
    except UsersFileError as error:
        raise ListenerConfigError(f"users file {listener.users_file}: {error}") from error


@dataclass(slots=True)
class ServerContext:
    """What the sessions of one server share.

    auth_delay: seconds before a wrong password is answered. tasks: those in which the intake has a message.
    receive_buffer: where each connection's octets arrive, one connection at a time.
    """

    hostname: str
    intake: Intake
    limits: Callable[[], Limits]
    observe: Callable[[Event], None]
    memory: MemoryBudget
    auth_delay: float = 1.0
    connections: ConnectionCounter = field(default_factory=ConnectionCounter)
    auth_failures: AuthFailureLimiter = field(default_factory=AuthFailureLimiter)
    rate: RateLimiter = field(default_factory=RateLimiter)
    draining: bool = False
    receive_buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(RECEIVE_BUFFER)))
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _verifier: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="smtpd-auth")  # one: guessing is slow
    )

    async def accept(self, envelope: Envelope, raw: bytes) -> Reply:
        """Hand a message to the intake. The caller's task is in `tasks`, and nobody cancels it."""
        begun = time.perf_counter()
        try:
            return await self.intake.accept(envelope, raw)
        except Exception as error:
            self.observe(InternalError("accept", error))
            self.observe(FinalReply(LOCAL_ERROR.code, time.perf_counter() - begun))
            return LOCAL_ERROR

    async def verify(self, users: Users, name: str, password: str) -> bool:
        """Check a password off the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._verifier, verify, users, name, password)

    def idle_timeout(self) -> float:
        """Seconds that a client may say nothing, as of now."""
        return self.limits().idle_timeout

    def close(self) -> None:
        self._verifier.shutdown(wait=False, cancel_futures=True)
