"""Mails just stored, kept in memory for their first attempt so that the content is not read again."""

from collections import OrderedDict

from relay.model import Disposition, Message

VALUES = 16 * 1024
"""Octets that envelope, plans and verdicts of a message take beside its content, rounded up. Without it a backlog of
small messages has no bound worth the name: 64 MiB of content are 300,000 of them, and 1.5 GB."""


def wanted(mail: Message) -> dict[str, int]:
    """How many deliveries a message brings each destination."""
    found: dict[str, int] = {}
    for plan in mail.plans:
        if plan.disposition is Disposition.RELAY:
            found[plan.destination] = found.get(plan.destination, 0) + len(plan.to)
    return found


class MessageCache:
    """At most `limit` octets, content and values; the oldest go first. What is not here is read from the spool."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._octets = 0
        self._mails: OrderedDict[str, tuple[Message, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._mails)

    def add(self, mail: Message, expected: int) -> None:
        """expected: deliveries that it brings."""
        weight = _weight(mail)
        if expected == 0 or weight > self._limit or mail.queue_id in self._mails:
            return
        self._mails[mail.queue_id] = (mail, expected)
        self._octets += weight
        while self._octets > self._limit:
            _, (oldest, _) = self._mails.popitem(last=False)
            self._octets -= _weight(oldest)

    def get(self, queue_id: str) -> Message | None:
        found = self._mails.get(queue_id)
        return found[0] if found else None

    def attempted(self, queue_id: str) -> None:
        """One delivery of the message had its attempt; the message is let go after its last."""
        found = self._mails.get(queue_id)
        if found is None:
            return
        mail, expected = found
        if expected > 1:
            self._mails[queue_id] = (mail, expected - 1)
        else:
            del self._mails[queue_id]
            self._octets -= _weight(mail)


def _weight(mail: Message) -> int:
    return len(mail.raw) + VALUES
