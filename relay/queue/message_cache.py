"""Messages just stored, kept in memory for their first attempt so that the content is not read again."""

from collections import OrderedDict

from relay.model import Disposition, Message

VALUES_SIZE = 16 * 1024
"""Octets that envelope, plans and verdicts of a message take beside its content, rounded up. Without it a backlog of
small messages has no useful bound: 64 MiB of content are 300,000 of them, and 1.5 GB."""


def count_deliveries(message: Message) -> dict[str, int]:
    """How many deliveries a message makes for each destination."""
    by_destination: dict[str, int] = {}
    for plan in message.plans:
        if plan.disposition is Disposition.RELAY:
            by_destination[plan.destination] = by_destination.get(plan.destination, 0) + len(plan.to)
    return by_destination


class MessageCache:
    """At most `limit` octets, content and values; the oldest go first. What is not here is read from the spool."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._octets = 0
        self._messages: OrderedDict[str, tuple[Message, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: Message, expected: int) -> None:
        """expected: deliveries that it makes."""
        size = _size(message)
        if expected == 0 or size > self._limit or message.queue_id in self._messages:
            return
        self._messages[message.queue_id] = (message, expected)
        self._octets += size
        while self._octets > self._limit:
            _, (oldest, _) = self._messages.popitem(last=False)
            self._octets -= _size(oldest)

    def get(self, queue_id: str) -> Message | None:
        entry = self._messages.get(queue_id)
        return entry[0] if entry else None

    def attempted(self, queue_id: str) -> None:
        """One delivery of the message had its attempt; the message is dropped after its last."""
        entry = self._messages.get(queue_id)
        if entry is None:
            return
        message, expected = entry
        if expected > 1:
            self._messages[queue_id] = (message, expected - 1)
        else:
            del self._messages[queue_id]
            self._octets -= _size(message)


def _size(message: Message) -> int:
    return len(message.raw) + VALUES_SIZE
