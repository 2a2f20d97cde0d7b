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

CHECK_SECONDS = 60.0
"""Between two searches of the queue, for what nobody announced."""

GATHER_SECONDS = 3.0
"""That an announced search waits, so that a burst is one notice."""

QUIET_SECONDS = 3600.0
"""Between two notices to one operator: a thousand failures of an hour are one notice."""

_HOST = ""
"""Key of the host's operator among those of the firms."""

_LIMIT = 5000
_WATCHED = {"held": State.HELD, "failed": State.FAILED, "late": State.DEFERRED}


class Notices:
    """settings: those in force. stored: notifies the queue manager that something is due. clock: epoch seconds."""

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

    def check_soon(self) -> None:
        """A notice may be due: search the queue soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Send what is due and wait, until cancelled."""
        while True:
            try:
                await self.send()
            except SpoolError as error:
                self._observe(InternalError("notices", error))
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._wanted.wait()
                await asyncio.sleep(GATHER_SECONDS)
            self._wanted.clear()

    async def send(self) -> int:
        """One round; how many notices were queued. Notice and mark are one commit: nothing is reported twice."""
        settings, now = self._settings(), self._clock()
        # A clock set back must not silence the notices.
        operators = {
            operator.key: operator
            for operator in _operators(settings)
            if not 0 <= now - self._last.get(operator.key, -QUIET_SECONDS) < QUIET_SECONDS
        }
        sent = 0
        for key, items in (await self._unreported(settings, operators)).items():
            operator = operators[key]
            message = notice(
                items,
                firm=operator.name,
                to=operator.address,
                language=settings.language,
                hostname=settings.terms.hostname,
                smarthost=settings.own_smarthost,
                now=now,
                host=key == _HOST,
            )
            await self._spool.store_notifications(
                [(item.delivery, _kind(item.about)) for item in items], [message], now
            )
            self._last[key] = now
            self._observe(NotificationQueued(Notice(items[0].about), message.queue_id, len(items)))
            sent += 1
        if sent:
            self._stored()
        return sent

    async def _unreported(
        self, settings: Settings, operators: Mapping[str, "_Operator"]
    ) -> Mapping[str, Sequence[Item]]:
        """What was not reported to each of `operators` yet. Nothing is read that goes to none of them, so that however
        much of that there is, it stops no other notice."""
        unreported: dict[str, list[Item]] = defaultdict(list)
        firms = frozenset(settings.terms.firms)
        unknown_firm = next(iter(firms)) if len(firms) == 1 else _HOST
        for about, state in _WATCHED.items():
            query = Query(
                frozenset({state}),
                unreported=_kind(about),
                reported="late" if about == "late" else None,
                generated=False,
                limit=_LIMIT,
            )
            for delivery in await self._of_firms(query, frozenset(operators) - {_HOST}):
                unreported[str(delivery.firm)].append(Item(about, delivery))
            if unknown_firm in operators:
                of_no_firm = await self._spool.find(replace(query, no_firm=True))
                unreported[unknown_firm] += [Item(about, delivery) for delivery in of_no_firm]
            if _HOST in operators:
                removed = await self._spool.find(replace(query, other_firms=firms))
                unreported[_HOST] += [Item(about, delivery) for delivery in removed]
        return {key: items for key, items in unreported.items() if items}

    async def _of_firms(self, query: Query, firms: frozenset[str]) -> Sequence[Delivery]:
        """Deliveries of each of `firms`: one that has more than a query gives leaves the others theirs."""
        deliveries: list[Delivery] = []
        while firms:
            page = await self._spool.find(replace(query, firms=firms))
            deliveries += page
            if len(page) < query.limit:
                break
            firms -= {str(delivery.firm) for delivery in page}
        return deliveries


@dataclass(frozen=True, slots=True)
class _Operator:
    """key: of the firm, or _HOST. name: of the firm, or the host's. address: where its notices go."""

    key: str
    name: str
    address: str


def _operators(settings: Settings) -> Sequence[_Operator]:
    """Who gets notices: each firm's operator; the host's for what is of no firm, or of one not configured any more.

    Of a host's many firms none may learn of another's message.
    """
    firms = settings.terms.firms.values()
    operators = [_Operator(firm.key, firm.name, firm.operator) for firm in firms if firm.operator is not None]
    if settings.operator is not None:
        operators.append(_Operator(_HOST, settings.terms.hostname, settings.operator))
    return operators


def _kind(about: str) -> str:
    return f"notice-{about}"


DIGEST_HOUR = 7
"""Of the machine's local time, when the firm's day begins; a weekly one on Mondays."""

MISSED_SECONDS = 24 * 3600.0
"""After which a digest that was missed (the daemon was down) is not sent any more."""

DIGEST_CHECK_SECONDS = 60.0
_DAYS = {"daily": 1, "weekly": 7}


class Digests:
    """settings: those in force. stored: notifies the queue manager that something is due. clock: epoch seconds."""

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
        """Send what is due and wait, until cancelled."""
        while True:
            try:
                await self.send()
            except SpoolError as error:
                self._observe(InternalError("digest", error))
            await asyncio.sleep(DIGEST_CHECK_SECONDS)

    async def send(self) -> int:
        """One round; how many digests were queued. The spool takes that of one firm and period once only."""
        settings, now = self._settings(), self._clock()
        every = settings.digest
        if every not in _DAYS:
            return 0
        since, until = period(every, now)
        if self._done == (every, until) or now - until >= MISSED_SECONDS:
            return 0
        sent, statistics_by_firm = 0, await self._spool.period_statistics(since, until)
        for firm in settings.terms.firms.values():
            if firm.operator is None:
                continue
            statistics = statistics_by_firm.get(firm.key, PeriodStatistics())
            if statistics == PeriodStatistics() and not await self._had_messages_before(firm.key, until):
                continue
            message = digest(
                _figures(statistics),
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
            if not (await self._spool.store(message)).duplicate:
                self._observe(NotificationQueued(Notice.DIGEST, message.queue_id, 1))
                sent += 1
        self._done = (every, until)
        if sent:
            self._stored()
        return sent

    async def _had_messages_before(self, firm: str, until: float) -> bool:
        """Has the relay had messages of the firm before? Until then, all figures 0 say nothing but that it is new."""
        first = await self._spool.find(Query(firm=firm, limit=1))
        return bool(first) and first[0].arrived < until


def period(every: str, now: float) -> tuple[float, float]:
    """The last whole "daily" or "weekly" period before `now`: begin and end, epoch seconds, by the local clock."""
    local = datetime.fromtimestamp(now)
    end = local.replace(hour=DIGEST_HOUR, minute=0, second=0, microsecond=0)
    if every == "weekly":
        end -= timedelta(days=end.weekday())
    if end > local:
        end -= timedelta(days=_DAYS[every])
    # Naive local times on purpose: a day of 23 or 25 hours is one day.
    return (end - timedelta(days=_DAYS[every])).timestamp(), end.timestamp()


def _figures(statistics: PeriodStatistics) -> Figures:
    return Figures(statistics.messages, statistics.states, statistics.late, statistics.held, statistics.invalid)
