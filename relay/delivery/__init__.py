"""The queue manager: claims what is due, attempts it, settles the outcome."""

from relay.delivery.limits import Limits
from relay.delivery.manager import QueueManager
from relay.delivery.ports import Ports, RouteError

__all__ = ["Limits", "Ports", "QueueManager", "RouteError"]
