"""SMTP client: one transaction with the next hop, one outcome for each recipient. The only user of aiosmtplib.

route            what a next hop is: host, TLS, credentials, timeouts; MX lookup
connect          a connection ready for MAIL: DNS, addresses, TLS, EHLO, AUTH
connection_pool  connections kept open for each next hop; how a next hop that is down is probed
protocol         commands, replies and dot-stuffed content on an open connection
transaction      MAIL, RCPT, DATA, content; what each reply means is in relay.replies
"""

from relay.smtp_client.connection_pool import ConnectionPools, MessageFactory
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
