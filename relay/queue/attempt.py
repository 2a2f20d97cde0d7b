"""One attempt of one delivery: from a claim to its settlement. No failure of one ends the queue manager."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from relay.lifecycle import Transition, return_unattempted, step
from relay.mime.rewriting import render_recoded
from relay.model import Claim, Delivery, Message, Plan
from relay.observability.events import AttemptEnded, AttemptStarted, DeliveryDelayed, InternalError, OutcomeNotRecorded
from relay.queue.message_cache import MessageCache
from relay.queue.ports import Octets, Ports, RouteError
from relay.replies import ErrorKind, Outcome, OutcomeUnknown, Reply, Stage, failure
from relay.smtp_client import BegunTransaction, OutgoingMessage, StaleConnection, Unreachable, outgoing_message
from relay.spool.port import Spool, SpoolBroken, SpoolError

STOPPING = Reply(451, "4.3.2", "the relay was stopped before the attempt")
CUT_OFF = Reply(451, "4.3.2", "the attempt was cut off: the next hop may have the message")


class _Unreadable(Exception):
    """The spool has the message no more, or not as it was stored."""


class _NotBegun(Exception):
    """The spool could not record that an unconfirmed delivery begins. str() says why."""


class UnconfirmedLock:
    """Unconfirmed deliveries are attempted one at a time, whatever their destination: each from just before its message
    is read to its settlement. So a crash meanwhile counts against one delivery only."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._holder: Claim | None = None

    async def acquire(self, claim: Claim) -> None:
        await self._lock.acquire()
        self._holder = claim

    def release(self, claim: Claim) -> None:
        """Does nothing when `claim` does not hold the lock."""
        if self._holder is claim:
            self._holder = None
            self._lock.release()


@dataclass(frozen=True, slots=True)
class Attempts:
    """clock: seconds since the epoch. jitter: [0, 1). retry_seconds: between two tries to record an outcome."""

    spool: Spool
    ports: Ports
    cache: MessageCache
    clock: Callable[[], float]
    jitter: Callable[[], float]
    retry_seconds: float
    unconfirmed_lock: UnconfirmedLock = field(default_factory=UnconfirmedLock)
    success_requested: set[str] = field(default_factory=set)
    """Ids of the deliveries under way whose sender asked for a notification of success."""

    def begin(self, claim: Claim, message: Message) -> BegunTransaction | None:
        """Send the envelope of a delivery whose claim is not durable yet; `run` or a withdrawal is due.

        None: the attempt begins when it is. Raises nothing: what fails here fails again in the attempt, and is recorded
        there.
        """
        delivery = claim.delivery
        if delivery.recipient is None or self.ports.signs():
            return None
        try:
            route = self.ports.route(delivery)
            return self.ports.begin(route, partial(self._begun_message, delivery, delivery.recipient, message))
        except RouteError:
            return None
        except Exception as error:
            self.ports.observe(InternalError("delivery", error, queue_id=delivery.queue_id))
            return None

    async def run(self, claim: Claim, begun: BegunTransaction | None = None) -> bool:
        """Attempt and settle; True when the settlement queued notifications. Raises SpoolBroken.

        begun: the transaction whose envelope was sent before the claim was durable.

        Cancelled: the transaction is given up, its outcome recorded as unknown, for the final dot may have been sent.
        """
        try:
            return await self._run(claim, begun)
        finally:
            self.unconfirmed_lock.release(claim)

    async def _run(self, claim: Claim, begun: BegunTransaction | None) -> bool:
        began = time.monotonic()
        cancelled = False
        try:
            outcome = await self._outcome(claim, begun)
        except SpoolBroken:
            raise
        except asyncio.CancelledError:
            cancelled = True
            outcome = OutcomeUnknown(CUT_OFF)
        except Exception as error:
            self.ports.observe(InternalError("delivery", error, queue_id=claim.delivery.queue_id))
            outcome = failure(Stage.INTERNAL, ErrorKind.UNFORESEEN, type(error).__name__)
        notified = await self._settle(claim, outcome, time.monotonic() - began)
        if cancelled:
            raise asyncio.CancelledError
        return notified

    async def hand_back(self, claim: Claim) -> None:
        """Give up a claim that was not attempted: due at once, for whoever runs next. Raises SpoolBroken.

        An unconfirmed one stays so: its lease ends.
        """
        if claim.unconfirmed:
            await self.spool.renew(claim, self.clock())
        else:
            await self._record(claim, return_unattempted(claim.delivery, self.clock(), STOPPING), ())

    async def _outcome(self, claim: Claim, begun: BegunTransaction | None) -> Outcome:
        delivery = claim.delivery
        if delivery.recipient is None:
            return failure(Stage.INTERNAL, ErrorKind.UNFORESEEN, "a delivery without recipient was due")
        self.ports.observe(AttemptStarted(delivery))
        if begun is not None:
            with suppress(StaleConnection):
                outcome = (await begun.finish())[delivery.recipient]
                if (message := await self._message(delivery)) is not None:
                    self._note_success_request(delivery, message)
                return outcome
        try:
            route = self.ports.route(delivery)
            outcomes = await self.ports.send(route, partial(self._outgoing_message, claim, delivery.recipient))
        except RouteError as error:
            return failure(Stage.INTERNAL, ErrorKind.UNUSABLE, str(error))
        except Unreachable as unreachable:
            return unreachable.outcome
        except _Unreadable as error:
            return failure(Stage.INTERNAL, ErrorKind.UNFORESEEN, str(error))
        except _NotBegun as error:
            return failure(Stage.INTERNAL, ErrorKind.UNUSABLE, str(error))
        return outcomes[delivery.recipient]

    async def _outgoing_message(self, claim: Claim, recipient: str) -> OutgoingMessage:
        """Called once there is a connection: whoever waits for one has not begun."""
        if claim.unconfirmed:
            await self._begin(claim)
        delivery = claim.delivery
        message = await self._message(delivery)
        if message is None:
            raise _Unreadable("the message cannot be read from the spool")
        self._note_success_request(delivery, message)
        chunks = await self.ports.sign(message, self.ports.render(message, message.plans[delivery.plan]))
        return self._composed(delivery, recipient, message, chunks)

    def _begun_message(self, delivery: Delivery, recipient: str, message: Message) -> OutgoingMessage:
        return self._composed(delivery, recipient, message, self.ports.render(message, message.plans[delivery.plan]))

    def _composed(
        self, delivery: Delivery, recipient: str, message: Message, chunks: Sequence[Octets]
    ) -> OutgoingMessage:
        plan = message.plans[delivery.plan]
        sender = self.ports.sender(delivery, plan)
        outgoing = outgoing_message(sender, (recipient,), chunks, message.envelope.smtputf8)
        seven_bit = partial(self._recoded, message, plan) if plan.recodings else None
        return replace(outgoing, attempt=delivery.attempts, seven_bit=seven_bit)

    def _note_success_request(self, delivery: Delivery, message: Message) -> None:
        if message.wants_success_notice(delivery.plan):
            self.success_requested.add(delivery.id)

    async def _recoded(self, message: Message, plan: Plan) -> Sequence[Octets]:
        return await self.ports.sign(message, render_recoded(message.raw, plan.prepend, plan.cuts, plan.recodings))

    async def _begin(self, claim: Claim) -> None:
        await self.unconfirmed_lock.acquire(claim)
        try:
            held = await self.spool.begin_attempt(claim)
        except SpoolBroken:
            raise
        except SpoolError as error:
            raise _NotBegun(str(error)) from error
        if not held:
            raise _NotBegun("the claim was lost to another attempt")

    async def _message(self, delivery: Delivery) -> Message | None:
        message = self.cache.get(delivery.queue_id)
        if message is not None and delivery.plan < len(message.plans):
            return message
        return await self.spool.load(delivery.queue_id)

    async def _settle(self, claim: Claim, outcome: Outcome, seconds: float) -> bool:
        delivery = claim.delivery
        transition = step(delivery, outcome, self.clock(), self.ports.retry(), self.jitter())
        if delivery.id in self.success_requested:
            self.success_requested.discard(delivery.id)
            if transition.event == "delivered":
                transition = replace(transition, report="delivered")
        reports = await self._reports(delivery, transition) if transition.report is not None else ()
        self.cache.attempted(delivery.queue_id)
        recorded = await self._record(claim, transition, reports)
        self.ports.observe(AttemptEnded(delivery, outcome, transition, seconds, recorded))
        if recorded and transition.report == "late":
            self.ports.observe(DeliveryDelayed(delivery))
        return recorded and bool(reports)

    async def _reports(self, delivery: Delivery, transition: Transition) -> tuple[Message, ...]:
        """A notification that cannot be written must not keep the outcome from being recorded."""
        try:
            message = await self._message(delivery)
            return tuple(self.ports.report(message, delivery, transition)) if message is not None else ()
        except Exception as error:
            self.ports.observe(InternalError("report", error, queue_id=delivery.queue_id))
            return ()

    async def _record(self, claim: Claim, transition: Transition, reports: tuple[Message, ...]) -> bool:
        """False when the claim was lost to another, as the spool says: its lease may have been renewed since `claim`
        was made. A full spool is waited for: the outcome is known, and stays so."""
        while True:
            try:
                return await self.spool.settle(claim, transition, reports)
            except SpoolBroken:
                raise
            except SpoolError as error:
                self.ports.observe(OutcomeNotRecorded(claim.delivery, str(error)))
                await asyncio.sleep(self.retry_seconds)
