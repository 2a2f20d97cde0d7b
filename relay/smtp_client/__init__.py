"""The way out: one transaction with the next hop, one outcome for each recipient. The only door to aiosmtplib."""

from relay.smtp_client.pool import ConnectionPools, MessageFactory
from relay.smtp_client.route import Route, Timeouts, Tls, Unreachable
from relay.smtp_client.transaction import OutgoingMessage, outgoing_message

__all__ = [
    "ConnectionPools",
    "MessageFactory",
    "OutgoingMessage",
    "Route",
    "Timeouts",
    "Tls",
    "Unreachable",
    "outgoing_message",
]
