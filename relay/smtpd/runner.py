"""What runs a session on its connection: admission, input, time, what is waited for, and unforeseen errors."""

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

from relay.observability.events import ConnectionRejected, InternalError, RejectCause
from relay.replies import Reply
from relay.smtpd.connection import Connection, LineTooLong
from relay.smtpd.data import EndlessMessage
from relay.smtpd.limits import AUTH_LINE_LIMIT, allowed
from relay.smtpd.listener import ListenerState, ServerContext
from relay.smtpd.session import Session, SessionEnded, Work
from relay.smtpd.states import (
    CLOSING,
    CONNECTION_REJECTED,
    CONTENT,
    IDLE,
    LOCAL_ERROR,
    TIMEOUT,
    WAITING,
    State,
)

T = TypeVar("T")

ACCEPT_EXTENSION = 10.0  # seconds more for a session whose time is over while the intake has its message


class SessionRunner:
    """Gets what happens on `connection` and lets the session do what can be done. ended: the connection is closed."""

    def __init__(
        self,
        connection: Connection,
        listener: ListenerState,
        context: ServerContext,
        ended: Callable[["SessionRunner"], None],
    ) -> None:
        self._connection = connection
        self._listener = listener
        self._context = context
        self._ended = ended
        self._session = Session(connection, listener, context)
        self._task: asyncio.Task[None] | None = None
        self._counted = False  # as one of the server's connections

    # What the connection calls (connection.SessionCallbacks).

    @property
    def reads_content(self) -> bool:
        return self._session.state in CONTENT

    def connected(self) -> None:
        listener = self._listener.listener
        if listener.proxy_protocol or listener.tls == "implicit":
            if not listener.proxy_protocol:
                self._connection.pause_reading()
            self._start(self._connect())
            return
        try:
            self._admit()
            self._session.greet()
        except Exception as error:
            self._fail(error)
        else:
            self.advance()

    def advance(self) -> None:
        connection, session = self._connection, self._session
        try:
            while session.state not in WAITING and not connection.write_blocked and self._step():
                if connection.output_full:
                    connection.flush()
        except Exception as error:
            self._fail(error)
        connection.flush()

    def content_received(self, octets: memoryview) -> None:
        try:
            self._run(self._session.content, octets)
        except Exception as error:
            self._fail(error)
        if not self.reads_content:
            self.advance()

    def idle_expired(self) -> None:
        if self._session.state is State.CLOSED:
            self._connection.abort()
        elif self._connection.write_blocked:
            self._session.session_error("timeout")
            self._connection.abort()
        else:
            self._fail(TimeoutError())

    def session_expired(self) -> None:
        if self._session.state is State.ACCEPTING:
            self._connection.extend_session(ACCEPT_EXTENSION)
        else:
            self.dismiss(TIMEOUT)

    def connection_lost(self) -> None:
        self._ended(self)
        if self._counted:
            self._context.connections.leave(self._connection.peer)
            self._counted = False
        if self._session.state is State.ACCEPTING:
            return  # the message is kept; then the task ends the session
        if self._task is not None:
            self._task.cancel()
        self._close()

    # What the server calls.

    @property
    def idle(self) -> bool:
        """The session waits for a command, and may be dismissed."""
        return self._session.state in IDLE

    def dismiss(self, reply: Reply) -> None:
        """End the session from outside."""
        if self._session.state in (State.CONNECTING, State.HANDSHAKE):
            self._connection.abort()
        elif self._session.state is not State.CLOSED:
            self._connection.say(reply)
            self._close()

    def abort(self) -> None:
        """Cut the connection. A message that the intake has is kept."""
        self._connection.abort()

    # Admission.

    async def _connect(self) -> None:
        """PROXY header, admission, implicit TLS, banner."""
        proxy = self._listener.listener.proxy_protocol
        if proxy and not await self._read_proxy_header():
            self._context.observe(ConnectionRejected(self._connection.peer, RejectCause.PROTOCOL))
            raise SessionEnded
        self._admit()
        if self._listener.listener.tls == "implicit":
            assert self._listener.context is not None
            await self._connection.start_tls(self._listener.context, use_input=proxy)
        self._session.greet()

    async def _read_proxy_header(self) -> bool:
        return allowed(self._connection.peer, self._listener.proxies) and await self._connection.read_proxy_header()

    def _admit(self) -> None:
        """Count the connection. Raises SessionEnded, with the reply said, when it is rejected."""
        peer = self._connection.peer
        cause = self._context.connections.enter(peer, self._context.limits())
        self._counted = cause is None
        if cause is None and self._context.draining:
            cause = RejectCause.STOPPING
        if cause is None and not self._session.trusted and not self._listener.authenticates:
            cause = RejectCause.NETWORK
        if cause is not None:
            self._context.observe(ConnectionRejected(peer, cause))
            self._session.end(CONNECTION_REJECTED[cause])

    # Input.

    def _step(self) -> bool:
        """Handle one line, or octets of a content. False: nothing more has come."""
        connection, session = self._connection, self._session
        if session.state in CONTENT:
            octets = connection.read_content(session.missing)
            if octets:
                self._run(session.content, memoryview(octets))
            else:
                connection.wait_for_content()
            return bool(octets)
        if self._context.draining and session.state is not State.BDAT:
            session.end(CLOSING)
        try:
            line = connection.read_line(AUTH_LINE_LIMIT)
        except LineTooLong:
            session.line_too_long()
            return True
        if line is None:
            connection.wait_for_line()
            return False
        self._run(session.line, line)
        return True

    def _run(self, step: Callable[[T], Work | None], octets: T) -> None:
        try:
            work = step(octets)
        except (SessionEnded, EndlessMessage):
            raise
        except Exception as error:
            self._command_failed(error)
        else:
            if work is not None:
                self._start(work)

    def _start(self, work: Work) -> None:
        """Read nothing more until `work` is done."""
        self._connection.stop_waiting()
        self._task = asyncio.get_running_loop().create_task(self._supervise(work))
        if self._session.state is State.ACCEPTING:
            self._context.tasks.add(self._task)
            self._task.add_done_callback(self._context.tasks.discard)

    async def _supervise(self, work: Work) -> None:
        error: Exception | None = None
        try:
            await work
        except Exception as raised:
            error = raised
        self._task = None
        if error is not None:
            self._fail(error)
        self.advance()

    # Errors and the end.

    def _command_failed(self, error: Exception) -> None:
        """An unforeseen error: a temporary reply; the next command may succeed. Raises SessionEnded if it cannot."""
        self._context.observe(InternalError("command", error))
        self._connection.say(LOCAL_ERROR)
        if self._session.state in CONTENT:  # the rest of the message would be read as commands
            raise SessionEnded from error
        if self._session.state in (State.VERIFYING, State.ACCEPTING):
            self._session.end_transaction()

    def _fail(self, error: Exception) -> None:
        try:
            self._handle_error(error)
        except SessionEnded:
            self._close()

    def _handle_error(self, error: Exception) -> None:
        """Say and report what `error` is. Raises SessionEnded, unless only one command has failed."""
        session = self._session
        match error:
            case SessionEnded():
                raise error
            case EndlessMessage():
                session.message_endless(error)
            case TimeoutError():
                session.session_error("timeout")
                session.end(TIMEOUT)
            case EOFError() | ConnectionError() | ssl.SSLError():
                if session.transaction is not None or isinstance(error, ssl.SSLError):
                    session.session_error(type(error).__name__)
                raise SessionEnded
            case _ if session.state in (State.VERIFYING, State.ACCEPTING):
                self._command_failed(error)
            case _:
                self._context.observe(InternalError("session", error))
                session.end(LOCAL_ERROR)

    def _close(self) -> None:
        self._session.end_transaction()
        self._session.state = State.CLOSED
        self._connection.close()
