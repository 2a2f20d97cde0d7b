"""The SMTP server: sockets, reload of certificates and users, drain."""

import asyncio
import ctypes
import functools
import logging
from collections.abc import Callable, Sequence

from relay.observability.events import Event
from relay.smtpd.connection import Connection
from relay.smtpd.limits import Limits, Listener, MemoryBudget
from relay.smtpd.listener import (
    BindError,
    Intake,
    ListenerConfigError,
    ListenerFiles,
    ListenerState,
    ServerContext,
    read_files,
)
from relay.smtpd.runner import SessionRunner
from relay.smtpd.states import CLOSING

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGE = 1024 * 1024
_TRIM = 16 * 1024 * 1024  # with less, each message of 600 KB costs new page faults: half a millisecond


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


MEMORY = 96 * 1024 * 1024  # with the copies for check and spool: 300 MB in all under 20 messages of 25 MB


class SmtpServer:
    """Takes messages on every listener and hands them to `intake`.

    limits: asked at each use. observe: gets the events of sessions (relay.observability.events).
    memory: octets of messages being received at one time, over all sessions.
    auth_delay: seconds before a wrong password is answered.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        limits: Callable[[], Limits],
        intake: Intake,
        hostname: str,
        observe: Callable[[Event], None],
        *,
        memory: int = MEMORY,
        auth_delay: float = 1.0,
    ) -> None:
        logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd writes bodies of messages at DEBUG
        self._context = ServerContext(hostname, intake, limits, observe, MemoryBudget(memory), auth_delay)
        self._listeners = [ListenerState(listener) for listener in listeners]
        self._servers: list[asyncio.Server] = []
        self._sessions: set[SessionRunner] = set()
        self._session_ended = asyncio.Event()

    async def start(self) -> None:
        """Listen. Raises BindError (address in use) or ListenerConfigError; then nothing listens."""
        self.reload()
        keep_large_blocks_apart()
        try:
            for listener in self._listeners:
                self._servers.append(await self._bind(listener))
        except BindError:
            self.close()
            raise

    async def _bind(self, state: ListenerState) -> asyncio.Server:
        listener, loop = state.listener, asyncio.get_running_loop()
        connect, backlog = functools.partial(self._connect, state), self._context.limits().backlog
        try:
            return await loop.create_server(connect, listener.host, listener.port, backlog=backlog)
        except OSError as error:
            raise BindError(listener, error) from error

    def read(self) -> tuple[ListenerFiles, ...]:
        """Read certificates, keys and users of every listener; nothing changes. Blocks.

        Raises ListenerConfigError with the faults of all of them.
        """
        files: list[ListenerFiles] = []
        faults: list[str] = []
        for state in self._listeners:
            try:
                files.append(read_files(state.listener))
            except ListenerConfigError as error:
                faults += error.faults
        if faults:
            raise ListenerConfigError(*dict.fromkeys(faults))
        return tuple(files)

    def use(self, files: Sequence[ListenerFiles]) -> None:
        """Put what `read` returned in force, on every listener."""
        for state, content in zip(self._listeners, files, strict=True):
            state.use(content)

    def reload(self) -> None:
        """`read`, then `use`. Raises ListenerConfigError; then every listener keeps what it had."""
        self.use(self.read())

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port really bound, in the order of the listeners."""
        return [tuple(socket.getsockname()[:2]) for server in self._servers for socket in server.sockets]

    @property
    def sessions(self) -> int:
        """Connections open now."""
        return len(self._sessions)

    def _connect(self, state: ListenerState) -> Connection:
        context = self._context
        connection = Connection(
            context.receive_buffer,
            clear_text=state.listener.tls != "implicit",
            idle_timeout=context.idle_timeout,
            session_timeout=context.limits().session_timeout,
        )
        connection.session = session = SessionRunner(connection, state, context, self._ended)
        self._sessions.add(session)
        return connection

    def _ended(self, session: SessionRunner) -> None:
        self._sessions.discard(session)
        self._session_ended.set()

    async def drain(self, timeout: float) -> None:
        """Accept no connection, answer 421 to idle sessions, let messages in hand end; cut the rest after `timeout`.

        A message already handed to the intake is waited for and never cancelled. timeout: seconds.
        """
        self._context.draining = True
        self._stop_listening()
        for session in list(self._sessions):
            if session.idle:
                session.dismiss(CLOSING)
        try:
            async with asyncio.timeout(timeout):
                while self._sessions:
                    self._session_ended.clear()
                    await self._session_ended.wait()
        except TimeoutError:
            self._abort_all()
        if self._context.tasks:
            await asyncio.wait(list(self._context.tasks))
        self.close()

    def close(self) -> None:
        """At once: stop listening, cut every session."""
        self._stop_listening()
        self._abort_all()
        self._context.close()

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()

    def _abort_all(self) -> None:
        for session in list(self._sessions):
            session.abort()
