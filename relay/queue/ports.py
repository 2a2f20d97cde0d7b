"""What the queue needs of the rest of the relay, as protocols; its limits."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.lifecycle import Transition
from relay.model import Delivery, Message, Plan, Retry
from relay.observability.events import Observe
from relay.replies import Outcome
from relay.smtp_client import BegunTransaction, MessageFactory, OutgoingMessage, Route


@dataclass(frozen=True, slots=True)
class Limits:
    """attempts: at a time in all; per_destination: of them for one, more than it has connections, for a place is kept
    from before the commit that stores a message to after the one that settles it. An attempt that waits for a
    connection
    holds no content. One unconfirmed delivery for each destination comes on top. lease: seconds a claim is ours without
    renewal.

    poll: longest sleep in seconds, so that actions of the command line are seen. remember: octets of messages kept for
    their first attempt. stalled: seconds without a turn of the loop after which it is not alive.
    """

    attempts: int = 192
    per_destination: int = 48
    lease: float = 900.0
    poll: float = 1.0
    remember: int = 64 * 1024 * 1024
    stalled: float = 60.0


DEFAULT = Limits()


Octets = bytes | bytearray | memoryview


class RouteError(Exception):
    """The next hop of a delivery cannot be found in the settings in force; str() is a sentence for an operator."""


class Send(Protocol):
    """`relay.smtp_client.ConnectionPools.send`."""

    async def __call__(self, route: Route, message_factory: MessageFactory) -> Mapping[str, Outcome]: ...


class Begin(Protocol):
    """`relay.smtp_client.ConnectionPools.begin`."""

    def __call__(self, route: Route, make: Callable[[], OutgoingMessage]) -> BegunTransaction | None: ...


def _never(route: Route, make: Callable[[], OutgoingMessage]) -> BegunTransaction | None:
    return None


def _unlimited(destination: str) -> int:
    return 0


def _as_planned(delivery: Delivery, plan: Plan) -> str:
    return plan.return_path


def _no_report(message: Message, delivery: Delivery, transition: Transition) -> Sequence[Message]:
    return ()


async def _unsigned(message: Message, chunks: Sequence[Octets]) -> Sequence[Octets]:
    return chunks


def _no_key() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Ports:
    """route: where a delivery goes now; raises RouteError. render: the octets of a plan (relay.mime.rewriting).
    sign: these octets with our signature on top, made off the event loop; signs: whether it has a key.
    begin: sends the envelope alone, of what needs no signature.

    rate: messages a minute that a destination takes, 0 without limit. report: notices and DSN about a transition whose
    `report` is set, stored with the settlement. sender: the envelope sender of an attempt (a return path of its own).
    broken: the spool is broken, the daemon must end.
    """

    send: Send
    route: Callable[[Delivery], Route]
    render: Callable[[Message, Plan], Sequence[Octets]]
    retry: Callable[[], Retry]
    observe: Observe
    broken: Callable[[str], None]
    begin: Begin = _never
    rate: Callable[[str], int] = _unlimited
    sign: Callable[[Message, Sequence[Octets]], Awaitable[Sequence[Octets]]] = _unsigned
    signs: Callable[[], bool] = _no_key
    report: Callable[[Message, Delivery, Transition], Sequence[Message]] = _no_report
    sender: Callable[[Delivery, Plan], str] = _as_planned
