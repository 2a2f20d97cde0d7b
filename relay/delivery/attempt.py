"""One attempt of one delivery: from a claim to its settlement. Nothing that happens here ends the queue manager."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from relay.delivery.ports import Ports, RouteError
from relay.delivery.remembered import Remembered
from relay.lifecycle import Transition, step
from relay.model import Claim, Mail, State
from relay.ops.events import Event
from relay.reply import Deferred, Outcome, Reply, Stage, Trouble, Uncertain, failure
from relay.spool.port import Spool, SpoolBroken, SpoolError

log = structlog.get_logger(__name__)

STOPPING = Reply(451, "4.3.2", "the relay was stopped before the attempt")
CUT_OFF = Reply(451, "4.3.2", "the attempt was cut off: the next hop may have the mail")


@dataclass(frozen=True, slots=True)
class Attempts:
    """clock: seconds since the epoch. jitter: [0, 1). again: seconds between two tries to record an outcome."""

    spool: Spool
    ports: Ports
    remembered: Remembered
    clock: Callable[[], float]
    jitter: Callable[[], float]
    again: float

    async def run(self, claim: Claim) -> bool:
        """Attempt and settle; True when the settlement put new mails (reports) in the queue. Raises SpoolBroken.

        Cancelled: the transaction is given up, and recorded as uncertain, for the final dot may have been sent.
        """
        began = time.monotonic()
        mail: Mail | None = None
        cancelled = False
        try:
            mail = await self._mail(claim)
            outcome = await self._outcome(claim, mail)
        except SpoolBroken:
            raise
        except asyncio.CancelledError:
            cancelled = True
            outcome = Uncertain(CUT_OFF)
        except Exception as error:
            log.exception(Event.FAULT, where="delivery", queue_id=claim.delivery.queue_id)
            outcome = failure(Stage.INTERNAL, Trouble.UNFORESEEN, type(error).__name__)
        self.remembered.attempted(claim.delivery.queue_id)
        reported = await self._settle(claim, mail, outcome, time.monotonic() - began)
        if cancelled:
            raise asyncio.CancelledError
        return reported

    async def hand_back(self, claim: Claim) -> None:
        """Give up a claim that was not attempted: due at once, for whoever runs next. Raises SpoolBroken."""
        transition = Transition(State.DEFERRED, self.clock(), str(STOPPING), Event.DEFERRED)
        await self._record(claim, transition, ())

    async def _mail(self, claim: Claim) -> Mail | None:
        delivery = claim.delivery
        mail = self.remembered.get(delivery.queue_id)
        if mail is not None and delivery.plan < len(mail.plans):
            return mail
        return await self.spool.load(delivery.queue_id)

    async def _outcome(self, claim: Claim, mail: Mail | None) -> Outcome:
        delivery = claim.delivery
        if mail is None:
            return failure(Stage.INTERNAL, Trouble.UNFORESEEN, "the mail cannot be read from the spool")
        if delivery.recipient is None:
            return failure(Stage.INTERNAL, Trouble.UNFORESEEN, "a delivery without recipient was due")
        plan = mail.plans[delivery.plan]
        self._tell(Event.ATTEMPT, claim)
        try:
            route = self.ports.route(delivery, plan)
        except RouteError as error:
            return failure(Stage.INTERNAL, Trouble.UNUSABLE, str(error))
        chunks = await self.ports.sign(mail, self.ports.render(mail, plan))
        utf8 = mail.envelope.smtputf8
        outcomes = await self.ports.send(
            route, self.ports.sender(delivery, plan), [delivery.recipient], chunks, smtputf8=utf8
        )
        return outcomes[delivery.recipient]

    async def _settle(self, claim: Claim, mail: Mail | None, outcome: Outcome, seconds: float) -> bool:
        delivery = claim.delivery
        transition = step(delivery, outcome, self.clock(), self.ports.retry(), self.jitter())
        reports: tuple[Mail, ...] = ()
        if transition.report is not None and mail is not None:
            reports = self._reports(claim, mail, transition)
        held = await self._record(claim, transition, reports)
        facts = {"outcome": outcome, "transition": transition, "reply": transition.reply, "seconds": seconds}
        stage = getattr(outcome, "stage", Stage.BODY)
        alert = isinstance(outcome, Deferred) and outcome.alert
        event = Event(transition.event) if held else Event.UNSETTLED
        self._tell(event, claim, **facts, stage=stage, alert=alert, next_attempt=transition.next_attempt)
        if held and transition.report == "late":
            self._tell(Event.LATE, claim)
        return held and bool(reports)

    def _reports(self, claim: Claim, mail: Mail, transition: Transition) -> tuple[Mail, ...]:
        """A report that cannot be written must not keep the outcome from being recorded."""
        try:
            return tuple(self.ports.report(mail, claim.delivery, transition))
        except Exception:
            log.exception(Event.FAULT, where="report", queue_id=claim.delivery.queue_id)
            return ()

    async def _record(self, claim: Claim, transition: Transition, reports: tuple[Mail, ...]) -> bool:
        """False when the claim was lost to another. A full spool is waited for: the outcome is known and must stay so.

        Shielded, for a settlement half done would be a mail sent twice.
        """
        while True:
            try:
                return await asyncio.shield(self.spool.settle(claim, transition, reports))
            except SpoolBroken:
                raise
            except SpoolError as error:
                self._tell(Event.SPOOL_FULL, claim, error=str(error))
                if self.clock() > claim.lease:
                    return False
                await asyncio.sleep(self.again)

    def _tell(self, event: Event, claim: Claim, **facts: object) -> None:
        delivery = claim.delivery
        try:
            self.ports.witness(event, queue_id=delivery.queue_id, delivery=delivery, **facts)
        except Exception:
            log.exception(Event.FAULT, where="witness", queue_id=delivery.queue_id)
