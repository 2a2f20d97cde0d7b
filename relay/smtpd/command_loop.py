"""How a session runs: who is let in, which command is accepted when, how many errors end it."""

import ssl
from dataclasses import dataclass, field
from typing import Any

from relay.model import Recipient
from relay.observability.events import RejectCause
from relay.replies import Reply
from relay.smtpd.connection import CLOSING, Connection
from relay.smtpd.data_reader import BdatBuffer
from relay.smtpd.grammar import MailCommand
from relay.smtpd.limits import AUTH_LINE_LIMIT, ERROR_LIMIT, JUNK_LIMIT, LINE_LIMIT, allowed
from relay.smtpd.listener import FAULT
from relay.smtpd.transport import TIMEOUT, LineTooLong, SessionEnded


@dataclass(slots=True)
class Transaction:
    """From MAIL to the end of DATA or of the last BDAT. parcel: since the first BDAT."""

    command: MailCommand
    recipients: list[Recipient] = field(default_factory=list)
    surplus: int = 0
    parcel: BdatBuffer | None = None


OK = Reply(250, "2.0.0", "OK")
TURNED_AWAY = {
    RejectCause.SERVER_LIMIT: Reply(421, "4.7.0", "too many connections, try again later"),
    RejectCause.HOST_LIMIT: Reply(421, "4.7.0", "too many connections from your address, try again later"),
    RejectCause.NETWORK: Reply(554, "5.7.1", "access denied"),
    RejectCause.STOPPING: CLOSING,
}
TOO_LONG = Reply(500, "5.5.2", "line too long")
BARE_LF = Reply(500, "5.5.2", "a command ends with CR LF")
UNKNOWN = Reply(500, "5.5.1", "command not recognized")
NOT_HERE = Reply(502, "5.5.1", "command not implemented")
NO_ARGUMENT = Reply(501, "5.5.4", "no argument allowed")
HELO_FIRST = Reply(503, "5.5.1", "send EHLO first")
MAIL_FIRST = Reply(503, "5.5.1", "need MAIL first")
TLS_FIRST = Reply(530, "5.7.0", "must issue STARTTLS first")
AUTH_FIRST = Reply(530, "5.7.0", "authentication required")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "too many errors")
TOO_FAST = Reply(450, "4.7.1", "too many mails from your address, try again in a minute")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "too many recipients, send the rest in another transaction")
NOT_SMTP = Reply(554, "5.5.1", "this is an SMTP server")

_BEFORE_TLS = frozenset(
    {"EHLO", "HELO", "STARTTLS", "NOOP", "QUIT", "RSET", "HELP", "BDAT"}
)  # BDAT: reads, then refuses
_JUNK = frozenset({"NOOP", "RSET", "VRFY", "HELP", "EHLO", "HELO", "EXPN", "AUTH", "STARTTLS"})
_FOREIGN = frozenset(
    {"GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PRI", "HTTP", "HOST:"}
)


class CommandLoop(Connection):
    """The loop over commands. A subclass brings the commands, as methods `smtp_VERB(arg)`."""

    helo = ""
    extended = False
    user: str | None = None
    transaction: Transaction | None = None
    handing = False
    errors = 0
    junk = 0
    wrong_passwords = 0

    async def _handle_client(self) -> None:
        try:
            if await self._welcome():
                await self._converse()
        except SessionEnded:
            pass
        except TimeoutError:
            self.event("session_error", why="timeout")
            self.say(TIMEOUT)
        except (EOFError, ConnectionError, ssl.SSLError) as error:
            if self.transaction is not None or isinstance(error, ssl.SSLError):
                self.event("session_error", why=type(error).__name__)
        except Exception as error:
            self.house.on_event("internal_error", where="session", error=error)
            self.say(FAULT)
        finally:
            self._abandon()
            self._hang_up()

    def _abandon(self) -> None:
        """Forget the transaction, and give back what its chunks took."""
        if self.transaction is not None and self.transaction.parcel is not None:
            self.transaction.parcel.release()
        self.transaction, self.midway = None, False

    def _hang_up(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            if self._out and (self.secure or self.post.listener.tls != "implicit"):  # no clear text to a TLS client
                self._writer.write(bytes(self._out))
            self.transport.close()

    async def _welcome(self) -> bool:
        """PROXY, limits, networks, implicit TLS, banner. False: turned away."""
        listener = self.post.listener
        if listener.proxy_protocol and not await self.read_proxy_header():
            self.event("connection_rejected", cause=RejectCause.PROTOCOL)
            return False
        cause = self._enter()
        if cause is None and self.house.draining:
            cause = RejectCause.STOPPING
        if cause is None and not self._trusted and not self.post.authenticates:
            cause = RejectCause.NETWORK
        if cause is not None:
            self.event("connection_rejected", cause=cause)
            if listener.tls != "implicit":  # else it would take a handshake to say so
                self.say(TURNED_AWAY[cause])
            return False
        if listener.tls == "implicit":
            await self.start_tls(begun=listener.proxy_protocol)
        self.event("connection", listener=f"{listener.host}:{listener.port}")
        self.say(f"220 {self.hostname} ESMTP")
        return True

    @property
    def _trusted(self) -> bool:
        return allowed(self.peer, self.post.networks)

    async def _converse(self) -> None:
        while True:
            if self.house.draining and not self.midway:
                self._end(CLOSING)
            try:
                line = await self.read_line(AUTH_LINE_LIMIT)
            except LineTooLong:
                self._refuse(TOO_LONG)
                continue
            if line[:4].upper() == b"BDAT" and (len(line) > LINE_LIMIT or not line.endswith(b"\r\n")):
                self._end(TOO_LONG if len(line) > LINE_LIMIT else BARE_LF)  # what follows would be read as commands
            if line.startswith(b"\x16\x03"):
                self.event("session_error", why="TLS on a plain port")
                self._out.clear()
                raise SessionEnded
            await self._command(line)

    async def _command(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            self._refuse(BARE_LF)
            return
        text = line[:-2].rstrip(b" ").decode("utf-8", "surrogateescape")
        verb, _, arg = text.partition(" ")
        verb, arg = verb.upper(), arg.lstrip(" ")
        if verb in _FOREIGN or verb.startswith("SSH-"):
            self.event("session_error", why="another protocol")
            self._end(NOT_SMTP)
        if verb != "AUTH" and len(line) > LINE_LIMIT:
            self._refuse(TOO_LONG)
            return
        method = self._verbs.get(verb) if verb.isascii() and verb.isalpha() else None
        if method is None:
            self._refuse(UNKNOWN)
        elif self._tls_first and verb not in _BEFORE_TLS:
            self._refuse(TLS_FIRST)
        else:
            self._count_junk(verb)
            await self._obey(method, arg)

    async def _obey(self, method: Any, arg: str) -> None:
        try:
            await method(self, arg)
        except (SessionEnded, EOFError, ConnectionError, TimeoutError, ssl.SSLError):
            raise
        except Exception as error:
            self.house.on_event("internal_error", where="command", error=error)
            self.say(FAULT)
            if self.amid:  # the rest of the message would be obeyed, whatever it says
                raise SessionEnded from error

    @property
    def _tls_first(self) -> bool:
        return self.post.listener.tls == "required" and not self.secure

    def _count_junk(self, verb: str) -> None:
        if verb in _JUNK:
            self.junk += 1
            if self.junk > JUNK_LIMIT:
                self.event("session_error", why="too many commands without a mail")
                self._end(TOO_MANY_ERRORS)

    def _refuse(self, reply: Reply) -> None:
        """A reply that counts as the client's error."""
        self.errors += 1
        if self.errors >= ERROR_LIMIT:
            self.event("session_error", why="too many errors", last=str(reply))
            self._end(TOO_MANY_ERRORS)
        self.say(reply)

    def _end(self, reply: Reply) -> None:
        self.say(reply)
        raise SessionEnded
