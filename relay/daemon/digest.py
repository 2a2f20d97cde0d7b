"""Sends each firm's operator the digest of the day or week that has ended, once, whoever restarts when."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from relay.daemon.notices import Teller
from relay.ops.events import Event
from relay.ops.log import event_log
from relay.reports.digest import Figures, digest
from relay.settings.settings import Settings
from relay.spool.port import Query, Spool, SpoolError, Tally

HOUR = 7
"""Of the machine's local time, when the firm's day begins; a weekly one on Mondays."""

PATIENCE = 24 * 3600.0
"""Seconds after which a digest missed (the daemon was down) is not sent any more."""

ROUND = 60.0
_DAYS = {"daily": 1, "weekly": 7}


class Digests:
    """settings: those in force. stored: tells the queue manager that something is due. clock: epoch seconds."""

    def __init__(
        self,
        spool: Spool,
        settings: Callable[[], Settings],
        witness: Teller,
        stored: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spool, self._settings, self._witness = spool, settings, witness
        self._stored, self._clock = stored, clock
        self._done: tuple[str, float] | None = None

    async def run(self) -> None:
        """Look whether a digest is due, send, wait, until cancelled."""
        while True:
            try:
                await self.send()
            except SpoolError as error:
                event_log(Event.FAULT, where="digest", exception=error)
            await asyncio.sleep(ROUND)

    async def send(self) -> int:
        """One look; how many digests were put in the queue. The spool takes that of one firm and period once only."""
        settings, now = self._settings(), self._clock()
        every = settings.digest
        if every not in _DAYS:
            return 0
        since, until = period(every, now)
        if self._done == (every, until) or now - until >= PATIENCE:
            return 0
        sent, tallies = 0, await self._spool.tally(since, until)
        for firm in settings.terms.firms.values():
            if firm.operator is None:
                continue
            tally = tallies.get(firm.key, Tally())
            if tally == Tally() and not await self._known_before(firm.key, until):
                continue
            mail = digest(
                _figures(tally),
                firm=firm.name,
                to=firm.operator,
                language=settings.language,
                hostname=settings.terms.hostname,
                smarthost=settings.own_smarthost,
                period=f"{every} {until:.0f} {firm.key}",
                since=since,
                until=until,
                now=now,
            )
            if not (await self._spool.store(mail)).duplicate:
                self._witness.told("digest", mail.queue_id, 1)
                sent += 1
        self._done = (every, until)
        if sent:
            self._stored()
        return sent

    async def _known_before(self, firm: str, until: float) -> bool:
        """Has the relay had messages of the firm before? Until then, all figures 0 say nothing but that it is new."""
        first = await self._spool.find(Query(firm=firm, limit=1))
        return bool(first) and first[0].arrived < until


def period(every: str, now: float) -> tuple[float, float]:
    """The last whole "daily" or "weekly" period before `now`: begin and end, epoch seconds, by the local clock."""
    local = datetime.fromtimestamp(now)
    end = local.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    if every == "weekly":
        end -= timedelta(days=end.weekday())
    if end > local:
        end -= timedelta(days=_DAYS[every])
    # Naive local times on purpose: a day of 23 or 25 hours is one day.
    return (end - timedelta(days=_DAYS[every])).timestamp(), end.timestamp()


def _figures(tally: Tally) -> Figures:
    return Figures(tally.mails, tally.states, tally.late, tally.held, tally.invalid)
