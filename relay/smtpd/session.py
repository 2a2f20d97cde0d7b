"""What each command answers (RFC 5321 §4.1, §4.3.2; extensions where named)."""

# ruff: noqa: N802 - the methods bear aiosmtpd's names, so that none of its own stays reachable

import asyncio

from relay.model import Envelope
from relay.reply import Reply
from relay.smtpd import auth, grammar
from relay.smtpd.conduct import (
    AUTH_FIRST,
    HELO_FIRST,
    MAIL_FIRST,
    NO_ARGUMENT,
    NOT_HERE,
    OK,
    TOO_MANY_ERRORS,
    TOO_MANY_RECIPIENTS,
    Conduct,
)
from relay.smtpd.connection import LineTooLong
from relay.smtpd.content import TOO_LARGE, flaw
from relay.smtpd.limits import GUESSES_SESSION, SURPLUS_LIMIT
from relay.smtpd.post import FAULT
from relay.smtpd.reception import receive
from relay.smtpd.transaction import Transaction


class Session(Conduct):
    """The commands."""

    # Who speaks.

    async def smtp_HELO(self, arg: str) -> None:
        if not grammar.helo(arg):
            self._refuse(Reply(501, "5.5.4", "syntax: HELO hostname"))
            return
        self.helo, self.extended, self.transaction = arg, False, None
        self.say(f"250 {self.hostname}")  # no enhanced code here, rfc2034#4

    async def smtp_EHLO(self, arg: str) -> None:
        if not grammar.helo(arg):
            self._refuse(Reply(501, "5.5.4", "syntax: EHLO hostname"))
            return
        self.helo, self.extended, self.transaction = arg, True, None
        lines = [self.hostname, *self._extensions()]
        for each in lines[:-1]:
            self.say(f"250-{each}")
        self.say(f"250 {lines[-1]}")

    def _extensions(self) -> list[str]:
        offered = [f"SIZE {self.house.limits().max_mail_size}", "8BITMIME", "PIPELINING", "SMTPUTF8", "DSN"]
        if self.post.context is not None and not self.secure:
            offered.append("STARTTLS")
        if self.post.authenticates and self.secure:
            offered.append("AUTH PLAIN LOGIN")
        return [*offered, "HELP", "ENHANCEDSTATUSCODES"]

    async def smtp_STARTTLS(self, arg: str) -> None:
        if arg:
            self._refuse(NO_ARGUMENT)
        elif self.secure:
            self._refuse(Reply(503, "5.5.1", "TLS is active already"))
        elif self.post.context is None:
            self._refuse(NOT_HERE)
        else:
            self.helo, self.extended, self.transaction, self.user = "", False, None, None  # rfc3207#4.2
            self.say(Reply(220, "2.0.0", "ready to start TLS"))
            await self.start_tls()

    async def smtp_AUTH(self, arg: str) -> None:
        """AUTH PLAIN and LOGIN, over TLS only (RFC 4954)."""
        refusal = self._auth_refusal()
        if refusal is not None:
            self._refuse(refusal)
            return
        try:
            given = await auth.exchange(self, arg)
        except LineTooLong:
            self._refuse(Reply(500, "5.5.6", "authentication exchange line too long"))
            return
        if isinstance(given, Reply):
            self._refuse(given)
        elif await self.house.verify(self.post.users, given.name, given.password):
            self.user = given.name
            self.say(Reply(235, "2.7.0", "authentication successful"))
        else:
            await self._wrong_password()

    def _auth_refusal(self) -> Reply | None:
        if not self.post.authenticates:
            return NOT_HERE
        if not self.extended:
            return HELO_FIRST
        if not self.secure:
            return Reply(538, "5.7.11", "encryption required for authentication")
        if self.user is not None or self.transaction is not None:
            return Reply(503, "5.5.1", "AUTH is not possible now")
        if self.house.guesses.barred(self.peer):
            self._end(Reply(421, "4.7.0", "too many wrong passwords from your address"))
        return None

    async def _wrong_password(self) -> None:
        self.wrong_passwords += 1
        failures = self.house.guesses.failed(self.peer)
        self.event("authentication_failed", failures=failures)
        await asyncio.sleep(self.house.auth_delay * min(failures, 5))
        if self.wrong_passwords >= GUESSES_SESSION:
            self._end(Reply(421, "4.7.0", "too many wrong passwords"))
        self._refuse(Reply(535, "5.7.8", "authentication credentials invalid"))

    # The transaction.

    async def smtp_MAIL(self, arg: str) -> None:
        command = self._mail_refusal() or grammar.mail(arg, extended=self.extended, auth=self.post.authenticates)
        if isinstance(command, Reply):
            self._refuse(command)
            return
        if (command.size or 0) > self.house.limits().max_mail_size:
            self._refuse(TOO_LARGE)
            return
        self.transaction = Transaction(command)
        self.say(Reply(250, "2.1.0", "sender OK"))

    def _mail_refusal(self) -> Reply | None:
        if not self.helo:
            return HELO_FIRST
        if self.transaction is not None:
            return Reply(503, "5.5.1", "nested MAIL")
        if self.user is None and not self._trusted:
            return AUTH_FIRST
        return None

    async def smtp_RCPT(self, arg: str) -> None:
        transaction = self.transaction
        if transaction is None:
            self._refuse(MAIL_FIRST if self.helo else HELO_FIRST)
            return
        if len(transaction.recipients) >= self.house.limits().max_recipients:
            transaction.surplus += 1
            if transaction.surplus > SURPLUS_LIMIT:
                self._end(TOO_MANY_ERRORS)
            self.say(TOO_MANY_RECIPIENTS)
            return
        found = grammar.rcpt(arg, extended=self.extended, smtputf8=transaction.command.smtputf8)
        refusal = found if isinstance(found, Reply) else self.house.intake.recipient(found.address)
        if isinstance(found, Reply) or refusal is not None:
            self.event("rejected", reply=str(refusal))
            self._refuse(refusal or FAULT)
            return
        transaction.recipients.append(found)
        self.say(Reply(250, "2.1.5", "recipient OK"))

    async def smtp_DATA(self, arg: str) -> None:
        transaction = self.transaction
        if transaction is None:
            self._refuse(MAIL_FIRST if self.helo else HELO_FIRST)
        elif arg:
            self._refuse(NO_ARGUMENT)
        elif not transaction.recipients:
            self._refuse(Reply(554, "5.5.1", "no valid recipients"))
        else:
            self.say("354 end data with <CR><LF>.<CR><LF>")
            await self.flush()
            reply = await self._receive(transaction)
            self.transaction = None
            if reply.accepted:
                self.junk = 0
                self.say(reply)
            else:
                self.event("rejected", reply=f"{reply.code} {reply.enhanced}")
                self._refuse(reply)

    async def _receive(self, transaction: Transaction) -> Reply:
        """Read the mail to its end and hand it over; the room it takes is given back when the answer is known."""
        received = await receive(self)
        if isinstance(received, Reply):
            return received
        try:
            refusal = flaw(received.raw)
            if refusal is not None:
                return refusal
            self.handing = True
            return await self.house.accept(self._envelope(transaction), received.raw)
        finally:
            self.handing = False
            self.house.memory.give(received.reserved)

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

    # The rest.

    async def smtp_RSET(self, arg: str) -> None:
        if arg:
            self._refuse(NO_ARGUMENT)
            return
        self.transaction = None
        self.say(OK)

    async def smtp_NOOP(self, arg: str) -> None:
        self.say(OK)

    async def smtp_VRFY(self, arg: str) -> None:
        """The same for all: nobody learns who exists (RFC 5321 §7.3)."""
        if arg:
            self.say(Reply(252, "2.1.5", "cannot verify, but will take the message and try"))
        else:
            self._refuse(Reply(501, "5.5.4", "syntax: VRFY address"))

    async def smtp_EXPN(self, arg: str) -> None:
        self._refuse(NOT_HERE)

    smtp_TURN = smtp_ETRN = smtp_BDAT = smtp_EXPN  # noqa: N815

    async def smtp_HELP(self, arg: str) -> None:
        self.say(Reply(214, "2.0.0", "see RFC 5321"))

    async def smtp_QUIT(self, arg: str) -> None:
        if arg:
            self._refuse(NO_ARGUMENT)
            return
        self._end(Reply(221, "2.0.0", "bye"))
