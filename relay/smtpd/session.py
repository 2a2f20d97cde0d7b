"""What each command answers (RFC 5321 §4.1, §4.3.2; extensions where named). Those of a mail: transfer.py."""

import asyncio

from relay.replies import Reply
from relay.smtpd import auth, grammar
from relay.smtpd.command_loop import HELO_FIRST, NO_ARGUMENT, NOT_HERE, OK
from relay.smtpd.limits import GUESSES_SESSION
from relay.smtpd.mail_transaction import MailTransactionCommands
from relay.smtpd.transport import LineTooLong

# ruff: noqa: N802 - the methods bear aiosmtpd's names, so that none of its own stays reachable


class Session(MailTransactionCommands):
    """All commands but those that bring a message."""

    # Who speaks.

    async def smtp_HELO(self, arg: str) -> None:
        if not grammar.helo(arg):
            self._refuse(Reply(501, "5.5.4", "syntax: HELO hostname"))
            return
        self._abandon()
        self.helo, self.extended = arg, False
        self.say(f"250 {self.hostname}")  # no enhanced code here, rfc2034#4

    async def smtp_EHLO(self, arg: str) -> None:
        if not grammar.helo(arg):
            self._refuse(Reply(501, "5.5.4", "syntax: EHLO hostname"))
            return
        self._abandon()
        self.helo, self.extended = arg, True
        lines = [self.hostname, *self._extensions()]
        for each in lines[:-1]:
            self.say(f"250-{each}")
        self.say(f"250 {lines[-1]}")

    def _extensions(self) -> list[str]:
        offered = [f"SIZE {self.house.limits().max_mail_size}", "8BITMIME", "PIPELINING", "SMTPUTF8", "DSN", "CHUNKING"]
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
            self._abandon()
            self.helo, self.extended, self.user = "", False, None  # rfc3207#4.2
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

    # The rest.

    async def smtp_RSET(self, arg: str) -> None:
        if arg:
            self._refuse(NO_ARGUMENT)
            return
        self._abandon()
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

    smtp_TURN = smtp_ETRN = smtp_EXPN  # noqa: N815

    async def smtp_HELP(self, arg: str) -> None:
        self.say(Reply(214, "2.0.0", "see RFC 5321"))

    async def smtp_QUIT(self, arg: str) -> None:
        if arg:
            self._refuse(NO_ARGUMENT)
            return
        self._end(Reply(221, "2.0.0", "bye"))
