"""The queue manager: claims what is due, attempts it, settles the outcome."""

from relay.queue.manager import QueueManager
from relay.queue.ports import Limits, Ports, RouteError

__all__ = ["Limits", "Ports", "QueueManager", "RouteError"]
