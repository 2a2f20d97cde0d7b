"""The composition root: builds every part of the relay, connects them, starts, reloads, drains and stops.

daemon.py         the life of the process           start.py       what can fail at start, with its exit code
configuration.py  read, reload, and what follows    outbound.py    what the queue manager asks at each attempt
health.py         health, gauges, housekeeping      notices.py     notices and digests to the operators
operator_log.py   operators' actions in the log     supervisor.py  background tasks, restarted when they fail
"""

from relay.daemon.daemon import serve

__all__ = ["serve"]
