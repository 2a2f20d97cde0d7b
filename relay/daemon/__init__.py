"""The composition root: builds every organ, joins them, starts, reloads, drains and stops.

daemon.py         the life of the process          witness.py  each fact to the log and the metrics
start.py          what can fail at start           watch.py    health, figures, housekeeping
configuration.py  read, reload, and what follows   notices.py  what an operator must be told
terms.py          settings and directory in force  digest.py   what an operator may like to know
outbound.py       what each attempt asks for       signing.py  DKIM with the key in force
supervisor.py     background tasks, started again when they fail
"""

from relay.daemon.daemon import serve

__all__ = ["serve"]
