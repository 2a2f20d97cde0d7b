"""SMTP client: one transaction with the next hop, one outcome for each recipient. The only user of aiosmtplib.

route            what a next hop is: host, TLS, credentials, timeouts; MX lookup
connect          a connection ready for MAIL: DNS, addresses, TLS, EHLO, AUTH
connection_pool  connections kept open for each next hop; how a next hop that is down is probed
slots            how many connections a next hop may have
outgoing_content what is sent: envelope, and content with dots stuffed
envelope         MAIL and RCPT for a next hop, by what it offers
protocol         commands and replies on an open connection
transaction      MAIL, RCPT, DATA, content; what each reply means is in relay.replies
"""

from relay.smtp_client.connection_pool import BegunTransaction, ConnectionPools, MessageFactory
from relay.smtp_client.outgoing_content import OutgoingMessage, outgoing_message
from relay.smtp_client.route import Route, Timeouts, Tls, Unreachable
from relay.smtp_client.transaction import StaleConnection

__all__ = [
    "BegunTransaction",
    "ConnectionPools",
    "MessageFactory",
    "OutgoingMessage",
    "Route",
    "StaleConnection",
    "Timeouts",
    "Tls",
    "Unreachable",
    "outgoing_message",
]
