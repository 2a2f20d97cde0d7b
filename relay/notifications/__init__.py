"""Mails of our own: status notifications to the platform's sender, notices to the firm's operator. Values in and out.

They go through the spool like any other mail, but are `generated`: nothing is ever reported about them (rfc3464#2)."""

from relay.notifications.notice import Item, notice
from relay.notifications.status import status_report

__all__ = ["Item", "notice", "status_report"]
