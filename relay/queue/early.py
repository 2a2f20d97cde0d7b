"""Transactions with the next hop that begin while the commit which stores their message is under way.

The envelope leaves then, the content once the message is durable: so the next hop's answers to MAIL, RCPT and DATA are
not waited for after it."""

from collections.abc import Callable, Iterable

from relay.model import Claim, Message
from relay.smtp_client import BegunTransaction


class EarlyTransactions:
    """begin: sends the envelope of a claim of a message; None when it cannot be begun now."""

    def __init__(self, begin: Callable[[Claim, Message], BegunTransaction | None]) -> None:
        self._begin = begin
        self._begun: dict[str, dict[str, BegunTransaction]] = {}

    def begin(self, message: Message, claims: Iterable[Claim]) -> None:
        """Begin what can be begun of `claims`, which are not durable; those of an earlier commit that failed end."""
        self.withdraw(message)
        begun = {each.token: each_begun for each in claims if (each_begun := self._begin(each, message)) is not None}
        if begun:
            self._begun[message.queue_id] = begun

    def take(self, message: Message) -> dict[str, BegunTransaction]:
        """Those of `message`, by the token of the claim: the caller has them finished or withdrawn."""
        return self._begun.pop(message.queue_id, {})

    def withdraw(self, message: Message) -> None:
        """`message` is not stored after all."""
        for each in self.take(message).values():
            each.withdraw()
