"""The one module that declares the metrics. Each is described in config/prometheus/README.md; a test compares."""

import platform
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import product
from threading import Lock

from relay.inspection import Kind, Report, Verdict
from relay.model import Action, Delivery, Disposition, DocumentPart, Message, Plan, State
from relay.observability.events import Answer, Notice, RejectCause, Restart, TransactionRejectCause
from relay.observability.series import Family, Series
from relay.reasons import Reason
from relay.replies import Deferred, Delivered, Failed, Outcome, OutcomeUnknown, Stage

_ACCEPT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_AGE_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 86400, 5 * 86400)


class Metrics:
    """All metrics of one daemon, in a registry of their own. Counters of closed sets start at 0, so `rate` sees the
    first event. `clock`: seconds since the epoch.

    Where each message comes by, a member of an enum is asked for `_value_`: `value` is a call (Python 3.11)."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._series = Series()
        self._oldest: float | None = None
        self._lag: Callable[[], float] = lambda: 0.0
        self._internal_errors_lock = Lock()  # any thread may log one
        self._declare_intake(self._series)
        self._declare_delivery(self._series)
        self._declare_machine(self._series)

    def _declare_intake(self, series: Series) -> None:
        self._messages = series.counter("messages_received", "Messages whose final dot was answered.", result=Answer)
        self._plans = series.counter(
            "plans", "Outgoing messages decided about at acceptance.", disposition=Disposition, reason=()
        )
        self._rejections = series.counter(
            "rejections",
            "Senders, recipients and messages rejected, for now or for good.",
            stage=(Stage.MAIL, Stage.RCPT, Stage.DATA),
            cause=TransactionRejectCause,
        )
        self._accept = series.histogram(
            "acceptance_duration_seconds", "From the final dot to the reply.", _ACCEPT_SECONDS
        )
        self._documents = series.counter("documents", "Documents checked.", verdict=Verdict, kind=Kind)
        self._check = series.histogram("check_seconds", "Check of one document.", _ACCEPT_SECONDS)
        self._originals = series.counter("originals_removed", "Original PDFs removed from accepted messages.")
        self._bounces = series.counter("bounces_received", "Bounces received of relayed messages.")
        self._open = series.gauge("connections_open", "SMTP connections open.")
        self._connections = series.counter("connections", "SMTP connections opened.")
        self._connections_rejected = series.counter(
            "connections_rejected", "SMTP connections rejected.", cause=RejectCause
        )
        self._authentication_failures = series.counter(
            "authentication_failures", "Wrong user or password at the SMTP server."
        )

    def _declare_delivery(self, series: Series) -> None:
        self._attempts = series.counter("delivery_attempts", "Transactions with a next hop.", outcome=(), smarthost=())
        self._deferrals = series.counter(
            "deferrals", "Attempts deferred.", smarthost=(), stage=Stage, alert=("false", "true")
        )
        self._transaction = series.histogram("delivery_seconds", "One transaction with a next hop.", _ACCEPT_SECONDS)
        self._age = series.histogram("delivery_age_seconds", "From acceptance to delivery.", _AGE_SECONDS)
        self._success = series.gauge(
            "last_success_timestamp_seconds", "When a message was last delivered; 0 is never.", destination=()
        )
        self._states = series.gauge("deliveries", "Deliveries in the spool.", state=State)
        self._held = series.gauge("deliveries_held", "Deliveries held or withheld.", reason=Reason)
        series.gauge_function(
            "oldest_queued_age_seconds",
            "Age of the oldest message still to be delivered; 0 is none.",
            lambda: 0.0 if self._oldest is None else max(0.0, self._clock() - self._oldest),
        )
        self._notifications = series.counter(
            "notifications_queued", "Notices and status notifications of our own.", about=Notice
        )

    def _declare_machine(self, series: Series) -> None:
        self._workers = series.gauge("workers", "Processes that check documents.", state=("busy", "idle"))
        self._waiting = series.gauge("check_queue_length", "Requests waiting for a worker.")
        self._restarts = series.counter("worker_restarts", "Worker processes replaced.", cause=Restart)
        self._spool_bytes = series.gauge("spool_bytes", "Space the spool takes.")
        self._spool_free = series.gauge("spool_free_bytes", "Space left for the spool.")
        self._writable = series.gauge("spool_writable", "1: messages can be stored; 0: they are answered 452 or 451.")
        self._corrupt = series.gauge("spool_corrupt_messages", "Messages set aside as unreadable since the start.")
        series.gauge_function(
            "event_loop_lag_seconds",
            "Longest delay of the event loop within the last minute.",
            lambda: self._lag(),
        )
        self._reload = series.gauge("config_last_reload_success", "1: the last reload is in force; 0: it had faults.")
        self._reload_at = series.gauge(
            "config_last_reload_success_timestamp_seconds", "When the configuration in force was read."
        )
        self._clients = series.gauge("clients", "Clients configured.")
        self._firms = series.gauge("firms", "Firms configured.")
        self._certificate = series.gauge(
            "certificate_expiry_timestamp_seconds", "When the certificate of a listener expires.", listen=()
        )
        self._self_test = series.gauge("self_test_success", "1: the sample Factur-X was checked as it should be.")
        self._internal_errors = series.counter(
            "internal_errors", "Unforeseen exceptions, each with its place in the log."
        )
        build = series.gauge("build_info", "Always 1.", version=(), python=())
        build.set(1, version("agiris-relay"), platform.python_version())

    # The SMTP server and intake

    def accepted(
        self, message: Message, reports: Iterable[Report], seconds: float, held: Collection[Delivery] = ()
    ) -> None:
        """A message is durable and answered 250, `seconds` after its final dot. held: what the spool held of it."""
        self._answered(Answer.ACCEPTED, seconds)
        for index, plan in enumerate(message.plans):
            disposition, reason = _stored_as(plan, [delivery for delivery in held if delivery.plan == index])
            self._plans.inc(disposition._value_, reason._value_ if reason else "")
        removed = {
            document.span
            for plan in message.plans
            for document in plan.documents
            if document.part is DocumentPart.ORIGINAL and document.action is Action.REMOVE
        }
        self._originals.inc(by=len(removed))
        self.checked(reports)

    def duplicate(self, seconds: float) -> None:
        """A message stored before was answered 250 again."""
        self._answered(Answer.DUPLICATE, seconds)

    def message_rejected(self, reason: Reason | None, seconds: float, reports: Iterable[Report] = ()) -> None:
        """A message was answered 5xx for what it holds. reason None: not a decision about its documents."""
        self._answered(Answer.REJECTED, seconds)
        self.rejected(Stage.DATA, TransactionRejectCause.CONTENT)
        self._plans.inc(Disposition.REFUSE.value, reason.value if reason else "")
        self.checked(reports)

    def message_tempfailed(self, cause: TransactionRejectCause, seconds: float) -> None:
        """The final dot of a message was answered 4xx."""
        self._answered(Answer.TEMPFAILED, seconds)
        self.rejected(Stage.DATA, cause)

    def rejected(self, stage: Stage, cause: TransactionRejectCause) -> None:
        """A sender (stage MAIL), a recipient (RCPT) or a message (DATA) was rejected."""
        self._rejections.inc(stage.value, cause.value)

    def final_reply(self, code: int, seconds: float) -> None:
        """The final dot was answered by the SMTP server itself, 4xx or 5xx."""
        self._answered(Answer.REJECTED if code >= 500 else Answer.TEMPFAILED, seconds)

    def checked(self, reports: Iterable[Report]) -> None:
        """Documents were checked."""
        for report in reports:
            self._documents.inc(report.verdict._value_, report.kind._value_)
            self._check.observe(report.ms / 1000)

    def connected(self) -> None:
        """A connection was accepted."""
        self._connections.inc()

    def connections_open(self, number: int) -> None:
        self._open.set(number)

    def connection_rejected(self, cause: RejectCause) -> None:
        self._connections_rejected.inc(cause.value)

    def authentication_failed(self) -> None:
        self._authentication_failures.inc()

    def bounce_received(self) -> None:
        self._bounces.inc()

    # The queue

    def attempted(self, delivery: Delivery, outcome: Outcome, seconds: float) -> None:
        """One transaction of `seconds` ended."""
        self._attempts.inc(_OUTCOMES[type(outcome)], delivery.smarthost)
        self._transaction.observe(seconds)
        if isinstance(outcome, Deferred):
            alert = "true" if outcome.alert else "false"
            self._deferrals.inc(delivery.smarthost, outcome.stage.value, alert)
        if isinstance(outcome, Delivered):
            self._success.set(self._clock(), delivery.destination)
            self._age.observe(max(0.0, self._clock() - delivery.arrived))

    def notification_queued(self, about: Notice) -> None:
        self._notifications.inc(about.value)

    def spool(
        self,
        by_state: Mapping[State, int],
        held: Mapping[str, int],
        oldest: float | None,
        octets: int,
        free: int | None,
        corrupt: int = 0,
        writable: bool = True,
    ) -> None:
        """Figures of the spool (`Stats`). oldest: epoch seconds. held: by reason; one not in the list is left out."""
        for state in State:
            self._states.set(by_state.get(state, 0), state.value)
        for reason in Reason:
            self._held.set(held.get(reason.value, 0), reason.value)
        self._oldest = oldest
        self._spool_bytes.set(octets)
        self._spool_free.set(float("nan") if free is None else free)
        self._corrupt.set(corrupt)
        self._writable.set(writable)

    # The machine

    def workers(self, busy: int, idle: int, waiting: int) -> None:
        self._workers.set(busy, "busy")
        self._workers.set(idle, "idle")
        self._waiting.set(waiting)

    def worker_restarted(self, cause: Restart) -> None:
        self._restarts.inc(cause.value)

    def event_loop_lag(self, worst: Callable[[], float]) -> None:
        """`worst` is asked at each scrape (relay.daemon.health.EventLoopLag.worst)."""
        self._lag = worst

    def configured(
        self,
        clients: int,
        firms: int,
        destinations: Iterable[str],
        smarthosts: Iterable[str],
        certificates: Mapping[str, float],
    ) -> None:
        """A configuration came into force. Names that are new start at 0. certificates: by listener, when each expires
        (epoch seconds)."""
        self._reload.set(1)
        self._reload_at.set(self._clock())
        self._clients.set(clients)
        self._firms.set(firms)
        for destination in destinations:
            self._success.expect(destination)
        for smarthost in smarthosts:
            for outcome in _OUTCOMES.values():
                self._attempts.expect(outcome, smarthost)
            for stage, alert in product(Stage, ("false", "true")):
                self._deferrals.expect(smarthost, stage.value, alert)
        for listener, expires in certificates.items():
            self._certificate.set(expires, listener)

    def reload_failed(self) -> None:
        self._reload.set(0)

    def self_test(self, passed: bool) -> None:
        self._self_test.set(passed)

    def internal_error(self) -> None:
        with self._internal_errors_lock:
            self._internal_errors.inc()

    # What Prometheus reads

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its Content-Type: OpenMetrics where `accept` (the request's header) asks for it, else text."""
        return self._series.exposition(accept)

    def value(self, name: str, **labels: str) -> float | None:
        """One sample, for tests and the status line; None when there is no such series."""
        return self._series.value(name, labels)

    @property
    def families(self) -> tuple[Family, ...]:
        """What is declared, for the tests of the documentation."""
        return self._series.families

    def _answered(self, answer: Answer, seconds: float) -> None:
        self._messages.inc(answer._value_)
        self._accept.observe(seconds)


def _stored_as(plan: Plan, held: Sequence[Delivery]) -> tuple[Disposition, Reason | None]:
    """What became of a plan when it was stored: held when the spool held it for all its recipients."""
    if held and len(held) >= len(plan.to):
        return Disposition.HOLD, held[0].reason
    return plan.disposition, plan.reason


_OUTCOMES: dict[type[Outcome], str] = {
    Delivered: "delivered",
    Deferred: "deferred",
    Failed: "failed",
    OutcomeUnknown: "outcome_unknown",
}
