"""MAIL, RCPT, DATA, content, final dot: one transaction on an open connection, one outcome for each recipient."""

import asyncio
from collections import deque
from enum import Enum, auto

from relay.replies import ErrorKind, Outcome, Reply, Stage, classify, failure
from relay.smtp_client.envelope import envelope_commands, unsupported
from relay.smtp_client.outgoing_content import OutgoingMessage
from relay.smtp_client.protocol import ClientProtocol, ConnectionLost, InvalidReply
from relay.smtp_client.route import Timeouts

Outcomes = dict[str, Outcome]

HOLD_SECONDS = 5.0
"""How long a next hop that was sent the envelope is kept waiting for the release of the content: a commit that takes
longer has other troubles. RFC 5321 §4.5.3.2.7 has servers wait five minutes."""


class StaleConnection(Exception):
    """The transaction ended before anything of the content was sent, for a reason that another connection may not have:
    a kept one that turned out to be dead, one lost before the release, a withdrawal."""


class _Phase(Enum):
    """What the transaction waits for."""

    NEW = auto()
    RSET = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()
    RELEASE = auto()
    """354 was received and the content is not released yet."""
    CONTENT = auto()
    """The next hop has not taken what was sent of the content: the final dot has not left."""
    FINAL_REPLY = auto()
    OVER = auto()


_STAGES = {
    _Phase.RSET: Stage.MAIL,
    _Phase.MAIL: Stage.MAIL,
    _Phase.RCPT: Stage.RCPT,
    _Phase.DATA: Stage.DATA,
    _Phase.RELEASE: Stage.BODY,
    _Phase.CONTENT: Stage.BODY,
}


class Transaction:
    """Run once. After it, `connection.usable` tells whether to keep the connection.

    `begin` sends the envelope, `run` the content once DATA is answered. Between the two the message may still be
    withdrawn: by `withdraw`, or by the end of `HOLD_SECONDS`.
    """

    def __init__(self, connection: ClientProtocol, timeouts: Timeouts, outgoing_message: OutgoingMessage) -> None:
        self._connection = connection
        self._timeouts = timeouts
        self._message = outgoing_message
        self._recipients = outgoing_message.recipients
        self._reused = connection.uses > 0
        self._piped = "pipelining" in connection.extensions
        self._phase = _Phase.NEW
        self._held = True
        self._commands: deque[bytes] = deque()
        self._answered = 0
        self._sent = 0
        self._outcomes: Outcomes = {}
        self._error: Exception | None = None
        self._over: asyncio.Future[None] | None = None

    def begin(self) -> None:
        """Send MAIL, each RCPT and DATA; in one packet where PIPELINING is offered (RFC 2920).

        Raises ValueError, and sends nothing, for an address that cannot stand in a command.
        """
        if (failed := unsupported(self._message, self._connection)) is not None:
            self._end(failed)
            return
        commands = envelope_commands(self._message, self._connection)
        if self._connection.dirty:
            commands.insert(0, b"RSET\r\n")
        self._connection.uses += 1
        self._connection.listener = self
        if self._piped:
            self._connection.command(*commands)
        else:
            self._commands.extend(commands)
        self._expect(_Phase.RSET if self._connection.dirty else _Phase.MAIL)
        if self._held:
            self._connection.wait(HOLD_SECONDS)

    async def run(self) -> Outcomes:
        """The outcome for each recipient. Raises StaleConnection: nothing of the content was sent, nothing is known;
        and ValueError as `begin`."""
        if self._phase is _Phase.NEW:
            self._held = False
            self.begin()
        elif self._held:
            self._held = False
            if self._phase is _Phase.RELEASE:
                self._send_content()
            elif self._phase is not _Phase.OVER:
                self._wait()
        if self._phase is not _Phase.OVER:
            self._over = asyncio.get_running_loop().create_future()
            await self._over
        if self._error is not None:
            raise self._error
        return self._outcomes

    def withdraw(self) -> None:
        """Give the message up before `run`: no content was sent, so the next hop takes none (RFC 5321 §4.1.1.4).

        After DATA only the end of the connection says so: any command would be content.
        """
        if self._phase is not _Phase.OVER:
            self._connection.abort()
            self._end(error=StaleConnection())

    # Listener

    def replied(self, reply: Reply) -> None:
        try:
            self._reply(reply)
        except Exception as error:
            self._unforeseen(error)

    def writable(self) -> None:
        try:
            if self._phase is _Phase.CONTENT:
                self._send_content()
        except Exception as error:
            self._unforeseen(error)

    def failed(self, error: ConnectionLost | InvalidReply | TimeoutError) -> None:
        self._connection.abort()  # without the final dot: the next hop must not deliver what it has
        lost_idle = isinstance(error, ConnectionLost) and self._may_be_stale
        if self._held or lost_idle:
            self._end(error=StaleConnection())
        elif self._phase is _Phase.FINAL_REPLY:
            self._end(failure(Stage.BODY, ErrorKind.OUTCOME_UNKNOWN, str(error) or "no answer in time"))
        else:
            self._end(_connection_failure(_STAGES[self._phase], error))

    def _unforeseen(self, error: Exception) -> None:
        """It is for whoever runs the transaction, not for the event loop."""
        self._connection.abort()
        self._end(error=error)

    @property
    def _may_be_stale(self) -> bool:
        """Until MAIL is answered, a reused connection may turn out to have been closed by the next hop, with 421 or
        without."""
        return self._reused and self._phase in (_Phase.RSET, _Phase.MAIL)

    def _reply(self, reply: Reply) -> None:
        match self._phase:
            case _Phase.FINAL_REPLY:
                self._end(_classify(Stage.BODY, reply))
            case _Phase.CONTENT | _Phase.RELEASE:
                self._answered_early(reply)
            case _ if reply.code == 421:
                self._connection.abort()
                if self._held or self._may_be_stale:
                    self._end(error=StaleConnection())
                else:
                    self._end(_classify(_STAGES[self._phase], reply))
            case _Phase.RSET:
                self._reset(reply)
            case _Phase.MAIL:
                self._mail_answered(reply)
            case _Phase.RCPT:
                self._rcpt_answered(reply)
            case _Phase.DATA:
                self._data_answered(reply)

    def _reset(self, reply: Reply) -> None:
        if not reply.accepted:
            self._connection.abort()
            self._end(error=StaleConnection())
            return
        self._connection.dirty = False
        self._expect(_Phase.MAIL)

    def _mail_answered(self, reply: Reply) -> None:
        if not reply.accepted:
            self._connection.dirty = True
            self._end(_classify(Stage.MAIL, reply))
            return
        self._expect(_Phase.RCPT)

    def _rcpt_answered(self, reply: Reply) -> None:
        recipient = self._recipients[self._answered]
        self._answered += 1
        if not reply.accepted:
            self._outcomes[recipient] = _classify(Stage.RCPT, reply)
        if self._answered < len(self._recipients):
            self._expect(_Phase.RCPT)
        elif self._rejected and not self._piped:
            self._connection.dirty = True
            self._end()
        else:
            self._expect(_Phase.DATA)

    @property
    def _rejected(self) -> bool:
        """No recipient was accepted."""
        return len(self._outcomes) == len(self._recipients)

    def _data_answered(self, reply: Reply) -> None:
        if reply.code == 354 and not self._rejected:
            if self._held:
                self._phase = _Phase.RELEASE
            else:
                self._send_content()
            return
        self._connection.dirty = True
        if reply.code == 354:
            self._connection.abort()  # no recipient was accepted, and the next hop waits for a content
        self._end(None if self._rejected else _classify(Stage.DATA, reply))

    def _send_content(self) -> None:
        """All of the content and the final dot; stops when the next hop takes no more, or answers before the dot."""
        self._phase = _Phase.CONTENT
        pieces = self._message.content.pieces
        while self._sent < len(pieces):
            self._sent += 1
            last = self._sent == len(pieces)
            self._connection.send_slice(pieces[self._sent - 1], last)
            if self._connection.has_reply and not last:
                return
            if self._connection.write_blocked:
                self._wait()
                return
            if self._connection.broken:
                self.failed(ConnectionLost("connection broken while writing"))
                return
        self._phase = _Phase.FINAL_REPLY
        self._wait()

    def _answered_early(self, reply: Reply) -> None:
        """A reply before the end of the content: a rejection counts as it is; the connection is closed either way."""
        self._connection.abort()
        if self._held:
            self._end(error=StaleConnection())
        elif reply.accepted:
            self._end(failure(Stage.BODY, ErrorKind.GARBAGE, f"{reply} before the final dot"))
        else:
            self._end(_classify(Stage.BODY, reply))

    def _expect(self, phase: _Phase) -> None:
        """Send the next command, unless all went out together; its reply is waited for in `phase`."""
        if self._commands:
            self._connection.command(self._commands.popleft())
        self._phase = phase
        self._wait()

    def _wait(self) -> None:
        """Begin a wait, if the next reply is not there already. While the content is not released there is one wait,
        whatever the next hop says meanwhile."""
        if not self._held and not self._connection.has_reply:
            self._connection.wait(self._seconds())

    def _seconds(self) -> float:
        limits = self._timeouts
        match self._phase:
            case _Phase.RCPT:
                return limits.rcpt
            case _Phase.DATA:
                return limits.data
            case _Phase.CONTENT:
                return limits.block
            case _Phase.FINAL_REPLY:
                return limits.final
            case _:
                return limits.mail

    def _end(self, outcome: Outcome | None = None, *, error: Exception | None = None) -> None:
        """Over: with `outcome` for every recipient that has none yet, or with `error`."""
        if outcome is not None:
            for recipient in self._recipients:
                self._outcomes.setdefault(recipient, outcome)
        self._phase, self._error = _Phase.OVER, error
        if self._connection.listener is self:
            self._connection.done()
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


def _classify(stage: Stage, reply: Reply) -> Outcome:
    return classify(stage, reply.code, reply.enhanced, reply.text)


def _connection_failure(stage: Stage, error: Exception) -> Outcome:
    if isinstance(error, TimeoutError):
        return failure(stage, ErrorKind.TIMEOUT)
    return failure(stage, ErrorKind.GARBAGE if isinstance(error, InvalidReply) else ErrorKind.LOST, str(error))
