"""What the queue manager is given by the composition root, and asks anew at each attempt (DESIGN rule 7)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.lifecycle import Transition
from relay.model import Delivery, Mail, Plan, Retry
from relay.ops.events import Event
from relay.reply import Outcome
from relay.smarthost import Compose, Route

Octets = bytes | bytearray | memoryview


class RouteError(Exception):
    """The next hop of a delivery cannot be told from the settings in force; str() is a sentence for an operator."""


class Send(Protocol):
    """`relay.smarthost.Smarthosts.send`."""

    async def __call__(self, route: Route, compose: Compose) -> Mapping[str, Outcome]: ...


class Witness(Protocol):
    """Who is told what happened: the log and the metrics, by the composition root."""

    def __call__(self, event: Event, **fields: object) -> None: ...


def _unlimited(destination: str) -> int:
    return 0


def _as_planned(delivery: Delivery, plan: Plan) -> str:
    return plan.return_path


def _no_report(mail: Mail, delivery: Delivery, transition: Transition) -> Sequence[Mail]:
    return ()


async def _unsigned(mail: Mail, chunks: Sequence[Octets]) -> Sequence[Octets]:
    return chunks


@dataclass(frozen=True, slots=True)
class Ports:
    """route: where a delivery goes now; raises RouteError. render: the octets of a plan (relay.mail.rewrite).
    sign: these octets with our signature on top, made off the event loop.

    rate: mails a minute that a destination takes, 0 without limit. report: notices and DSN about a transition whose
    `report` is set, stored with the settlement. sender: the envelope sender of an attempt (a return path of its own).
    broken: the spool is broken, the daemon must end.
    """

    send: Send
    route: Callable[[Delivery], Route]
    render: Callable[[Mail, Plan], Sequence[Octets]]
    retry: Callable[[], Retry]
    witness: Witness
    broken: Callable[[str], None]
    rate: Callable[[str], int] = _unlimited
    sign: Callable[[Mail, Sequence[Octets]], Awaitable[Sequence[Octets]]] = _unsigned
    report: Callable[[Mail, Delivery, Transition], Sequence[Mail]] = _no_report
    sender: Callable[[Delivery, Plan], str] = _as_planned
