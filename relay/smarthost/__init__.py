"""The way out: one transaction with the next hop, one outcome for each recipient. The only door to aiosmtplib."""

from relay.smarthost.pool import Compose, Smarthosts
from relay.smarthost.route import Route, Timeouts, Tls
from relay.smarthost.transaction import Letter, letter
from relay.smarthost.unreachable import Unreachable

__all__ = ["Compose", "Letter", "Route", "Smarthosts", "Timeouts", "Tls", "Unreachable", "letter"]
