"""Connections kept open: at most a few for each next hop, reused while they live, closed when idle."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from relay.replies import Outcome
from relay.smtp_client.connect import open_connection
from relay.smtp_client.envelope import recoding_for
from relay.smtp_client.outgoing_content import OutgoingMessage, prepare
from relay.smtp_client.protocol import ClientProtocol
from relay.smtp_client.route import MailExchangers, Route, Unreachable
from relay.smtp_client.slots import Slots
from relay.smtp_client.transaction import Outcomes, StaleConnection, Transaction

MessageFactory = Callable[[], Awaitable[OutgoingMessage]]
"""Makes what is to be sent, once there is a connection for it."""


@dataclass
class _Pool:
    """The connections of one route. `idle` is used from its end, most recent first, so that surplus ones time out.

    down: outcome of the last attempt to connect if it failed, else None. probe: while the next hop is down, the event
    that the one message which tries it sets when done; probed: when that try began (monotonic seconds).
    """

    slots: Slots
    idle: list[ClientProtocol] = field(default_factory=list)
    down: Outcome | None = None
    probe: asyncio.Event | None = None
    probed: float = 0.0

    def take(self) -> ClientProtocol | None:
        while self.idle:
            connection = self.idle.pop()
            connection.unpark()
            if connection.usable:
                return connection
            connection.abort()
        return None

    def keep(self, connection: ClientProtocol, seconds: float) -> None:
        self.idle.append(connection)
        connection.park(seconds, partial(self._forget, connection))

    def close(self) -> None:
        while self.idle:
            self._forget(self.idle[-1])

    def _forget(self, connection: ClientProtocol) -> None:
        self.idle.remove(connection)
        connection.close()


class BegunTransaction:
    """A transaction on a kept connection whose envelope is under way; `finish` or `withdraw` is due."""

    def __init__(self, transaction: Transaction, give_back: Callable[[], None]) -> None:
        self._transaction = transaction
        self._give_back: Callable[[], None] | None = give_back

    async def finish(self) -> Outcomes:
        """Send the content; the outcome for each recipient.

        Raises StaleConnection: no content was sent and nothing is known of the recipients; send the message anew.
        """
        try:
            return await self._transaction.run()
        finally:
            self.withdraw()

    def withdraw(self) -> None:
        """The message is not to be sent after all; nothing once it has an outcome."""
        self._transaction.withdraw()
        if self._give_back is not None:
            self._give_back()
            self._give_back = None


class ConnectionPools:
    """Sends messages. idle: seconds a connection waits for more. uses, age (seconds): when it is renewed all the same.

    probe_wait: seconds that messages wait for the one which tries a next hop that was down. exchangers: by default
    looked up as /etc/resolv.conf says.
    """

    def __init__(
        self,
        *,
        idle: float = 20.0,
        uses: int = 100,
        age: float = 300.0,
        probe_wait: float = 2.0,
        exchangers: MailExchangers | None = None,
    ) -> None:
        self._idle = idle
        self._uses = uses
        self._age = age
        self._probe_wait = probe_wait
        self._exchangers = exchangers or MailExchangers()
        self._pools: dict[Route, _Pool] = {}

    async def send(self, route: Route, message_factory: MessageFactory) -> Outcomes:
        """One outcome for each recipient of the message. Raises Unreachable, and what `message_factory` raises.

        The factory runs once there is a connection, so at most as many contents as connections are in memory.
        """
        pool = self._pool(route)
        await pool.slots.acquire()
        try:
            connection = pool.take() or await self._new_connection(pool, route)
            message = await self._make_message(message_factory, connection, pool)
            try:
                return await self._transact(connection, pool, route, message)
            except StaleConnection:
                pool.close()  # the others have been idle for longer still
            return await self._transact(await self._new_connection(pool, route), pool, route, message)
        finally:
            pool.slots.release()

    def begin(self, route: Route, make: Callable[[], OutgoingMessage]) -> BegunTransaction | None:
        """Send the envelope of the message that `make` makes; the content waits for `finish`.

        None, and nothing is sent, unless a kept connection is at hand which takes the message as it is. Raises what
        `make` raises, and ValueError for an address that cannot stand in a command.
        """
        pool = self._pools.get(route)
        if pool is None or not pool.slots.try_acquire():
            return None
        connection = pool.take()
        if connection is None:
            pool.slots.release()
            return None
        give_back = partial(self._give_back, connection, pool)
        begun = False
        try:
            message = make()
            if recoding_for(message, connection) is None:
                transaction = Transaction(connection, route.timeouts, message)
                transaction.begin()
                begun = True
                return BegunTransaction(transaction, give_back)
            return None
        finally:
            if not begun:
                give_back()

    def counts(self) -> dict[str, tuple[int, int]]:
        """Name of each smarthost with connections -> (busy, idle)."""
        totals: dict[str, tuple[int, int]] = {}
        for route, pool in self._pools.items():
            busy, idle = totals.get(route.name, (0, 0))
            totals[route.name] = (busy + pool.slots.busy, idle + len(pool.idle))
        return totals

    async def close(self) -> None:
        """Send QUIT on idle connections and close them. Transactions under way go on in their own tasks."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        await asyncio.sleep(0)

    async def _make_message(
        self, message_factory: MessageFactory, connection: ClientProtocol, pool: _Pool
    ) -> OutgoingMessage:
        made = False
        try:
            message = await message_factory()
            made = True
            return message
        finally:
            if not made:
                self._release(connection, pool)

    async def _new_connection(self, pool: _Pool, route: Route) -> ClientProtocol:
        """A new connection. While a next hop is down, one message probes it; the others wait up to `probe_wait` seconds
        and share the result. So a dead next hop delays nobody, and a wrong password is not tried by a thousand messages
        at once.
        """
        if pool.down is None:
            return await self._open(pool, route)
        if pool.probe is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(pool.probed + self._probe_wait - time.monotonic()):
                    await pool.probe.wait()
            if pool.down is not None:
                raise Unreachable(pool.down)
            return await self._open(pool, route)
        pool.probe, pool.probed = asyncio.Event(), time.monotonic()
        try:
            return await self._open(pool, route)
        finally:
            pool.probe.set()
            pool.probe = None

    async def _open(self, pool: _Pool, route: Route) -> ClientProtocol:
        try:
            connection = await open_connection(route, self._exchangers)
        except Unreachable as unreachable:
            pool.down = unreachable.outcome
            raise
        pool.down = None
        return connection

    async def _transact(
        self, connection: ClientProtocol, pool: _Pool, route: Route, message: OutgoingMessage
    ) -> Outcomes:
        finished = False
        try:
            if (seven_bit := recoding_for(message, connection)) is not None:
                message = replace(message, content=prepare(await seven_bit()), seven_bit=None)
            outcomes = await Transaction(connection, route.timeouts, message).run()
            finished = True
            return outcomes
        finally:
            if finished:
                self._release(connection, pool)
            else:
                connection.abort()

    def _give_back(self, connection: ClientProtocol, pool: _Pool) -> None:
        self._release(connection, pool)
        pool.slots.release()

    def _release(self, connection: ClientProtocol, pool: _Pool) -> None:
        fresh = connection.uses < self._uses and time.monotonic() - connection.opened < self._age
        if fresh and connection.usable:
            pool.keep(connection, self._idle)
        else:
            connection.close()

    def _pool(self, route: Route) -> _Pool:
        """Routes no longer in use (the settings changed) are forgotten once their connections are gone."""
        pool = self._pools.get(route)
        if pool is None:
            for other in [each for each, pool in self._pools.items() if not pool.slots.busy and not pool.idle]:
                del self._pools[other]
            pool = self._pools[route] = _Pool(Slots(max(1, route.connections)))
        return pool
