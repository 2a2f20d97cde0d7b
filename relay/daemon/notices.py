"""Tells each firm's operator what waits for a person: grouped, at most one mail in `QUIET` seconds, nothing twice."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from relay.export.terms import Firm
from relay.model import Delivery, State
from relay.ops.events import Event
from relay.ops.log import event_log
from relay.reports import Item, notice
from relay.settings.settings import Settings
from relay.spool.port import Query, Spool, SpoolError

ROUND = 60.0
"""Seconds between two looks at the queue, for what nobody announced."""

GATHER = 3.0
"""Seconds that an announced look waits, so that a burst is one notice."""

QUIET = 3600.0
"""Seconds between two notices to one firm: a thousand failures of an hour are one notice."""

_LIMIT = 5000
_WATCHED = {"held": State.HELD, "failed": State.FAILED, "late": State.DEFERRED}


class Teller(Protocol):
    """Log and metrics (relay.daemon.witness)."""

    def told(self, about: str, queue_id: str, deliveries: int) -> None: ...


class Notices:
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
        self._last: dict[str, float] = {}
        self._wanted = asyncio.Event()

    def look(self) -> None:
        """Something may have to be told: look soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Look, tell, wait, until cancelled."""
        while True:
            try:
                await self.tell()
            except SpoolError as error:
                event_log(Event.FAULT, where="notices", exception=error)
            with suppress(TimeoutError):
                async with asyncio.timeout(ROUND):
                    await self._wanted.wait()
                await asyncio.sleep(GATHER)
            self._wanted.clear()

    async def tell(self) -> int:
        """One round; how many notices were put in the queue. Notice and mark are one commit: nothing is told twice."""
        settings, now = self._settings(), self._clock()
        firms = settings.terms.firms
        sent = 0
        for key, items in (await self._untold(firms)).items():
            firm = firms[key]
            # A clock set back must not silence the notices.
            if firm.operator is None or 0 <= now - self._last.get(key, -QUIET) < QUIET:
                continue
            mail = notice(
                items,
                firm=firm.name,
                to=firm.operator,
                language=settings.language,
                hostname=settings.terms.hostname,
                smarthost=next(iter(settings.smarthosts), "default"),
                now=now,
            )
            await self._spool.report([(item.delivery, _kind(item.about)) for item in items], [mail], now)
            self._last[key] = now
            self._witness.told(items[0].about, mail.queue_id, len(items))
            sent += 1
        if sent:
            self._stored()
        return sent

    async def _untold(self, firms: Mapping[str, Firm]) -> Mapping[str, Sequence[Item]]:
        """What each firm's operator has not been told of yet."""
        found: dict[str, list[Item]] = defaultdict(list)
        for about, state in _WATCHED.items():
            query = Query(frozenset({state}), unreported=_kind(about), limit=_LIMIT)
            for delivery in await self._spool.find(query):
                key = _addressee(delivery, firms)
                if key in firms and (about != "late" or "late" in delivery.reported):
                    found[key].append(Item(about, delivery))
        return found


def _kind(about: str) -> str:
    return f"notice-{about}"


def _addressee(delivery: Delivery, firms: Mapping[str, Firm]) -> str:
    """The firm of the delivery; a mail of no known client concerns the firm only where there is but one.

    Of a host's many firms none may learn of another's mail: there the metric `held` and its alert tell the host.
    """
    if delivery.generated:
        return ""
    if delivery.firm is not None:
        return delivery.firm
    return next(iter(firms)) if len(firms) == 1 else ""
