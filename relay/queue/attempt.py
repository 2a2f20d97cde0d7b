"""One attempt of one delivery: from a claim to its settlement. Nothing that happens here ends the queue manager."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from relay.lifecycle import Transition, return_unattempted, step
from relay.mime.rewriting import render_recoded
from relay.model import Claim, Delivery, Message, Plan
from relay.observability.events import EventName
from relay.queue.message_cache import MessageCache
from relay.queue.ports import Octets, Ports, RouteError
from relay.replies import Deferred, ErrorKind, Outcome, OutcomeUnknown, Reply, Stage, failure
from relay.smtp_client import OutgoingMessage, Unreachable, outgoing_message
from relay.spool.port import Spool, SpoolBroken, SpoolError

log = structlog.get_logger(__name__)

STOPPING = Reply(451, "4.3.2", "the relay was stopped before the attempt")
CUT_OFF = Reply(451, "4.3.2", "the attempt was cut off: the next hop may have the mail")


class _Unreadable(Exception):
    """The spool has the message no more, or not as it was stored."""


class _NotBegun(Exception):
    """The spool could not record that an unconfirmed delivery begins. str() says why."""


class Solitude:
    """Unconfirmed deliveries go one at a time, whatever their destination: each from just before its message is read
    to its settlement. So a crash meanwhile counts against one delivery only."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._holder: Claim | None = None

    async def enter(self, claim: Claim) -> None:
        await self._lock.acquire()
        self._holder = claim

    def leave(self, claim: Claim) -> None:
        """Nothing when `claim` had not entered."""
        if self._holder is claim:
            self._holder = None
            self._lock.release()


@dataclass(frozen=True, slots=True)
class Attempts:
    """clock: seconds since the epoch. jitter: [0, 1). again: seconds between two tries to record an outcome."""

    spool: Spool
    ports: Ports
    remembered: MessageCache
    clock: Callable[[], float]
    jitter: Callable[[], float]
    again: float
    alone: Solitude = field(default_factory=Solitude)
    confirming: set[str] = field(default_factory=set)
    """Ids of the deliveries under way whose sender asked to be told of success."""

    async def run(self, claim: Claim) -> bool:
        """Attempt and settle; True when the settlement put new messages (reports) in the queue. Raises SpoolBroken.

        Cancelled: the transaction is given up, and recorded as uncertain, for the final dot may have been sent.
        """
        try:
            return await self._run(claim)
        finally:
            self.alone.leave(claim)

    async def _run(self, claim: Claim) -> bool:
        began = time.monotonic()
        cancelled = False
        try:
            outcome = await self._outcome(claim)
        except SpoolBroken:
            raise
        except asyncio.CancelledError:
            cancelled = True
            outcome = OutcomeUnknown(CUT_OFF)
        except Exception as error:
            log.exception(EventName.INTERNAL_ERROR, where="delivery", queue_id=claim.delivery.queue_id)
            outcome = failure(Stage.INTERNAL, ErrorKind.UNFORESEEN, type(error).__name__)
        reported = await self._settle(claim, outcome, time.monotonic() - began)
        if cancelled:
            raise asyncio.CancelledError
        return reported

    async def hand_back(self, claim: Claim) -> None:
        """Give up a claim that was not attempted: due at once, for whoever runs next. Raises SpoolBroken.

        An unconfirmed one stays so: its lease ends.
        """
        if claim.unconfirmed:
            await self.spool.renew(claim, self.clock())
        else:
            await self._record(claim, return_unattempted(claim.delivery, self.clock(), STOPPING), ())

    async def _outcome(self, claim: Claim) -> Outcome:
        delivery = claim.delivery
        if delivery.recipient is None:
            return failure(Stage.INTERNAL, ErrorKind.UNFORESEEN, "a delivery without recipient was due")
        self._tell(EventName.ATTEMPT, claim)
        try:
            route = self.ports.route(delivery)
            outcomes = await self.ports.send(route, partial(self._letter, claim, delivery.recipient))
        except RouteError as error:
            return failure(Stage.INTERNAL, ErrorKind.UNUSABLE, str(error))
        except Unreachable as unreachable:
            return unreachable.outcome
        except _Unreadable as error:
            return failure(Stage.INTERNAL, ErrorKind.UNFORESEEN, str(error))
        except _NotBegun as error:
            return failure(Stage.INTERNAL, ErrorKind.UNUSABLE, str(error))
        return outcomes[delivery.recipient]

    async def _letter(self, claim: Claim, recipient: str) -> OutgoingMessage:
        """Called once there is a connection: whoever waits for one has not begun."""
        if claim.unconfirmed:
            await self._begin(claim)
        delivery = claim.delivery
        mail = await self._mail(delivery)
        if mail is None:
            raise _Unreadable("the mail cannot be read from the spool")
        if mail.wants_success_notice(delivery.plan):
            self.confirming.add(delivery.id)
        plan = mail.plans[delivery.plan]
        chunks = await self.ports.sign(mail, self.ports.render(mail, plan))
        made = outgoing_message(self.ports.sender(delivery, plan), (recipient,), chunks, mail.envelope.smtputf8)
        seven_bit = partial(self._recoded, mail, plan) if plan.recodings else None
        return replace(made, attempt=delivery.attempts, seven_bit=seven_bit)

    async def _recoded(self, mail: Message, plan: Plan) -> Sequence[Octets]:
        return await self.ports.sign(mail, render_recoded(mail.raw, plan.prepend, plan.cuts, plan.recodings))

    async def _begin(self, claim: Claim) -> None:
        await self.alone.enter(claim)
        try:
            held = await self.spool.begin_attempt(claim)
        except SpoolBroken:
            raise
        except SpoolError as error:
            raise _NotBegun(str(error)) from error
        if not held:
            raise _NotBegun("the claim was lost to another attempt")

    async def _mail(self, delivery: Delivery) -> Message | None:
        mail = self.remembered.get(delivery.queue_id)
        if mail is not None and delivery.plan < len(mail.plans):
            return mail
        return await self.spool.load(delivery.queue_id)

    async def _settle(self, claim: Claim, outcome: Outcome, seconds: float) -> bool:
        delivery = claim.delivery
        transition = step(delivery, outcome, self.clock(), self.ports.retry(), self.jitter())
        if delivery.id in self.confirming:
            self.confirming.discard(delivery.id)
            if transition.event == "delivered":
                transition = replace(transition, report="delivered")
        reports = await self._reports(delivery, transition) if transition.report is not None else ()
        self.remembered.attempted(delivery.queue_id)
        held = await self._record(claim, transition, reports)
        facts = {"outcome": outcome, "transition": transition, "reply": transition.reply, "seconds": seconds}
        stage = getattr(outcome, "stage", Stage.BODY)
        alert = isinstance(outcome, Deferred) and outcome.alert
        event = EventName(transition.event) if held else EventName.ATTEMPT_UNCONFIRMED
        self._tell(event, claim, **facts, stage=stage, alert=alert, next_attempt=transition.next_attempt)
        if held and transition.report == "late":
            self._tell(EventName.DELAYED, claim)
        return held and bool(reports)

    async def _reports(self, delivery: Delivery, transition: Transition) -> tuple[Message, ...]:
        """A report that cannot be written must not keep the outcome from being recorded."""
        try:
            mail = await self._mail(delivery)
            return tuple(self.ports.report(mail, delivery, transition)) if mail is not None else ()
        except Exception:
            log.exception(EventName.INTERNAL_ERROR, where="report", queue_id=delivery.queue_id)
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
                self._tell(EventName.SPOOL_FULL, claim, error=str(error))
                await asyncio.sleep(self.again)

    def _tell(self, event: EventName, claim: Claim, **facts: object) -> None:
        delivery = claim.delivery
        try:
            self.ports.witness(event, queue_id=delivery.queue_id, delivery=delivery, **facts)
        except Exception:
            log.exception(EventName.INTERNAL_ERROR, where="witness", queue_id=delivery.queue_id)
