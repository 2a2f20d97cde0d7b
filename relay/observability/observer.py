"""The one observer: a table says which log line and which metric each type of event makes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from relay.observability.events import (
    AuthenticationFailed,
    ConnectionOpened,
    ConnectionRejected,
    Event,
    EventName,
    FinalReply,
    InternalError,
    SessionError,
    TransactionRejected,
)
from relay.observability.log import write
from relay.observability.metrics import Metrics

Fields = dict[str, Any]
_Lines = Callable[[Any], Iterable[tuple[EventName, Fields]]]
_Count = Callable[[Metrics, Any], None]


class Observer:
    """Makes log lines and metrics of what happens. Every part of the relay has this one, and nothing else, to tell."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def observe(self, event: Event) -> None:
        """Log `event` and count it, as its type is in the table."""
        lines, count = _TABLE[type(event)]
        if count is not None:
            count(self._metrics, event)
        if lines is not None:
            for name, fields in lines(event):
                write(name, fields)


def _line(fields: Callable[[Any], Fields]) -> _Lines:
    """One log line with what `fields` gives, under the name of the event's type."""
    return lambda event: ((event.name, fields(event)),)


def _session_error(event: SessionError) -> Fields:
    fields: Fields = {"peer": event.peer, "why": event.why}
    if event.last is not None:
        fields["last"] = str(event.last)
    return fields


def _transaction_rejected(event: TransactionRejected) -> Fields:
    return {
        "peer": event.peer,
        "stage": event.stage,
        "cause": event.cause,
        "reply": str(event.reply),
        **domains(event.sender, event.recipients),
    }


def _internal_error(event: InternalError) -> Fields:
    known = {"queue_id": event.queue_id, "where": event.where, "peer": event.peer, "exception": event.error}
    return {key: value for key, value in known.items() if value is not None}


def domains(sender: str, recipients: Sequence[str]) -> Fields:
    """The domains of a transaction, for the log: no local part of an address that was rejected, at any level."""
    known: Fields = {"sender_domain": _domain(sender)} if sender else {}
    if recipients:
        known["recipient_domains"] = list(dict.fromkeys(map(_domain, recipients)))
    return known


def _domain(address: str) -> str:
    return address.rpartition("@")[2] if "@" in address else ""


_TABLE: dict[type[Event], tuple[_Lines | None, _Count | None]] = {
    ConnectionOpened: (None, lambda metrics, event: metrics.connected()),
    ConnectionRejected: (
        _line(lambda event: {"peer": event.peer, "cause": event.cause}),
        lambda metrics, event: metrics.connection_refused(event.cause),
    ),
    AuthenticationFailed: (
        _line(lambda event: {"peer": event.peer, "failures": str(event.failures)}),
        lambda metrics, event: metrics.authentication_failed(),
    ),
    SessionError: (_line(_session_error), None),
    TransactionRejected: (
        _line(_transaction_rejected),
        lambda metrics, event: metrics.rejected(event.stage, event.cause),
    ),
    FinalReply: (None, lambda metrics, event: metrics.final_reply(event.code, event.seconds)),
    InternalError: (_line(_internal_error), None),  # the log counts these, whoever writes them
}
