"""The SMTP server: sockets, reload of certificates and users, drain."""

import asyncio
import ctypes
import functools
import logging
from collections.abc import Callable, Sequence

from relay.smtpd.connection import CLOSING
from relay.smtpd.limits import Limits, Listener, MemoryBudget
from relay.smtpd.listener import (
    BindError,
    Intake,
    ListenerConfigError,
    ListenerFiles,
    ListenerState,
    OnEvent,
    ServerContext,
    read_files,
)
from relay.smtpd.session import Session
from relay.smtpd.transport import LineTransport

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGE = 1024 * 1024
_TRIM = 16 * 1024 * 1024  # less, and a message of 600 KB has its pages fetched anew: half a millisecond


def keep_large_blocks_apart() -> bool:
    """Blocks over 1 MiB get pages of their own; False: the C library has no such setting.

    By itself glibc, once a block of 25 MB was freed, takes the next such blocks from the heap, where a small one behind
    keeps them from being given back: under 20 messages of 25 MB the process grew to 350 MB where 235 MB were in use.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE)) and bool(mallopt(_M_TRIM_THRESHOLD, _TRIM))


MEMORY = 96 * 1024 * 1024  # with the copies of check and spool: 300 MB in all under 20 messages of 25 MB


class SmtpServer:
    """Takes messages on every listener and hands them to `intake`.

    limits: asked at each use. on_event: told of "connection", "connection_rejected" (`cause`: RejectCause),
    "rejected" (a sender, a recipient or a message that the door refused; never what the intake answered: `stage`,
    `cause`: TransactionRejectCause, `reply`, `sender`, `recipients`: addresses as far as they are known),
    "final_reply" (the final dot was answered by the door, not by the intake: `code`, `seconds` since that dot),
    "session_error", "authentication_failed" (fields `peer`, `why`) and "internal_error" (`where`,
    `error`: the exception).
    memory: octets of messages being received at one time, over all sessions.
    auth_delay: seconds before a wrong password is answered.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        limits: Callable[[], Limits],
        intake: Intake,
        hostname: str,
        on_event: OnEvent,
        *,
        memory: int = MEMORY,
        auth_delay: float = 1.0,
    ) -> None:
        logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd writes bodies of messages at DEBUG
        self._house = ServerContext(hostname, intake, limits, on_event, MemoryBudget(memory), auth_delay)
        self._posts = [ListenerState(listener) for listener in listeners]
        self._servers: list[asyncio.Server] = []
        self._sessions: set[LineTransport] = set()
        self._left = asyncio.Event()

    async def start(self) -> None:
        """Listen. Raises NotBound (address in use) or PostFault (certificate, users); then nothing listens."""
        self.reload()
        keep_large_blocks_apart()
        try:
            for post in self._posts:
                self._servers.append(await self._bound(post))
        except BindError:
            self.close()
            raise

    async def _bound(self, post: ListenerState) -> asyncio.Server:
        listener, loop = post.listener, asyncio.get_running_loop()
        session, backlog = functools.partial(self._session, post), self._house.limits().backlog
        try:
            return await loop.create_server(session, listener.host, listener.port, backlog=backlog)
        except OSError as error:
            raise BindError(listener, error) from error

    def read(self) -> tuple[ListenerFiles, ...]:
        """Read certificates, keys and users of every listener; nothing changes. Blocks.

        Raises PostFault with the faults of all of them.
        """
        files: list[ListenerFiles] = []
        faults: list[str] = []
        for post in self._posts:
            try:
                files.append(read_files(post.listener))
            except ListenerConfigError as error:
                faults += error.faults
        if faults:
            raise ListenerConfigError(*dict.fromkeys(faults))
        return tuple(files)

    def use(self, files: Sequence[ListenerFiles]) -> None:
        """Put what `read` gave in force, on every listener."""
        for post, each in zip(self._posts, files, strict=True):
            post.use(each)

    def reload(self) -> None:
        """`read`, then `use`. Raises PostFault; then every listener keeps what it had."""
        self.use(self.read())

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port really bound, in the order of the listeners."""
        return [tuple(socket.getsockname()[:2]) for server in self._servers for socket in server.sockets]

    @property
    def sessions(self) -> int:
        """Connections open now."""
        return len(self._sessions)

    def _session(self, post: ListenerState) -> Session:
        session = Session(post, self._house, self._ended)
        self._sessions.add(session)
        return session

    def _ended(self, session: LineTransport) -> None:
        self._sessions.discard(session)
        self._left.set()

    async def drain(self, timeout: float) -> None:
        """Take no new connection, 421 to idle sessions, let messages in hand end; after `timeout` seconds cut the rest.

        A message already handed to the intake is waited for and never cancelled.
        """
        self._house.draining = True
        self._stop_listening()
        for session in list(self._sessions):
            if session.idle:
                session.dismiss(CLOSING)
        try:
            async with asyncio.timeout(timeout):
                while self._sessions:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            self._cut()
        if self._house.tasks:
            await asyncio.wait(list(self._house.tasks))
        self.close()

    def close(self) -> None:
        """At once: stop listening, cut every session."""
        self._stop_listening()
        self._cut()
        self._house.close()

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()

    def _cut(self) -> None:
        for session in list(self._sessions):
            if session.transport is not None:
                session.transport.abort()
