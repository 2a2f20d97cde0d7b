"""A message handed to the way out as values, its content at hand."""

from collections.abc import Sequence

from relay.smtp_client import ConnectionPools, OutgoingMessage, Route, Unreachable, outgoing_message
from relay.smtp_client.outgoing_content import Octets
from relay.smtp_client.transaction import Outcomes


async def send(
    out: ConnectionPools,
    route: Route,
    sender: str,
    recipients: Sequence[str],
    chunks: Sequence[Octets],
    *,
    smtputf8: bool = False,
) -> Outcomes:
    """One outcome for each recipient, also when no connection came about."""

    async def make_message() -> OutgoingMessage:
        return outgoing_message(sender, recipients, chunks, smtputf8)

    try:
        return await out.send(route, make_message)
    except Unreachable as unreachable:
        return dict.fromkeys(recipients, unreachable.outcome)
