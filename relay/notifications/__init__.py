"""Messages of our own: status notifications to the sender, notices and digests to an operator. Values in and out.

They pass through the spool as others do, but are `generated`: nothing is reported about them (rfc3464#2)."""

from relay.notifications.notice import Item, notice
from relay.notifications.status import status_report

__all__ = ["Item", "notice", "status_report"]
