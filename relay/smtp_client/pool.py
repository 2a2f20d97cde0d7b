"""Kept connections: a few for each next hop, used again while they live, closed when idle."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from relay.replies import Outcome
from relay.smtp_client.connect import dial
from relay.smtp_client.protocol import ClientProtocol
from relay.smtp_client.route import MailExchangers, Route, Unreachable
from relay.smtp_client.transaction import Outcomes, OutgoingMessage, StaleConnection, Transaction, fitted

MessageFactory = Callable[[], Awaitable[OutgoingMessage]]
"""Makes what is to be sent, once there is a connection for it."""


@dataclass
class _Pool:
    """The connections of one route. `idle` is used from its end: the freshest first, so that the others may age.

    down: why no connection came about the last time one was asked for, until one does. probe: set once the message that
    tries again has its answer; probed: when it began (monotonic seconds).
    """

    slots: asyncio.Semaphore
    idle: list[ClientProtocol] = field(default_factory=list)
    busy: int = 0
    down: Outcome | None = None
    probe: asyncio.Event | None = None
    probed: float = 0.0

    def take(self) -> ClientProtocol | None:
        while self.idle:
            dialogue = self.idle.pop()
            dialogue.resume()
            if dialogue.usable:
                return dialogue
            dialogue.abort()
        return None

    def keep(self, dialogue: ClientProtocol, seconds: float) -> None:
        self.idle.append(dialogue)
        dialogue.rest(seconds, partial(self._forget, dialogue))

    def close(self) -> None:
        while self.idle:
            self._forget(self.idle[-1])

    def _forget(self, dialogue: ClientProtocol) -> None:
        self.idle.remove(dialogue)
        dialogue.close()


class ConnectionPools:
    """Sends messages. idle: seconds a connection waits for more. uses, age (seconds): when it is renewed all the same.

    patience: seconds that messages wait for the one which tries a next hop that was down. exchangers: by themselves
    asked for as /etc/resolv.conf says.
    """

    def __init__(
        self,
        *,
        idle: float = 20.0,
        uses: int = 100,
        age: float = 300.0,
        patience: float = 2.0,
        exchangers: MailExchangers | None = None,
    ) -> None:
        self._idle = idle
        self._uses = uses
        self._age = age
        self._patience = patience
        self._exchangers = exchangers or MailExchangers()
        self._pools: dict[Route, _Pool] = {}

    async def send(self, route: Route, compose: MessageFactory) -> Outcomes:
        """One outcome for each recipient of the letter. Raises Unreachable, and what `compose` raises.

        So no content is in memory while its message waits for a connection: there are as many as connections, at most.
        """
        pool = self._pool(route)
        async with pool.slots:
            pool.busy += 1
            try:
                dialogue = pool.take() or await self._fresh(pool, route)
                letter = await self._composed(compose, dialogue, pool)
                try:
                    return await self._on(dialogue, pool, route, letter)
                except StaleConnection:
                    pool.close()  # its companions have waited longer still
                return await self._on(await self._fresh(pool, route), pool, route, letter)
            finally:
                pool.busy -= 1

    def counts(self) -> dict[str, tuple[int, int]]:
        """Name of each smarthost with connections -> (busy, idle)."""
        found: dict[str, tuple[int, int]] = {}
        for route, pool in self._pools.items():
            busy, idle = found.get(route.name, (0, 0))
            found[route.name] = (busy + pool.busy, idle + len(pool.idle))
        return found

    async def close(self) -> None:
        """Say QUIT on what is idle and let go. Transactions under way are their tasks' own affair."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        await asyncio.sleep(0)

    async def _composed(self, compose: MessageFactory, dialogue: ClientProtocol, pool: _Pool) -> OutgoingMessage:
        composed = False
        try:
            letter = await compose()
            composed = True
            return letter
        finally:
            if not composed:
                self._put_back(dialogue, pool)

    async def _fresh(self, pool: _Pool, route: Route) -> ClientProtocol:
        """A new connection. While a next hop is down one message tries it; the others wait for its answer, not long,
        and
        share what was found. So a dead one delays nobody, and no wrong password is tried by a thousand messages at
        once.
        """
        if pool.down is None:
            return await self._dial(pool, route)
        if pool.probe is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(pool.probed + self._patience - time.monotonic()):
                    await pool.probe.wait()
            if pool.down is not None:
                raise Unreachable(pool.down)
            return await self._dial(pool, route)
        pool.probe, pool.probed = asyncio.Event(), time.monotonic()
        try:
            return await self._dial(pool, route)
        finally:
            pool.probe.set()
            pool.probe = None

    async def _dial(self, pool: _Pool, route: Route) -> ClientProtocol:
        try:
            dialogue = await dial(route, self._exchangers)
        except Unreachable as unreachable:
            pool.down = unreachable.outcome
            raise
        pool.down = None
        return dialogue

    async def _on(self, dialogue: ClientProtocol, pool: _Pool, route: Route, letter: OutgoingMessage) -> Outcomes:
        finished = False
        try:
            outcomes = await Transaction(dialogue, route.timeouts, await fitted(letter, dialogue)).run()
            finished = True
            return outcomes
        finally:
            if finished:
                self._put_back(dialogue, pool)
            else:
                dialogue.abort()

    def _put_back(self, dialogue: ClientProtocol, pool: _Pool) -> None:
        fresh = dialogue.uses < self._uses and time.monotonic() - dialogue.opened < self._age
        if fresh and dialogue.usable:
            pool.keep(dialogue, self._idle)
        else:
            dialogue.close()

    def _pool(self, route: Route) -> _Pool:
        """Routes no longer in use (the settings changed) are forgotten once their connections are gone."""
        pool = self._pools.get(route)
        if pool is None:
            for other in [each for each, pool in self._pools.items() if not pool.busy and not pool.idle]:
                del self._pools[other]
            pool = self._pools[route] = _Pool(asyncio.Semaphore(max(1, route.connections)))
        return pool
