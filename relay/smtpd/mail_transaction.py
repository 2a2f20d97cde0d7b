"""One transaction of a session: from MAIL to the end of the message."""

from dataclasses import dataclass, field

from relay.model import Envelope, Recipient
from relay.observability.events import TransactionRejectCause, TransactionRejected
from relay.replies import Reply, Stage
from relay.smtpd.data import NO_MEMORY, TOO_LARGE, BdatReader, Chunk
from relay.smtpd.grammar import MailCommand
from relay.smtpd.states import State

_CONTENT_CAUSES = {TOO_LARGE: TransactionRejectCause.MESSAGE_SIZE, NO_MEMORY: TransactionRejectCause.MEMORY}


@dataclass(slots=True)
class Transaction:
    """surplus: recipients over the limit. bdat: what reads the message, from the first BDAT on."""

    command: MailCommand
    recipients: list[Recipient] = field(default_factory=list)
    surplus: int = 0
    bdat: BdatReader | None = None

    def envelope(self, *, peer: str, helo: str, extended: bool, secure: bool, user: str | None) -> Envelope:
        """extended: the client said EHLO, not HELO."""
        command = self.command
        return Envelope(
            sender=command.sender,
            recipients=tuple(self.recipients),
            peer=peer,
            helo=helo,
            protocol=_protocol(extended, command.smtputf8, secure, user is not None),
            user=user,
            body=command.body,
            smtputf8=command.smtputf8,
            ret=command.ret,
            envid=command.envid,
        )


@dataclass(frozen=True, slots=True)
class CurrentChunk:
    """A BDAT chunk that is being read. refusal: the command was refused, but its octets must not pass for commands.

    after: the state after the chunk. reported: the message was refused at an earlier chunk.
    """

    chunk: Chunk
    reader: BdatReader
    after: State
    refusal: Reply | None = None
    reported: bool = False


def content_rejected(peer: str, transaction: Transaction, reply: Reply) -> TransactionRejected:
    """The event of a message that is refused for its size, its lines or want of memory."""
    cause = _CONTENT_CAUSES.get(reply, TransactionRejectCause.LINE_FORMAT)
    recipients = tuple(recipient.address for recipient in transaction.recipients)
    return TransactionRejected(peer, Stage.DATA, cause, reply, transaction.command.sender, recipients)


def _protocol(extended: bool, smtputf8: bool, secure: bool, authenticated: bool) -> str:
    """The `with` clause of Received (RFC 3848, RFC 6531 §4.3)."""
    if not extended:
        return "SMTP"
    name = "UTF8SMTP" if smtputf8 else "ESMTP"
    return name + ("S" if secure else "") + ("A" if authenticated else "")
