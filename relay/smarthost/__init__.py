"""The way out: one transaction with the next hop, one outcome for each recipient. The only door to aiosmtplib."""

from relay.smarthost.pool import Smarthosts
from relay.smarthost.route import Route, Timeouts, Tls

__all__ = ["Route", "Smarthosts", "Timeouts", "Tls"]
