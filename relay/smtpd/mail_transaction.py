"""How a mail comes in: MAIL, RCPT, DATA and BDAT (RFC 5321 §3.3, RFC 3030)."""

import time
from collections.abc import Sequence

from relay.model import Envelope
from relay.observability.events import TransactionRejectCause
from relay.replies import Reply, Stage
from relay.smtpd import grammar
from relay.smtpd.command_loop import (
    AUTH_FIRST,
    HELO_FIRST,
    MAIL_FIRST,
    NO_ARGUMENT,
    TLS_FIRST,
    TOO_FAST,
    TOO_MANY_ERRORS,
    TOO_MANY_RECIPIENTS,
    CommandLoop,
    Transaction,
)
from relay.smtpd.data import DATA_OR_BDAT, SYNTAX, TOO_LARGE, announced, flaw
from relay.smtpd.data_reader import NO_MEMORY, BdatBuffer, EndlessMessage, ReceivedMessage, receive
from relay.smtpd.limits import SURPLUS_LIMIT
from relay.smtpd.transport import SessionEnded

# ruff: noqa: N802 - the methods bear aiosmtpd's names


NO_RECIPIENTS = Reply(554, "5.5.1", "no valid recipients")
NESTED = Reply(503, "5.5.1", "nested MAIL")

_CONTENT_CAUSES = {TOO_LARGE: TransactionRejectCause.MESSAGE_SIZE, NO_MEMORY: TransactionRejectCause.MEMORY}


class MailTransactionCommands(CommandLoop):
    """The commands of a transaction."""

    async def smtp_MAIL(self, arg: str) -> None:
        out_of_order = self._mail_out_of_order()
        if out_of_order is not None:
            self._refuse(out_of_order)
            return
        if self.user is None and not self._trusted:
            self._reject(Stage.MAIL, TransactionRejectCause.AUTHENTICATION, AUTH_FIRST)
            return
        command = grammar.mail(arg, extended=self.extended, auth=self.post.authenticates)
        if isinstance(command, Reply):
            self._reject(Stage.MAIL, TransactionRejectCause.SYNTAX, command)
        elif (command.size or 0) > self.house.limits().max_mail_size:
            self._reject(Stage.MAIL, TransactionRejectCause.MESSAGE_SIZE, TOO_LARGE, command.sender)
        elif not self.house.pace.admit(self.peer, self.house.limits().max_mails_per_minute_per_host):
            self._reject(Stage.MAIL, TransactionRejectCause.RATE, TOO_FAST, command.sender)
        elif (full := self.house.intake.room()) is not None:
            self._refuse(full)
        else:
            self.transaction = Transaction(command)
            self.say(Reply(250, "2.1.0", "sender OK"))

    def _mail_out_of_order(self) -> Reply | None:
        if not self.helo:
            return HELO_FIRST
        return NESTED if self.transaction is not None else None

    def _reject(
        self, stage: Stage, cause: TransactionRejectCause, reply: Reply, sender: str = "", *recipients: str
    ) -> None:
        """Refuse a sender, a recipient or a message: the operator is told. What the intake answers is the intake's."""
        self._tell_rejection(stage, cause, reply, sender, recipients)
        self._refuse(reply)

    def _tell_rejection(
        self, stage: Stage, cause: TransactionRejectCause, reply: Reply, sender: str, recipients: Sequence[str]
    ) -> None:
        self.event("rejected", stage=stage, cause=cause, reply=str(reply), sender=sender, recipients=tuple(recipients))

    def _reject_content(self, transaction: Transaction, reply: Reply) -> None:
        self._tell_content_rejection(transaction, reply)
        self._refuse(reply)

    def _tell_content_rejection(self, transaction: Transaction, reply: Reply) -> None:
        recipients = [each.address for each in transaction.recipients]
        cause = _CONTENT_CAUSES.get(reply, TransactionRejectCause.LINE_FORMAT)
        self._tell_rejection(Stage.DATA, cause, reply, transaction.command.sender, recipients)

    async def smtp_RCPT(self, arg: str) -> None:
        transaction = self.transaction
        if transaction is None:
            self._refuse(MAIL_FIRST if self.helo else HELO_FIRST)
            return
        if transaction.parcel is not None:
            self._refuse(DATA_OR_BDAT)
            return
        if len(transaction.recipients) >= self.house.limits().max_recipients:
            transaction.surplus += 1
            if transaction.surplus > SURPLUS_LIMIT:
                self._end(TOO_MANY_ERRORS)
            self.say(TOO_MANY_RECIPIENTS)
            return
        found = grammar.rcpt(arg, extended=self.extended, smtputf8=transaction.command.smtputf8)
        if isinstance(found, Reply):
            self._reject(Stage.RCPT, TransactionRejectCause.SYNTAX, found, transaction.command.sender)
            return
        refusal = self.house.intake.recipient(found.address)
        if refusal is not None:
            self._reject(
                Stage.RCPT, TransactionRejectCause.RECIPIENT, refusal, transaction.command.sender, found.address
            )
            return
        transaction.recipients.append(found)
        self.say(Reply(250, "2.1.5", "recipient OK"))

    # The content.

    async def smtp_DATA(self, arg: str) -> None:
        transaction = self.transaction
        if transaction is None:
            self._refuse(MAIL_FIRST if self.helo else HELO_FIRST)
        elif transaction.parcel is not None:
            self._refuse(DATA_OR_BDAT)
        elif arg:
            self._refuse(NO_ARGUMENT)
        elif not transaction.recipients:
            self._refuse(NO_RECIPIENTS)
        else:
            self.say("354 end data with <CR><LF>.<CR><LF>")
            await self.flush()
            try:
                received = await receive(self)
            except EndlessMessage as error:
                self._tell_content_rejection(transaction, error.reply)
                raise
            await self._judge(transaction, received)

    async def smtp_BDAT(self, arg: str) -> None:
        """One chunk. Whatever is answered, its octets are read first (RFC 3030 §2): they must not pass for commands."""
        chunk = announced(arg)
        if chunk is None:
            self._end(SYNTAX)  # how much follows is anybody's guess
            return
        transaction, refusal = self.transaction, self._bdat_refusal()
        if refusal is not None or transaction is None:
            unwanted = BdatBuffer(self)
            unwanted.chunks.refuse(refusal or MAIL_FIRST)
            await unwanted.read(chunk.size)
            self._refuse(refusal or MAIL_FIRST)
            return
        if transaction.parcel is None:
            transaction.parcel = BdatBuffer(self)
        self.midway = True
        if not chunk.size and not chunk.last:
            self._count_junk("NOOP")
        await self._chunk(transaction, transaction.parcel, chunk.size, last=chunk.last)

    def _bdat_refusal(self) -> Reply | None:
        if self._tls_first:
            return TLS_FIRST
        if self.transaction is None:
            return MAIL_FIRST if self.helo else HELO_FIRST
        return None if self.transaction.recipients else NO_RECIPIENTS

    async def _chunk(self, transaction: Transaction, parcel: BdatBuffer, size: int, *, last: bool) -> None:
        told = parcel.chunks.refusal is not None
        try:
            await parcel.read(size)
        except EndlessMessage as error:
            if not told:
                self._tell_content_rejection(transaction, error.reply)
            raise
        if last:
            await self._judge(transaction, parcel.take(), told=told)
        elif parcel.chunks.refusal is None:
            self.say(Reply(250, "2.0.0", f"{size} octets received"))
        elif told:  # of a group sent at once: the same mail's same fault
            self.say(parcel.chunks.refusal)
        else:
            self._reject_content(transaction, parcel.chunks.refusal)

    async def _judge(self, transaction: Transaction, received: ReceivedMessage | Reply, *, told: bool = False) -> None:
        """Answer a message that has come to its end, and end the transaction. told: its refusal was said before."""
        begun = time.perf_counter()
        refusal = received if isinstance(received, Reply) else None
        if isinstance(received, ReceivedMessage):
            try:
                refusal = flaw(received.raw)
                reply = refusal or await self._hand_over(transaction, received.raw)
            finally:
                self.house.memory.give(received.reserved)  # only now that the answer is known
        else:
            reply = received
        self._abandon()
        if refusal is not None:
            self.event("final_reply", code=refusal.code, seconds=time.perf_counter() - begun)
        if refusal is not None and not told:
            self._reject_content(transaction, refusal)
        elif reply.accepted:
            self.junk = 0
            self.say(reply)
        elif told:
            self.say(reply)
        else:
            self._refuse(reply)

    async def _hand_over(self, transaction: Transaction, raw: bytes) -> Reply:
        self.handing = True
        try:
            reply = await self.house.accept(self._envelope(transaction), raw)
        finally:
            self.handing = False
        if self.transport is None:  # nobody is left to hear it, nor to be obeyed
            raise SessionEnded
        return reply

    def _envelope(self, transaction: Transaction) -> Envelope:
        command = transaction.command
        return Envelope(
            sender=command.sender,
            recipients=tuple(transaction.recipients),
            peer=self.peer,
            helo=self.helo,
            protocol=self._protocol(command.smtputf8),
            user=self.user,
            body=command.body,
            smtputf8=command.smtputf8,
            ret=command.ret,
            envid=command.envid,
        )

    def _protocol(self, smtputf8: bool) -> str:
        """RFC 3848, RFC 6531 §4.3."""
        if not self.extended:
            return "SMTP"
        name = "UTF8SMTP" if smtputf8 else "ESMTP"
        return name + ("S" if self.secure else "") + ("A" if self.user is not None else "")
