"""The one observer: a table says which log lines and which metrics each type of event makes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from relay.observability import events
from relay.observability.event_names import EventName
from relay.observability.events import Event, Restart, TransactionRejectCause
from relay.observability.json_text import text
from relay.observability.log import Line, write, write_lines
from relay.observability.message_lines import attempt_ended, checked, delivery_fields, message_accepted
from relay.observability.metrics import Metrics
from relay.reasons import describe
from relay.replies import Reply, Stage

Fields = dict[str, Any]


class Observer:
    """Makes log lines and metrics of what happens. Each part of the relay is given `observe`, and calls nothing else
    to be seen."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def observe(self, event: Event) -> None:
        """Count `event` and log it, as the table says of its type. Never raises: what is observed must go on."""
        try:
            lines, count = _TABLE[type(event)]
            if count is not None:
                count(self._metrics, event)
            if lines is not None:
                write_lines(lines(event))
        except Exception as error:
            with suppress(Exception):
                write(EventName.INTERNAL_ERROR, {"where": "observer", "exception": error})


def _line(fields: Callable[[Any], Fields | str]) -> Callable[[Event], Iterable[Line]]:
    """One log line with what `fields` gives, under the name of the event's type."""
    return lambda event: ((event.name, fields(event)),)


def _fields(*names: str) -> Callable[[Event], Iterable[Line]]:
    """One log line with these fields of the event, under the name of its type."""
    return _line(lambda event: {name: getattr(event, name) for name in names})


# The SMTP server


def _session_error(event: events.SessionError) -> Fields:
    fields: Fields = {"peer": event.peer, "why": event.why}
    if event.last is not None:
        fields["last"] = str(event.last)
    return fields


def _transaction_rejected(event: events.TransactionRejected) -> Fields:
    return {
        "peer": event.peer,
        "stage": event.stage,
        "cause": event.cause,
        "reply": str(event.reply),
        **_domains(event.sender, event.recipients),
    }


def _domains(sender: str, recipients: Sequence[str]) -> Fields:
    """The domains of a transaction, for the log: no local part of an address that was rejected, at any level."""
    fields: Fields = {"sender_domain": _domain(sender)} if sender else {}
    if recipients:
        fields["recipient_domains"] = list(dict.fromkeys(map(_domain, recipients)))
    return fields


def _domain(address: str) -> str:
    return address.rpartition("@")[2] if "@" in address else ""


# One message comes in

_TEMPFAILED = {
    TransactionRejectCause.CHECKER_OVERLOADED: EventName.CHECKER_OVERLOADED,
    TransactionRejectCause.STORAGE_FULL: EventName.SPOOL_FULL,
    TransactionRejectCause.STORAGE_FAILED: EventName.STORE_FAILED,
}


def _message_rejected(event: events.MessageRejected) -> Iterator[Line]:
    yield (
        EventName.REJECTED,
        {
            "queue_id": event.queue_id,
            "peer": event.envelope.peer,
            "stage": Stage.DATA,
            "cause": TransactionRejectCause.CONTENT,
            "reason": event.reason,
            "reply": _codes(event.reply),
            **_domains(event.envelope.sender, event.envelope.addresses),
        },
    )
    yield from checked(event.queue_id, event.reports)


def _message_tempfailed(event: events.MessageTempfailed) -> Iterator[Line]:
    yield (
        _TEMPFAILED[event.cause],
        {
            "queue_id": event.queue_id,
            "reply": _codes(event.reply),
            "why": event.why,
            "peer": event.envelope.peer,
            **_domains(event.envelope.sender, event.envelope.addresses),
        },
    )


def _sender_tempfailed(event: events.SenderTempfailed) -> Iterator[Line]:
    yield _TEMPFAILED[event.cause], {"stage": Stage.MAIL, "reply": _codes(event.reply), "why": event.why}


def _codes(reply: Reply) -> str:
    return f"{reply.code} {reply.enhanced}"


# The queue


def _outcome_not_recorded(event: events.OutcomeNotRecorded) -> Iterator[Line]:
    yield event.name, f'{delivery_fields(event.delivery)}, "error": {text(event.error)}'


def _operator_acted(event: events.OperatorActed) -> Iterator[Line]:
    entry = event.entry
    yield (
        EventName(entry.what),
        {
            "queue_id": event.queue_id,
            "delivery": f"{event.queue_id}.{entry.number}" if entry.number else None,
            "operator": entry.by,
            "why": describe(entry.text) or None,
            "ordered": datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        },
    )


# Processes that check documents, and the daemon


def _worker_replaced(event: events.WorkerReplaced) -> Iterator[Line]:
    routine = event.cause in (Restart.MEMORY, Restart.RECYCLED)  # between two documents: none is lost
    name = EventName.WORKER_RETIRED if routine else EventName.WORKER_RESTARTED
    fields: Fields = {"pid": event.pid, "cause": event.cause}
    if event.queue_id:
        fields["queue_id"] = event.queue_id
    if event.cause is Restart.FALSE_ANSWER:  # it may have been taken over: a person must look at what came
        fields |= {"why": event.why, "alert": True}
    yield name, fields


def _worker_sandboxed(event: events.WorkerSandboxed) -> Iterator[Line]:
    fields = {"pid": event.pid, "protections": [str(each) for each in event.protections]}
    if event.missing:
        yield EventName.SANDBOX_INCOMPLETE, {**fields, "missing": [str(each) for each in event.missing]}
    else:
        yield EventName.SANDBOX_IN_FORCE, fields


def _self_tested(event: events.SelfTested) -> Iterator[Line]:
    if event.failure is None:
        yield EventName.SELF_TEST_PASSED, {}
    else:
        yield EventName.SELF_TEST_FAILED, {"why": event.failure}


def _reload_failed(event: events.ReloadFailed) -> Iterator[Line]:
    for fault in event.faults:
        yield event.name, {"fault": fault}
    yield event.name, {"clients": event.clients, "text": "the old configuration stays"}


def _internal_error(event: events.InternalError) -> Fields:
    fields = {"queue_id": event.queue_id, "where": event.where, "peer": event.peer, "exception": event.error}
    return {name: value for name, value in fields.items() if value is not None}


_Lines = Callable[[Any], Iterable[Line]]
_Count = Callable[[Metrics, Any], None]

_TABLE: dict[type[Event], tuple[_Lines | None, _Count | None]] = {
    # The SMTP server
    events.ConnectionOpened: (None, lambda metrics, event: metrics.connected()),
    events.ConnectionRejected: (
        _fields("peer", "cause"),
        lambda metrics, event: metrics.connection_rejected(event.cause),
    ),
    events.AuthenticationFailed: (
        _line(lambda event: {"peer": event.peer, "failures": str(event.failures)}),
        lambda metrics, event: metrics.authentication_failed(),
    ),
    events.SessionError: (_line(_session_error), None),
    events.TransactionRejected: (
        _line(_transaction_rejected),
        lambda metrics, event: metrics.rejected(event.stage, event.cause),
    ),
    events.FinalReply: (None, lambda metrics, event: metrics.final_reply(event.code, event.seconds)),
    # One message comes in
    events.MessageAccepted: (
        message_accepted,
        lambda metrics, event: metrics.accepted(event.message, event.reports, event.seconds, event.held),
    ),
    events.DuplicateSubmission: (_fields("queue_id"), lambda metrics, event: metrics.duplicate(event.seconds)),
    events.MessageRejected: (
        _message_rejected,
        lambda metrics, event: metrics.message_rejected(event.reason, event.seconds, event.reports),
    ),
    events.MessageTempfailed: (
        _message_tempfailed,
        lambda metrics, event: metrics.message_tempfailed(event.cause, event.seconds),
    ),
    events.SenderTempfailed: (
        _sender_tempfailed,
        lambda metrics, event: metrics.rejected(Stage.MAIL, event.cause),
    ),
    events.BounceReceived: (_fields("queue_id", "failed"), lambda metrics, event: metrics.bounce_received()),
    # The queue
    events.AttemptStarted: (_line(lambda event: delivery_fields(event.delivery)), None),
    events.AttemptEnded: (
        attempt_ended,
        lambda metrics, event: metrics.attempted(event.delivery, event.outcome, event.seconds),
    ),
    events.OutcomeNotRecorded: (_outcome_not_recorded, None),
    events.DeliveryDelayed: (_line(lambda event: delivery_fields(event.delivery)), None),
    events.NotificationQueued: (
        _fields("queue_id", "about", "deliveries"),
        lambda metrics, event: metrics.notification_queued(event.about),
    ),
    events.OperatorActed: (_operator_acted, None),
    # The processes that check documents
    events.WorkerStarted: (_fields("pid"), None),
    events.WorkerReplaced: (_worker_replaced, lambda metrics, event: metrics.worker_restarted(event.cause)),
    events.WorkerSandboxed: (_worker_sandboxed, None),
    events.SelfTested: (_self_tested, lambda metrics, event: metrics.self_test(event.failure is None)),
    # The spool
    events.SpoolOpened: (_fields("deliveries"), None),
    events.MessageCorrupt: (_fields("text"), None),
    events.SpoolBroken: (_fields("why"), None),
    events.MessagesPurged: (_line(lambda event: {"mails": event.number}), None),
    # The daemon
    events.Started: (_fields("listen", "http"), None),
    events.Stopping: (_fields(), None),
    events.Stopped: (_fields("unfinished", "code"), None),
    events.ConfigurationInForce: (
        None,
        lambda metrics, event: metrics.configured(
            event.clients, event.firms, event.destinations, event.smarthosts, event.certificates
        ),
    ),
    events.Reloaded: (_fields("clients", "files_read"), None),
    events.ReloadFailed: (_reload_failed, lambda metrics, event: metrics.reload_failed()),
    events.ConfigurationWarning: (_fields("fault"), None),
    events.SignalIgnored: (_fields("signal"), None),
    events.Stalled: (_fields("text"), None),
    events.InternalError: (_line(_internal_error), None),  # relay.observability.log counts each record of this name
}
