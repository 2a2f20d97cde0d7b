"""A mail handed to the way out as values, its content at hand."""

from collections.abc import Sequence

from relay.smarthost import Letter, Route, Smarthosts, Unreachable, letter
from relay.smarthost.content import Octets
from relay.smarthost.transaction import Outcomes


async def send(
    out: Smarthosts,
    route: Route,
    sender: str,
    recipients: Sequence[str],
    chunks: Sequence[Octets],
    *,
    smtputf8: bool = False,
) -> Outcomes:
    """One outcome for each recipient, also when no connection came about."""

    async def compose() -> Letter:
        return letter(sender, recipients, chunks, smtputf8)

    try:
        return await out.send(route, compose)
    except Unreachable as unreachable:
        return dict.fromkeys(recipients, unreachable.outcome)
