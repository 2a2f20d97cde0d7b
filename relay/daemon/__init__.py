"""The composition root: builds every organ, joins them, starts, reloads, drains and stops.

daemon.py   the life of the process          routes.py   where a delivery goes now
terms.py    settings and directory in force  witness.py  each fact to the log and the metrics
watch.py    health, figures, housekeeping
"""

from relay.daemon.daemon import serve

__all__ = ["serve"]
