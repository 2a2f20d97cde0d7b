"""Notices and digests to the operators: grouped, bounded in number, nothing twice."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.model import Delivery, State
from relay.notifications import Item, notice
from relay.notifications.digest import Figures, digest
from relay.observability.events import InternalError, Notice, NotificationQueued, Observe
from relay.settings.settings import Settings
from relay.spool.port import PeriodStatistics, Query, Spool, SpoolError

ROUND = 60.0
"""Seconds between two looks at the queue, for what nobody announced."""

GATHER = 3.0
"""Seconds that an announced look waits, so that a burst is one notice."""

QUIET = 3600.0
"""Seconds between two notices to one operator: a thousand failures of an hour are one notice."""

_HOST = ""
"""Key of the host's operator among those of the firms."""

_LIMIT = 5000
_WATCHED = {"held": State.HELD, "failed": State.FAILED, "late": State.DEFERRED}


class Notices:
    """settings: those in force. stored: tells the queue manager that something is due. clock: epoch seconds."""

    def __init__(
        self,
        spool: Spool,
        settings: Callable[[], Settings],
        observe: Observe,
        stored: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spool, self._settings, self._observe = spool, settings, observe
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
                self._observe(InternalError("notices", error))
            with suppress(TimeoutError):
                async with asyncio.timeout(ROUND):
                    await self._wanted.wait()
                await asyncio.sleep(GATHER)
            self._wanted.clear()

    async def tell(self) -> int:
        """One round; how many notices were put in the queue. Notice and mark are one commit: nothing is told twice."""
        settings, now = self._settings(), self._clock()
        # A clock set back must not silence the notices.
        operators = {
            each.key: each for each in _operators(settings) if not 0 <= now - self._last.get(each.key, -QUIET) < QUIET
        }
        sent = 0
        for key, items in (await self._untold(settings, operators)).items():
            operator = operators[key]
            mail = notice(
                items,
                firm=operator.name,
                to=operator.address,
                language=settings.language,
                hostname=settings.terms.hostname,
                smarthost=settings.own_smarthost,
                now=now,
                host=key == _HOST,
            )
            await self._spool.store_notifications([(item.delivery, _kind(item.about)) for item in items], [mail], now)
            self._last[key] = now
            self._observe(NotificationQueued(Notice(items[0].about), mail.queue_id, len(items)))
            sent += 1
        if sent:
            self._stored()
        return sent

    async def _untold(self, settings: Settings, operators: Mapping[str, "_Operator"]) -> Mapping[str, Sequence[Item]]:
        """What each of `operators` has not been told of yet. Nothing is read that none of them can be told of, so that
        however much of that there is, it stops no other notice."""
        found: dict[str, list[Item]] = defaultdict(list)
        firms = frozenset(settings.terms.firms)
        unknown = next(iter(firms)) if len(firms) == 1 else _HOST
        for about, state in _WATCHED.items():
            query = Query(
                frozenset({state}),
                unreported=_kind(about),
                reported="late" if about == "late" else None,
                generated=False,
                limit=_LIMIT,
            )
            for delivery in await self._of_firms(query, frozenset(operators) - {_HOST}):
                found[str(delivery.firm)].append(Item(about, delivery))
            if unknown in operators:
                nobodys = await self._spool.find(replace(query, no_firm=True))
                found[unknown] += [Item(about, delivery) for delivery in nobodys]
            if _HOST in operators:
                removed = await self._spool.find(replace(query, other_firms=firms))
                found[_HOST] += [Item(about, delivery) for delivery in removed]
        return {key: items for key, items in found.items() if items}

    async def _of_firms(self, query: Query, firms: frozenset[str]) -> Sequence[Delivery]:
        """Deliveries of each of `firms`: one that has more than a query gives leaves the others theirs."""
        found: list[Delivery] = []
        while firms:
            page = await self._spool.find(replace(query, firms=firms))
            found += page
            if len(page) < query.limit:
                break
            firms -= {str(delivery.firm) for delivery in page}
        return found


@dataclass(frozen=True, slots=True)
class _Operator:
    """key: of the firm, or _HOST. name: of the firm, or the host's. address: where its notices go."""

    key: str
    name: str
    address: str


def _operators(settings: Settings) -> Sequence[_Operator]:
    """Who can be told: each firm's operator, and the host's of what is of no firm, or of one not configured any more.

    Of a host's many firms none may learn of another's message.
    """
    firms = settings.terms.firms.values()
    found = [_Operator(each.key, each.name, each.operator) for each in firms if each.operator is not None]
    if settings.operator is not None:
        found.append(_Operator(_HOST, settings.terms.hostname, settings.operator))
    return found


def _kind(about: str) -> str:
    return f"notice-{about}"


HOUR = 7
"""Of the machine's local time, when the firm's day begins; a weekly one on Mondays."""

PATIENCE = 24 * 3600.0
"""Seconds after which a digest missed (the daemon was down) is not sent any more."""

DIGEST_ROUND = 60.0
_DAYS = {"daily": 1, "weekly": 7}


class Digests:
    """settings: those in force. stored: tells the queue manager that something is due. clock: epoch seconds."""

    def __init__(
        self,
        spool: Spool,
        settings: Callable[[], Settings],
        observe: Observe,
        stored: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spool, self._settings, self._observe = spool, settings, observe
        self._stored, self._clock = stored, clock
        self._done: tuple[str, float] | None = None

    async def run(self) -> None:
        """Look whether a digest is due, send, wait, until cancelled."""
        while True:
            try:
                await self.send()
            except SpoolError as error:
                self._observe(InternalError("digest", error))
            await asyncio.sleep(DIGEST_ROUND)

    async def send(self) -> int:
        """One look; how many digests were put in the queue. The spool takes that of one firm and period once only."""
        settings, now = self._settings(), self._clock()
        every = settings.digest
        if every not in _DAYS:
            return 0
        since, until = period(every, now)
        if self._done == (every, until) or now - until >= PATIENCE:
            return 0
        sent, tallies = 0, await self._spool.period_statistics(since, until)
        for firm in settings.terms.firms.values():
            if firm.operator is None:
                continue
            tally = tallies.get(firm.key, PeriodStatistics())
            if tally == PeriodStatistics() and not await self._known_before(firm.key, until):
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
                self._observe(NotificationQueued(Notice.DIGEST, mail.queue_id, 1))
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


def _figures(tally: PeriodStatistics) -> Figures:
    return Figures(tally.messages, tally.states, tally.late, tally.held, tally.invalid)
