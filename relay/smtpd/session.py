"""One SMTP session (RFC 5321): a state machine over the lines and contents that a client sends.

Each command is one method, which runs at once. A method that must wait, for a TLS handshake, a password check or the
intake, returns a coroutine; the runner (relay.smtpd.runner) reads nothing more until it is done."""

import asyncio
import ssl
import time
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, NoReturn

from aiosmtpd.smtp import SMTP

from relay.model import Envelope
from relay.observability.events import (
    AuthenticationFailed,
    ConnectionOpened,
    FinalReply,
    SessionError,
    TransactionRejectCause,
    TransactionRejected,
)
from relay.replies import Reply, Stage
from relay.smtpd import auth, grammar, states
from relay.smtpd.connection import Connection
from relay.smtpd.data import TOO_LARGE, BdatReader, DataReader, EndlessMessage, ReceivedMessage, parse_bdat
from relay.smtpd.limits import (
    AUTH_FAILURES_PER_SESSION,
    ERROR_LIMIT,
    JUNK_LIMIT,
    LINE_LIMIT,
    SURPLUS_LIMIT,
    allowed,
)
from relay.smtpd.listener import ListenerState, ServerContext
from relay.smtpd.mail_transaction import CurrentChunk, Transaction, content_rejected
from relay.smtpd.states import REFUSALS, State

# ruff: noqa: N802 - the methods have aiosmtpd's names
# aiosmtpd's commands are coroutines:
# mypy: disable-error-code="override"

Work = Coroutine[Any, Any, None]
"""What must be done before the next octet is read."""


class SessionEnded(Exception):
    """The session ends; what was said is sent first."""


class _NoHandler:
    """aiosmtpd searches all names of its handler for hooks, once for each session: there are none."""

    def __dir__(self) -> tuple[str, ...]:
        return ()


_NO_HANDLER = _NoHandler()


class Session(SMTP):
    """The server's side of one connection.

    Of aiosmtpd's SMTP it uses the constructor, `hostname`, and the naming of commands: `smtp_VERB(arg)`, all of which
    it replaces, so that none of the base class answers. Reading, writing, timers, TLS and errors are the connection's
    and this class's own; the base is never connected to a transport.
    """

    def __init__(
        self,
        connection: Connection,
        listener: ListenerState,
        context: ServerContext,
    ) -> None:
        super().__init__(
            _NO_HANDLER,
            data_size_limit=None,
            enable_SMTPUTF8=True,
            hostname=context.hostname,
            loop=asyncio.get_running_loop(),
        )
        self.connection = connection
        self.state = State.CONNECTING
        self._listener = listener
        self._context = context
        self._helo = ""
        self._extended = False  # EHLO, not HELO
        self._user: str | None = None
        self.transaction: Transaction | None = None
        self._data: DataReader | None = None
        self._chunk: CurrentChunk | None = None
        self._challenge: Generator[str, bytes, auth.Credentials | Reply] | None = None
        self._errors = 0
        self._junk = 0
        self._auth_failures = 0

    def __dir__(self) -> tuple[str, ...]:
        """aiosmtpd searches all names of a session, once for each: REFUSALS has the commands."""
        return ()

    def greet(self) -> None:
        listener = self._listener.listener
        self._context.observe(ConnectionOpened(self.connection.peer, f"{listener.host}:{listener.port}"))
        self.connection.say(f"220 {self.hostname} ESMTP")
        self.state = State.GREETING

    @property
    def trusted(self) -> bool:
        return allowed(self.connection.peer, self._listener.networks)

    def line(self, line: bytearray) -> Work | None:
        """One line with its LF: a command, or the answer to a challenge."""
        if self.state is State.AUTH:
            return self._continue_auth(bytes(line).rstrip(b"\r\n"))
        return self._command(line)

    def line_too_long(self) -> None:
        """A line came that was not kept."""
        if self.state is State.AUTH:
            self.state = State.READY
            self._refuse(states.AUTH_LINE_TOO_LONG)
        else:
            self._refuse(states.LINE_TOO_LONG)

    def _command(self, line: bytearray) -> Work | None:
        if line[:4].upper() == b"BDAT" and (len(line) > LINE_LIMIT or not line.endswith(b"\r\n")):
            # What follows would be read as commands.
            self.end(states.LINE_TOO_LONG if len(line) > LINE_LIMIT else states.BARE_LF)
        if line.startswith(b"\x16\x03"):
            self.session_error("TLS on a plain port")
            self.connection.discard_output()
            raise SessionEnded
        if not line.endswith(b"\r\n"):
            self._refuse(states.BARE_LF)
            return None
        text = line[:-2].rstrip(b" ").decode("utf-8", "surrogateescape")
        verb, _, arg = text.partition(" ")
        verb, arg = verb.upper(), arg.lstrip(" ")
        if verb in states.OTHER_PROTOCOLS or verb.startswith("SSH-"):
            self.session_error("another protocol")
            self.end(states.NOT_SMTP)
        if verb != "AUTH" and len(line) > LINE_LIMIT:
            self._refuse(states.LINE_TOO_LONG)
        elif verb not in REFUSALS:
            self._refuse(states.UNKNOWN_COMMAND)
        else:
            return self._execute(verb, arg)
        return None

    def _execute(self, verb: str, arg: str) -> Work | None:
        refusal = self._tls_refusal(verb)
        if refusal is None:
            self._count_junk(verb)
            refusal = self._state_refusal(verb)
        if verb == "BDAT":  # its octets must be read before it is refused
            return self.smtp_BDAT(arg, refusal)
        if refusal is not None:
            self._refuse(refusal)
            return None
        work: Work | None = getattr(self, f"smtp_{verb}")(arg)
        return work

    def _tls_refusal(self, verb: str) -> Reply | None:
        required = self._listener.listener.tls == "required" and not self.connection.secure
        return states.TLS_FIRST if required and verb not in states.BEFORE_TLS else None

    def _state_refusal(self, verb: str) -> Reply | None:
        if verb == "AUTH" and not self._listener.authenticates:
            return states.NOT_IMPLEMENTED
        return REFUSALS[verb].get(self.state)

    def _count_junk(self, verb: str) -> None:
        if verb in states.JUNK:
            self._junk += 1
            if self._junk > JUNK_LIMIT:
                self.session_error("too many commands without a message")
                self.end(states.TOO_MANY_ERRORS)

    def _refuse(self, reply: Reply) -> None:
        """A reply that counts as the client's error."""
        self._errors += 1
        if self._errors >= ERROR_LIMIT:
            self.session_error("too many errors", reply)
            self.end(states.TOO_MANY_ERRORS)
        self.connection.say(reply)

    def end(self, reply: Reply) -> NoReturn:
        """Say the last reply and end the session."""
        self.connection.say(reply)
        raise SessionEnded

    def session_error(self, why: str, last: Reply | None = None) -> None:
        self._context.observe(SessionError(self.connection.peer, why, last))

    # Greeting, TLS, authentication.

    def smtp_HELO(self, arg: str) -> None:
        if not grammar.helo(arg):
            self._refuse(Reply(501, "5.5.4", "syntax: HELO hostname"))
            return
        self._helo, self._extended = arg, False
        self.end_transaction()
        self.connection.say(f"250 {self.hostname}")  # no enhanced code here, rfc2034#4

    def smtp_EHLO(self, arg: str) -> None:
        if not grammar.helo(arg):
            self._refuse(Reply(501, "5.5.4", "syntax: EHLO hostname"))
            return
        self._helo, self._extended = arg, True
        self.end_transaction()
        lines = [self.hostname, *self._extensions()]
        for line in lines[:-1]:
            self.connection.say(f"250-{line}")
        self.connection.say(f"250 {lines[-1]}")

    def _extensions(self) -> list[str]:
        size = self._context.limits().max_mail_size
        extensions = [f"SIZE {size}", "8BITMIME", "PIPELINING", "SMTPUTF8", "DSN", "CHUNKING"]
        if self._listener.context is not None and not self.connection.secure:
            extensions.append("STARTTLS")
        if self._listener.authenticates and self.connection.secure:
            extensions.append("AUTH PLAIN LOGIN")
        return [*extensions, "HELP", "ENHANCEDSTATUSCODES"]

    def smtp_STARTTLS(self, arg: str) -> Work | None:
        if arg:
            self._refuse(states.NO_ARGUMENT)
        elif self.connection.secure:
            self._refuse(Reply(503, "5.5.1", "TLS is active already"))
        elif self._listener.context is None:
            self._refuse(states.NOT_IMPLEMENTED)
        else:
            self._helo, self._extended, self._user = "", False, None  # rfc3207#4.2
            self.end_transaction()
            self.connection.pause_reading()
            self.connection.say(Reply(220, "2.0.0", "ready to start TLS"))
            self.state = State.HANDSHAKE
            return self._start_tls(self._listener.context)
        return None

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        await self.connection.start_tls(context)
        self.state = State.GREETING

    def smtp_AUTH(self, arg: str) -> Work | None:
        """AUTH PLAIN and LOGIN, over TLS only (RFC 4954)."""
        if not self._extended:
            self._refuse(states.HELO_FIRST)
        elif not self.connection.secure:
            self._refuse(Reply(538, "5.7.11", "encryption required for authentication"))
        elif self._user is not None:
            self._refuse(states.NO_AUTH_NOW)
        elif self._context.auth_failures.blocked(self.connection.peer):
            self.end(Reply(421, "4.7.0", "too many wrong passwords from your address"))
        else:
            self._challenge = auth.exchange(arg)
            return self._continue_auth(None)
        return None

    def _continue_auth(self, answer: bytes | None) -> Work | None:
        """Give the client's answer to the exchange, which asks for another or ends."""
        assert self._challenge is not None
        self.state = State.READY
        try:
            # The first step of a generator takes None.
            challenge = next(self._challenge) if answer is None else self._challenge.send(answer)
        except StopIteration as end:
            result = end.value
        else:
            self.connection.say(f"334 {challenge}")
            self.state = State.AUTH
            return None
        if isinstance(result, Reply):
            self._refuse(result)
            return None
        self.state = State.VERIFYING
        return self._verify(result)

    async def _verify(self, credentials: auth.Credentials) -> None:
        if await self._context.verify(self._listener.users, credentials.name, credentials.password):
            self._user = credentials.name
            self.connection.say(Reply(235, "2.7.0", "authentication successful"))
        else:
            await self._authentication_failed()
        self.state = State.READY

    async def _authentication_failed(self) -> None:
        self._auth_failures += 1
        failures = self._context.auth_failures.record(self.connection.peer)
        self._context.observe(AuthenticationFailed(self.connection.peer, failures))
        await asyncio.sleep(self._context.auth_delay * min(failures, 5))
        if self._auth_failures >= AUTH_FAILURES_PER_SESSION:
            self.end(Reply(421, "4.7.0", "too many wrong passwords"))
        self._refuse(Reply(535, "5.7.8", "authentication credentials invalid"))

    # The transaction.

    def smtp_MAIL(self, arg: str) -> None:
        context, peer = self._context, self.connection.peer
        if self._user is None and not self.trusted:
            self._reject(Stage.MAIL, TransactionRejectCause.AUTHENTICATION, states.AUTH_FIRST)
            return
        command = grammar.mail(arg, extended=self._extended, auth=self._listener.authenticates)
        if isinstance(command, Reply):
            self._reject(Stage.MAIL, TransactionRejectCause.SYNTAX, command)
        elif (command.size or 0) > context.limits().max_mail_size:
            self._reject(Stage.MAIL, TransactionRejectCause.MESSAGE_SIZE, TOO_LARGE, command.sender)
        elif not context.rate.admit(peer, context.limits().max_mails_per_minute_per_host):
            self._reject(Stage.MAIL, TransactionRejectCause.RATE, states.TOO_MANY_MESSAGES, command.sender)
        elif (refusal := context.intake.room()) is not None:
            self._refuse(refusal)
        else:
            self.transaction = Transaction(command)
            self.state = State.MAIL
            self.connection.say(Reply(250, "2.1.0", "sender OK"))

    def smtp_RCPT(self, arg: str) -> None:
        transaction = self._require_transaction()
        sender = transaction.command.sender
        if len(transaction.recipients) >= self._context.limits().max_recipients:
            transaction.surplus += 1
            if transaction.surplus > SURPLUS_LIMIT:
                self.end(states.TOO_MANY_ERRORS)
            self.connection.say(states.TOO_MANY_RECIPIENTS)
            return
        recipient = grammar.rcpt(arg, extended=self._extended, smtputf8=transaction.command.smtputf8)
        if isinstance(recipient, Reply):
            self._reject(Stage.RCPT, TransactionRejectCause.SYNTAX, recipient, sender)
            return
        refusal = self._context.intake.recipient(recipient.address)
        if refusal is not None:
            self._reject(Stage.RCPT, TransactionRejectCause.RECIPIENT, refusal, sender, [recipient.address])
            return
        transaction.recipients.append(recipient)
        self.state = State.RCPT
        self.connection.say(Reply(250, "2.1.5", "recipient OK"))

    def smtp_DATA(self, arg: str) -> None:
        if arg:
            self._refuse(states.NO_ARGUMENT)
            return
        self._data = DataReader(self._context.limits, self._context.memory)
        self.connection.say("354 end data with <CR><LF>.<CR><LF>")
        self.state = State.DATA

    def smtp_BDAT(self, arg: str, refusal: Reply | None = None) -> Work | None:
        """One chunk (RFC 3030 §2). refusal: of the command, said once the octets that follow have been read."""
        chunk = parse_bdat(arg)
        if chunk is None:
            self.end(states.BDAT_SYNTAX)  # nobody knows how many octets follow
        limits, memory = self._context.limits, self._context.memory
        if refusal is not None:
            self._chunk = CurrentChunk(chunk, BdatReader(limits, memory, refusal), self.state, refusal)
        else:
            transaction = self._require_transaction()
            if transaction.bdat is None:
                transaction.bdat = BdatReader(limits, memory)
            if not chunk.size and not chunk.last:
                self._count_junk("NOOP")
            reported = transaction.bdat.refusal is not None
            self._chunk = CurrentChunk(chunk, transaction.bdat, State.BDAT, reported=reported)
        self._chunk.reader.begin(chunk.size)
        self.state = State.CHUNK
        return None if chunk.size else self._chunk_read(self._chunk)

    @property
    def missing(self) -> int | None:
        """Octets of the content that have not come; None: unknown."""
        return self._chunk.reader.missing if self._chunk is not None else None

    def content(self, octets: memoryview) -> Work | None:
        """Add octets to the content that is being read."""
        reader = self._data or self._chunk_reader()
        rest = reader.feed(octets)
        if rest is None:
            self.connection.wait_for_content()
            return None
        self.connection.stop_waiting()
        self.connection.unread(rest)
        if self._chunk is not None:
            return self._chunk_read(self._chunk)
        return self._message_read(reader.take())

    def _chunk_reader(self) -> BdatReader:
        assert self._chunk is not None  # so says the state
        return self._chunk.reader

    def _chunk_read(self, current: CurrentChunk) -> Work | None:
        self._chunk, self.state = None, current.after
        reader = current.reader
        if current.refusal is not None:
            self._refuse(current.refusal)
        elif current.chunk.last:
            return self._message_read(reader.take(), reported=current.reported)
        elif reader.refusal is None:
            self.connection.say(Reply(250, "2.0.0", f"{current.chunk.size} octets received"))
        elif current.reported:  # of a pipelined group: the same fault of the same message
            self.connection.say(reader.refusal)
        else:
            self._reject_content(self._require_transaction(), reader.refusal)
        return None

    def _message_read(self, received: ReceivedMessage | Reply, *, reported: bool = False) -> Work | None:
        """The message has come to its end. reported: its refusal was said before."""
        begun, transaction = time.perf_counter(), self._require_transaction()
        self.state = State.ACCEPTING
        if isinstance(received, ReceivedMessage):
            return self._accept(transaction, received)
        self.end_transaction()
        self._context.observe(FinalReply(received.code, time.perf_counter() - begun))
        if reported:
            self.connection.say(received)
        else:
            self._reject_content(transaction, received)
        return None

    async def _accept(self, transaction: Transaction, received: ReceivedMessage) -> None:
        """Hand the message over. Runs to its end even if the client goes."""
        try:
            reply = await self._context.accept(self._envelope(transaction), received.raw)
        finally:
            received.memory.release()  # only now that the reply is known
        self.end_transaction()
        if self.connection.lost:
            raise SessionEnded
        if reply.accepted:
            self._junk = 0
            self.connection.say(reply)
        else:
            self._refuse(reply)

    def end_transaction(self) -> None:
        """Forget the transaction and release what was read of its content."""
        if self._data is not None:
            self._data.release()
        if self.transaction is not None and self.transaction.bdat is not None:
            self.transaction.bdat.release()
        self.transaction = self._data = self._chunk = None
        self.state = State.READY if self._helo else State.GREETING

    def _reject(
        self,
        stage: Stage,
        cause: TransactionRejectCause,
        reply: Reply,
        sender: str = "",
        recipients: Sequence[str] = (),
    ) -> None:
        """Refuse a sender, a recipient or a message, with an event. What the intake refuses has the intake's own."""
        peer = self.connection.peer
        self._context.observe(TransactionRejected(peer, stage, cause, reply, sender, tuple(recipients)))
        self._refuse(reply)

    def _reject_content(self, transaction: Transaction, reply: Reply) -> None:
        self._context.observe(content_rejected(self.connection.peer, transaction, reply))
        self._refuse(reply)

    def message_endless(self, error: EndlessMessage) -> NoReturn:
        """A message far over its limit is not read to its end."""
        reported = self._chunk is not None and (self._chunk.reported or self._chunk.refusal is not None)
        if self.transaction is not None and not reported:
            self._context.observe(content_rejected(self.connection.peer, self.transaction, error.reply))
        self.end(error.reply)

    def _require_transaction(self) -> Transaction:
        assert self.transaction is not None  # so says REFUSALS
        return self.transaction

    def _envelope(self, transaction: Transaction) -> Envelope:
        return transaction.envelope(
            peer=self.connection.peer,
            helo=self._helo,
            extended=self._extended,
            secure=self.connection.secure,
            user=self._user,
        )

    # Other commands.

    def smtp_RSET(self, arg: str) -> None:
        if arg:
            self._refuse(states.NO_ARGUMENT)
            return
        self.end_transaction()
        self.connection.say(states.OK)

    def smtp_NOOP(self, arg: str) -> None:
        self.connection.say(states.OK)

    def smtp_VRFY(self, arg: str) -> None:
        """The same for all: nobody learns who exists (RFC 5321 §7.3)."""
        if arg:
            self.connection.say(Reply(252, "2.1.5", "cannot verify, but will take the message and try"))
        else:
            self._refuse(Reply(501, "5.5.4", "syntax: VRFY address"))

    def smtp_EXPN(self, arg: str) -> None:
        self._refuse(states.NOT_IMPLEMENTED)

    smtp_TURN = smtp_ETRN = smtp_EXPN  # noqa: N815

    def smtp_HELP(self, arg: str) -> None:
        self.connection.say(Reply(214, "2.0.0", "see RFC 5321"))

    def smtp_QUIT(self, arg: str) -> None:
        if arg:
            self._refuse(states.NO_ARGUMENT)
            return
        self.end(Reply(221, "2.0.0", "bye"))
