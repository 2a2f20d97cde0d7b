"""Each fact once in the log and once in the metrics; what operators ordered, too."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from relay.inspection import Report
from relay.model import Action, Delivery, Disposition, DocumentPart, Envelope, Message, Plan
from relay.model import Event as History
from relay.observability.events import (
    AuthenticationFailed,
    ConnectionOpened,
    ConnectionRejected,
    Event,
    EventName,
    FinalReply,
    InternalError,
    Notice,
    RejectCause,
    Restart,
    SessionError,
    TransactionRejectCause,
    TransactionRejected,
)
from relay.observability.log import event_log
from relay.observability.observer import Observer as TypedObserver
from relay.observability.observer import domains
from relay.reasons import Reason, describe
from relay.replies import Deferred, Delivered, Failed, OutcomeUnknown, Reply, Stage
from relay.spool.port import Spool, SpoolError

OUTCOMES = (Delivered, Deferred, Failed, OutcomeUnknown)
_BY_NAME: dict[str, Callable[[dict[str, Any]], Event]] = {
    "connection": lambda fields: ConnectionOpened(**fields),
    "connection_rejected": lambda fields: ConnectionRejected(fields["peer"], RejectCause(fields["cause"])),
    "authentication_failed": lambda fields: AuthenticationFailed(**fields),
    "session_error": lambda fields: SessionError(**fields),
    "internal_error": lambda fields: InternalError(fields["where"], fields["error"], fields.get("peer")),
    "final_reply": lambda fields: FinalReply(fields["code"], fields["seconds"]),
    "rejected": lambda fields: TransactionRejected(**fields),
}
_TEMPORARY = {
    TransactionRejectCause.CHECKER_OVERLOADED: EventName.CHECKER_OVERLOADED,
    TransactionRejectCause.STORAGE_FULL: EventName.SPOOL_FULL,
    TransactionRejectCause.STORAGE_FAILED: EventName.STORE_FAILED,
}

_EVENT = {
    Disposition.RELAY: EventName.QUEUED,
    Disposition.HOLD: EventName.HELD,
    Disposition.WITHHOLD: EventName.WITHHELD,
    Disposition.REFUSE: EventName.REJECTED,
}


class Observer(TypedObserver):
    """What is not told by typed events yet."""

    def accepted(self, mail: Message, reports: Sequence[Report], seconds: float, held: Sequence[Delivery] = ()) -> None:
        """A message is durable and answered 250. held: what the spool held of it."""
        self._metrics.accepted(mail, reports, seconds, held)
        event_log(
            EventName.ACCEPTED,
            queue_id=mail.queue_id,
            peer=mail.envelope.peer,
            sender=mail.envelope.sender,
            recipients=list(mail.envelope.addresses),
            message_id=quote(mail.message_id, safe="<>@.-_+"),
            size=len(mail.raw),
            seconds=round(seconds, 4),
        )
        self._checked(mail.queue_id, reports)
        for index, plan in enumerate(mail.plans):
            for each in _as_stored(plan, [each for each in held if each.plan == index]):
                self._planned(mail.queue_id, each)

    def _checked(self, queue_id: str, reports: Sequence[Report]) -> None:
        for report in reports:
            event_log(
                EventName.CHECKED,
                queue_id=queue_id,
                sha256=report.sha256,
                kind=report.kind,
                verdict=report.verdict,
                profile=report.profile,
                rules=sorted({finding.rule for finding in report.findings}),
                ms=round(report.ms, 1),
            )

    def _planned(self, queue_id: str, plan: Plan) -> None:
        event_log(
            _EVENT[plan.disposition],
            queue_id=queue_id,
            client=f"{plan.firm}/{plan.dossier}" if plan.firm else None,
            by=plan.by,
            role=plan.role,
            recipients=list(plan.to),
            reason=plan.reason,
            kept=[each.report.sha256 for each in plan.documents if each.action is Action.KEEP],
            cut=[each.report.sha256 for each in plan.documents if each.action is Action.REMOVE],
            originals_cut=sum(
                each.part is DocumentPart.ORIGINAL and each.action is Action.REMOVE for each in plan.documents
            ),
        )

    def duplicate(self, queue_id: str, seconds: float) -> None:
        """A message stored before was answered with its first queue id."""
        self._metrics.duplicate(seconds)
        event_log(EventName.DUPLICATE_SUBMISSION, queue_id=queue_id)

    def refused(
        self,
        queue_id: str,
        envelope: Envelope,
        reason: Reason | None,
        reply: Reply,
        seconds: float,
        reports: Sequence[Report] = (),
    ) -> None:
        """A message was answered 5xx for what it holds."""
        self._metrics.refused(reason, seconds, reports)
        event_log(
            EventName.REJECTED,
            queue_id=queue_id,
            peer=envelope.peer,
            stage=Stage.DATA,
            cause=TransactionRejectCause.CONTENT,
            reason=reason,
            reply=f"{reply.code} {reply.enhanced}",
            **domains(envelope.sender, envelope.addresses),
        )
        self._checked(queue_id, reports)

    def tempfailed(
        self, queue_id: str, envelope: Envelope, cause: TransactionRejectCause, reply: Reply, why: str, seconds: float
    ) -> None:
        """The final dot of a message was answered 4xx: the platform keeps it."""
        self._metrics.tempfailed(cause, seconds)
        known = {"peer": envelope.peer, **domains(envelope.sender, envelope.addresses)}
        event_log(_TEMPORARY[cause], queue_id=queue_id, reply=f"{reply.code} {reply.enhanced}", why=why, **known)

    def no_room(self, cause: TransactionRejectCause, reply: Reply, why: str) -> None:
        """MAIL was answered 4xx: nothing can be stored now."""
        self._metrics.rejected(Stage.MAIL, cause)
        event_log(_TEMPORARY[cause], stage=Stage.MAIL, reply=f"{reply.code} {reply.enhanced}", why=why)

    def bounce_received(self, queue_id: str, failed: bool) -> None:
        """A report about a message we relayed came to its return path."""
        self._metrics.bounce_received()
        event_log(EventName.BOUNCE_RECEIVED, queue_id=queue_id, failed=failed)

    def told(self, about: str, queue_id: str, deliveries: int) -> None:
        """A notice or a status notification was put in the queue as `queue_id`."""
        self._metrics.report_sent(Notice(about))
        event_log(EventName.NOTIFICATION_QUEUED, queue_id=queue_id, about=about, deliveries=deliveries)

    def operator_acted(self, queue_id: str, done: History) -> None:
        """An operator released, held, retried, dropped or replanned a message or one of its deliveries."""
        event_log(
            EventName(done.what),
            queue_id=queue_id,
            delivery=f"{queue_id}.{done.number}" if done.number else None,
            operator=done.by,
            why=describe(done.text) or None,
            ordered=datetime.fromtimestamp(done.at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        )

    def __call__(self, event: EventName, **facts: object) -> None:
        """The queue manager tells what became of a delivery (relay.queue.ports.Witness)."""
        delivery, outcome, seconds = facts.get("delivery"), facts.get("outcome"), facts.get("seconds")
        if isinstance(delivery, Delivery) and isinstance(outcome, OUTCOMES) and isinstance(seconds, float):
            self._metrics.attempted(delivery, outcome, seconds)
        event_log(event, alert=bool(facts.get("alert")), **_told(facts))

    def door(self, name: str, /, **fields: Any) -> None:
        """The SMTP server tells of its sessions by name: until it tells the observer itself."""
        self.observe(_BY_NAME[name](fields))

    def worker(self, name: str, fields: dict[str, object]) -> None:
        """The pool tells of its processes (relay.checker.Pool)."""
        event = EventName(name)
        if event is EventName.WORKER_RESTARTED:
            cause = Restart(str(fields.get("cause")))
            self._metrics.worker_restarted(cause)
            if cause in (Restart.MEMORY, Restart.RECYCLED):  # routine: between two documents, none is lost
                event = EventName.WORKER_RETIRED
        told: dict[str, Any] = dict(fields)
        event_log(event, **told)

    def self_test(self, failure: str | None) -> None:
        """The engine's self-test ended; `failure`: why it cannot be trusted, or None."""
        self._metrics.self_test(failure is None)
        if failure is None:
            event_log(EventName.SELF_TEST_PASSED)
        else:
            event_log(EventName.SELF_TEST_FAILED, why=failure)


def _as_stored(plan: Plan, held: Sequence[Delivery]) -> Iterator[Plan]:
    """`plan`, as far as the spool did not hold it, and what it held of it."""
    if not held:
        yield plan
        return
    stopped = {each.recipient for each in held}
    if leaving := tuple(each for each in plan.to if each not in stopped):
        yield replace(plan, to=leaving)
    staying = tuple(each for each in plan.to if each in stopped)
    yield replace(plan, disposition=Disposition.HOLD, reason=held[0].reason, to=staying)


def _told(facts: Mapping[str, object]) -> dict[str, Any]:
    """What the log says of a delivery; addresses are shortened by its level (relay.observability.privacy)."""
    told: dict[str, Any] = {"queue_id": facts.get("queue_id")}
    if isinstance(delivery := facts.get("delivery"), Delivery):
        told |= {
            "delivery": delivery.id,
            "client": f"{delivery.firm}/{delivery.dossier}" if delivery.firm else None,
            "recipient": delivery.recipient,
            "smarthost": delivery.smarthost,
            "attempt": delivery.attempts,
        }
    if isinstance(outcome := facts.get("outcome"), OUTCOMES):
        told |= {"stage": outcome.stage} if not isinstance(outcome, Delivered) else {}
    for name in ("reply", "next_attempt", "error"):
        if facts.get(name) is not None:
            told[name] = facts[name]
    if isinstance(seconds := facts.get("seconds"), float):
        told["seconds"] = round(seconds, 4)
    return told


POLL_SECONDS = 1.0
RETRY_SECONDS = 60.0


async def log_operator_actions(spool: Spool, witness: Observer) -> None:
    """Log each action of an operator once, oldest first, those given while no daemon ran too; until cancelled."""
    while True:
        try:
            await log_new_actions(spool, witness)
        except SpoolError as error:
            event_log(EventName.INTERNAL_ERROR, where="operator actions", exception=error)
            await asyncio.sleep(RETRY_SECONDS)
        await asyncio.sleep(POLL_SECONDS)


async def log_new_actions(spool: Spool, witness: Observer) -> None:
    """Log what is not logged yet. Raises SpoolError.

    Only what is in the log is struck off: a crash between the two logs a line twice, and loses none.
    """
    while found := await spool.operator_actions():
        for each in found:
            witness.operator_acted(each.queue_id, each.event)
        await spool.operator_actions_logged([each.id for each in found])
