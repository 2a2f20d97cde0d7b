"""Who saw what: each fact once in the log and once in the metrics, in the words of `relay.ops.events`."""

from collections.abc import Sequence
from urllib.parse import quote

from relay.model import Action, Claim, Disposition, DocumentPart, Mail, Plan
from relay.ops.events import Event
from relay.ops.log import event_log
from relay.ops.metrics import Metrics
from relay.reason import Reason
from relay.reply import Outcome, Reply
from relay.report import Report

_EVENT = {
    Disposition.RELAY: Event.QUEUED,
    Disposition.HOLD: Event.HELD,
    Disposition.WITHHOLD: Event.WITHHELD,
    Disposition.REFUSE: Event.REFUSED,
}


class Witness:
    """Told by intake, door and queue manager; tells the log and the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def accepted(self, mail: Mail, reports: Sequence[Report], seconds: float) -> None:
        """A mail is durable and answered 250."""
        self._metrics.accepted(mail, reports, seconds)
        event_log(
            Event.ACCEPTED,
            queue_id=mail.queue_id,
            peer=mail.envelope.peer,
            sender=mail.envelope.sender,
            recipients=list(mail.envelope.addresses),
            message_id=quote(mail.message_id, safe="<>@.-_+"),
            size=len(mail.raw),
            seconds=round(seconds, 4),
        )
        self._checked(mail.queue_id, reports)
        for plan in mail.plans:
            self._planned(mail.queue_id, plan)

    def _checked(self, queue_id: str, reports: Sequence[Report]) -> None:
        for report in reports:
            event_log(
                Event.CHECKED,
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
        """A mail stored before was answered with its first queue id."""
        self._metrics.duplicate(seconds)
        event_log(Event.DUPLICATE_SUBMISSION, queue_id=queue_id)

    def refused(
        self, queue_id: str, reason: Reason, reply: Reply, seconds: float, reports: Sequence[Report] = ()
    ) -> None:
        """A mail was answered 5xx."""
        self._metrics.refused(reason, seconds, reports)
        event_log(Event.REFUSED, queue_id=queue_id, reason=reason, reply=f"{reply.code} {reply.enhanced}")
        self._checked(queue_id, reports)

    def try_later(self, queue_id: str, reply: Reply, why: str, seconds: float) -> None:
        """A mail was answered 4xx: the platform keeps it."""
        self._metrics.try_later(seconds)
        event = Event.SPOOL_FULL if reply.code == 452 else Event.REFUSED
        event_log(event, queue_id=queue_id, reply=f"{reply.code} {reply.enhanced}", why=why)

    def attempted(self, claim: Claim, outcome: Outcome, seconds: float) -> None:
        """A transaction with a next hop ended."""
        self._metrics.attempted(claim.delivery, outcome, seconds)
