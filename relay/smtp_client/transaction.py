"""MAIL, RCPT, DATA, content, final dot: one transaction on an open connection, one outcome for each recipient."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from relay.replies import ErrorKind, Outcome, Reply, Stage, classify, failure
from relay.smtp_client.protocol import ClientProtocol, ConnectionLost, InvalidReply, Octets, OutgoingContent, prepare
from relay.smtp_client.route import Timeouts

Outcomes = dict[str, Outcome]

HELO_ATTEMPTS = 3
"""Before this attempt, a next hop that rejected EHLO is expected to accept it again."""

_UNSAFE = re.compile(r"[\x00-\x20\x7f<>]")
_QUOTED_LOCAL = re.compile(r'"(?:[^\x00-\x1f\x7f"\\]|\\[ -~])*"@')
"""Between its quotes a local part may hold what cannot stand elsewhere (rfc5321#4.1.2)."""


class StaleConnection(Exception):
    """A kept connection turned out to be dead before anything of the message was sent: try a fresh one."""


class _Ended(Exception):
    """The transaction is over for every recipient that has no outcome yet."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """What is to be sent. `sender` "" is the null sender; smtputf8: it was submitted so (RFC 6531).

    attempt: of this delivery, from 1. seven_bit: makes the content for a next hop without 8BITMIME, if that can be.
    """

    sender: str
    recipients: tuple[str, ...]
    content: OutgoingContent
    smtputf8: bool = False
    attempt: int = 1
    seven_bit: Callable[[], Awaitable[Sequence[Octets]]] | None = None

    @property
    def needs_smtputf8(self) -> bool:
        addresses_ascii = self.sender.isascii() and all(map(str.isascii, self.recipients))
        return not addresses_ascii or (self.smtputf8 and self.content.utf8_header)


def outgoing_message(
    sender: str, recipients: Sequence[str], chunks: Sequence[Octets], smtputf8: bool = False
) -> OutgoingMessage:
    """chunks: the message, in order, CRLF lines, without dot-stuffing; they are copied once."""
    return OutgoingMessage(sender, tuple(dict.fromkeys(recipients)), prepare(chunks), smtputf8)


async def adapted_to(outgoing_message: OutgoingMessage, connection: ClientProtocol) -> OutgoingMessage:
    """`outgoing_message` with its text in 7 bits where this next hop needs that and is not expected to accept EHLO
    again."""
    retry_helo = not connection.esmtp and outgoing_message.attempt < HELO_ATTEMPTS
    if (
        outgoing_message.seven_bit is None
        or not outgoing_message.content.eightbit
        or "8bitmime" in connection.extensions
        or retry_helo
    ):
        return outgoing_message
    return replace(outgoing_message, content=prepare(await outgoing_message.seven_bit()), seven_bit=None)


class Transaction:
    """Run once. After it, `connection.usable` tells whether to keep the connection."""

    def __init__(self, connection: ClientProtocol, timeouts: Timeouts, outgoing_message: OutgoingMessage) -> None:
        self._connection = connection
        self._timeouts = timeouts
        self._sender = outgoing_message.sender
        self._recipients = outgoing_message.recipients
        self._content = outgoing_message.content
        self._utf8 = outgoing_message.needs_smtputf8
        self._reused = connection.uses > 0
        self._retry_helo = not connection.esmtp and outgoing_message.attempt < HELO_ATTEMPTS
        self._outcomes: Outcomes = {}

    async def run(self) -> Outcomes:
        """Raises StaleConnection, and ValueError for an address that cannot stand in a command."""
        if (unsupported := self._unsupported()) is not None:
            return dict.fromkeys(self._recipients, unsupported)
        self._connection.uses += 1
        try:
            await self._envelope()
            await self._send_content()
        except _Ended as ended:
            for recipient in self._recipients:
                self._outcomes.setdefault(recipient, ended.outcome)
        return self._outcomes

    def _unsupported(self) -> Outcome | None:
        """What this next hop cannot take, known from its EHLO (RFC 6152 §3, RFC 6531 §3.2, RFC 1870 §6.1)."""
        extensions = self._connection.extensions
        if self._utf8 and "smtputf8" not in extensions:
            return failure(Stage.MAIL, *self._missing_extension(ErrorKind.NO_SMTPUTF8))
        if self._content.eightbit and "8bitmime" not in extensions:
            return failure(Stage.MAIL, *self._missing_extension(ErrorKind.NO_8BITMIME))
        limit = extensions.get("size", "")
        if limit.isdecimal() and 0 < int(limit) < self._content.size:
            return failure(Stage.MAIL, ErrorKind.TOO_LARGE, f"{self._content.size} octets, it takes {limit}")
        return None

    def _missing_extension(self, kind: ErrorKind) -> tuple[ErrorKind, str]:
        """A server that rejected EHLO may offer the extension once it accepts EHLO again."""
        return (ErrorKind.NO_ESMTP, "SMTPUTF8" if self._utf8 else "8BITMIME") if self._retry_helo else (kind, "")

    async def _envelope(self) -> None:
        """MAIL, each RCPT, DATA; in one packet where PIPELINING is offered (RFC 2920)."""
        commands = [self._mail(), *[_path("RCPT TO:", each) for each in self._recipients], b"DATA\r\n"]
        limits = self._timeouts
        if self._connection.dirty:
            commands.insert(0, b"RSET\r\n")
        piped = "pipelining" in self._connection.extensions
        if piped:
            self._connection.command(*commands)
            commands.clear()
        if self._connection.dirty:
            if not (await self._ask(Stage.MAIL, limits.mail, commands)).accepted:
                self._connection.abort()
                raise StaleConnection
            self._connection.dirty = False
        reply = await self._ask(Stage.MAIL, limits.mail, commands)
        if not reply.accepted:
            self._connection.dirty = True
            raise _Ended(_classify(Stage.MAIL, reply))
        for recipient in self._recipients:
            reply = await self._ask(Stage.RCPT, limits.rcpt, commands)
            if not reply.accepted:
                self._outcomes[recipient] = _classify(Stage.RCPT, reply)
        await self._data(commands, piped)

    async def _data(self, commands: list[bytes], piped: bool) -> None:
        refused = len(self._outcomes) == len(self._recipients)
        if refused and not piped:
            self._connection.dirty = True
            return
        reply = await self._ask(Stage.DATA, self._timeouts.data, commands)
        if reply.code == 354 and not refused:
            return
        self._connection.dirty = True
        if reply.code == 354:
            self._connection.abort()  # no recipient was accepted, and the next hop waits for a content
        if not refused:
            raise _Ended(_classify(Stage.DATA, reply))

    async def _ask(self, stage: Stage, limit: float, commands: list[bytes]) -> Reply:
        """Send the next of `commands`, unless all went out together; its reply, within `limit` seconds.

        Until MAIL is answered, a reused connection may turn out to have been closed by the next hop, with 421 or
        without.
        """
        if commands:
            self._connection.command(commands.pop(0))
        may_be_stale = self._reused and stage is Stage.MAIL
        try:
            reply = await self._connection.reply(limit)
        except (ConnectionLost, InvalidReply, TimeoutError) as error:
            self._connection.abort()
            if may_be_stale and isinstance(error, ConnectionLost):
                raise StaleConnection from error
            raise _Ended(_connection_failure(stage, error)) from error
        if reply.code == 421:
            self._connection.abort()
            if may_be_stale:
                raise StaleConnection
            raise _Ended(_classify(stage, reply))
        return reply

    async def _send_content(self) -> None:
        accepted = [each for each in self._recipients if each not in self._outcomes]
        if not accepted:
            return
        try:
            await self._send_slices()
        except (ConnectionLost, TimeoutError) as error:
            self._connection.abort()  # without the final dot: the next hop must not deliver what it has
            raise _Ended(_connection_failure(Stage.BODY, error)) from error
        try:
            reply = await self._connection.reply(self._timeouts.final)
        except (ConnectionLost, InvalidReply, TimeoutError) as error:
            self._connection.abort()
            raise _Ended(failure(Stage.BODY, ErrorKind.OUTCOME_UNKNOWN, str(error) or "no answer in time")) from error
        raise _Ended(_classify(Stage.BODY, reply))

    async def _send_slices(self) -> None:
        """All of the content and the final dot; stops when the next hop answers before the dot."""
        *slices, last = self._content.pieces
        for each in slices:
            await self._connection.send_slice(each, self._timeouts.block)
            if self._connection.has_reply:
                await self._answered_early()
        await self._connection.finish_content(last, self._timeouts.block)
        if self._connection.has_reply and self._connection.write_blocked:
            await self._answered_early()

    async def _answered_early(self) -> None:
        """A reply before the end of the content: a rejection counts as it is; the connection is closed either way."""
        try:
            reply = await self._connection.reply(self._timeouts.block)
        except InvalidReply as error:
            raise _Ended(_connection_failure(Stage.BODY, error)) from error
        finally:
            self._connection.abort()
        if reply.accepted:
            raise _Ended(failure(Stage.BODY, ErrorKind.GARBAGE, f"{reply} before the final dot"))
        raise _Ended(_classify(Stage.BODY, reply))

    def _mail(self) -> bytes:
        extensions, parameters = self._connection.extensions, []
        if "size" in extensions:
            parameters.append(f"SIZE={self._content.size}")
        if "8bitmime" in extensions:
            parameters.append(f"BODY={'8BITMIME' if self._content.eightbit else '7BIT'}")
        if self._utf8:
            parameters.append("SMTPUTF8")
        return _path("MAIL FROM:", self._sender, *parameters)


def _path(verb: str, address: str, *parameters: str) -> bytes:
    if _UNSAFE.search(_QUOTED_LOCAL.sub("", address, 1) if address.startswith('"') else address):
        raise ValueError(f"an address of the envelope cannot stand in a command: {address!a}")
    return " ".join((f"{verb}<{address}>", *parameters)).encode() + b"\r\n"


def _classify(stage: Stage, reply: Reply) -> Outcome:
    return classify(stage, reply.code, reply.enhanced, reply.text)


def _connection_failure(stage: Stage, error: Exception) -> Outcome:
    if isinstance(error, TimeoutError):
        return failure(stage, ErrorKind.TIMEOUT)
    return failure(stage, ErrorKind.GARBAGE if isinstance(error, InvalidReply) else ErrorKind.LOST, str(error))
