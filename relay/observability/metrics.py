"""The one module that declares the metrics. Each is described in config/prometheus/README.md; a test compares."""

import platform
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from relay.inspection import Kind, Report, Verdict
from relay.model import Action, Delivery, Disposition, DocumentPart, Message, Plan, State
from relay.observability.events import Answer, Notice, RejectCause, Restart, TransactionRejectCause
from relay.reasons import Reason
from relay.replies import Deferred, Delivered, Failed, Outcome, OutcomeUnknown, Stage

PREFIX = "agiris_relay"

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside each one, which nobody asks for

_M = TypeVar("_M", Counter, Gauge)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as it is exposed."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


class Process(ProcessCollector):
    """process_*: memory, descriptors, CPU. Works under ProcSubset=pid, which hides the /proc/stat the library asks."""

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


class Series:
    """The metrics of one daemon. A label is given with its closed set of values, or with () when the configuration
    names them; series of closed sets start at 0, so that `rate` sees the first event."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self._families: list[Family] = []
        Process(registry=self._registry)

    def counter(self, name: str, text: str, **labels: Iterable[str]) -> Counter:
        """A counter `<PREFIX>_<name>_total`."""
        counter = Counter(f"{PREFIX}_{name}", text, tuple(labels), registry=self._registry)
        self._families.append(Family(f"{PREFIX}_{name}_total", "counter", tuple(labels), text))
        return _zeroed(counter, tuple(labels.values()))

    def gauge(self, name: str, text: str, **labels: Iterable[str]) -> Gauge:
        """A gauge `<PREFIX>_<name>`."""
        gauge = Gauge(f"{PREFIX}_{name}", text, tuple(labels), registry=self._registry)
        self._families.append(Family(f"{PREFIX}_{name}", "gauge", tuple(labels), text))
        return _zeroed(gauge, tuple(labels.values()))

    def histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        """A histogram `<PREFIX>_<name>` with these upper bounds."""
        self._families.append(Family(f"{PREFIX}_{name}", "histogram", (), text))
        return Histogram(f"{PREFIX}_{name}", text, buckets=buckets, registry=self._registry)

    @property
    def families(self) -> tuple[Family, ...]:
        return tuple(self._families)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The page and its Content-Type, of the kind that the Accept header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def value(self, name: str, labels: dict[str, str]) -> float | None:
        return self._registry.get_sample_value(name, labels)


def _zeroed(metric: _M, values: Sequence[Iterable[str]]) -> _M:
    """`metric` with every series of its closed sets at 0; an empty set stands for an open one: nothing is known yet."""
    metric.labels = cache(metric.labels)  # type: ignore[method-assign]  # else a lock and a list of strings each time
    closed = [[str(value) for value in label] for label in values]
    if closed and all(closed):
        for labels in product(*closed):
            metric.labels(*labels)
    return metric


_ACCEPT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_AGE_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 86400, 5 * 86400)


class Metrics:
    """All metrics of one daemon, in a registry of their own. Counters of closed sets start at 0, so `rate` sees the
    first event. `clock`: seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._series = Series()
        self._oldest: float | None = None
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
        oldest = series.gauge(
            "oldest_queued_age_seconds", "Age of the oldest message still to be delivered; 0 is none."
        )
        oldest.set_function(lambda: 0.0 if self._oldest is None else max(0.0, self._clock() - self._oldest))
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
        self._lag = series.gauge("event_loop_lag_seconds", "Longest delay of the event loop within the last minute.")
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
        build.labels(version("agiris-relay"), platform.python_version()).set(1)

    # The SMTP server and intake

    def accepted(
        self, message: Message, reports: Iterable[Report], seconds: float, held: Collection[Delivery] = ()
    ) -> None:
        """A message is durable and answered 250, `seconds` after its final dot. held: what the spool held of it."""
        self._messages.labels(Answer.ACCEPTED.value).inc()
        self._accept.observe(seconds)
        for index, plan in enumerate(message.plans):
            disposition, reason = _stored_as(plan, [delivery for delivery in held if delivery.plan == index])
            self._plans.labels(disposition.value, reason.value if reason else "").inc()
        removed = {
            document.span
            for plan in message.plans
            for document in plan.documents
            if document.part is DocumentPart.ORIGINAL and document.action is Action.REMOVE
        }
        self._originals.inc(len(removed))
        self.checked(reports)

    def duplicate(self, seconds: float) -> None:
        """A message stored before was answered 250 again."""
        self._answered(Answer.DUPLICATE, seconds)

    def message_rejected(self, reason: Reason | None, seconds: float, reports: Iterable[Report] = ()) -> None:
        """A message was answered 5xx for what it holds. reason None: not a decision about its documents."""
        self._answered(Answer.REJECTED, seconds)
        self.rejected(Stage.DATA, TransactionRejectCause.CONTENT)
        self._plans.labels(Disposition.REFUSE.value, reason.value if reason else "").inc()
        self.checked(reports)

    def message_tempfailed(self, cause: TransactionRejectCause, seconds: float) -> None:
        """The final dot of a message was answered 4xx."""
        self._answered(Answer.TEMPFAILED, seconds)
        self.rejected(Stage.DATA, cause)

    def rejected(self, stage: Stage, cause: TransactionRejectCause) -> None:
        """A sender (stage MAIL), a recipient (RCPT) or a message (DATA) was rejected."""
        self._rejections.labels(stage.value, cause.value).inc()

    def final_reply(self, code: int, seconds: float) -> None:
        """The final dot was answered by the SMTP server itself, 4xx or 5xx."""
        self._answered(Answer.REJECTED if code >= 500 else Answer.TEMPFAILED, seconds)

    def checked(self, reports: Iterable[Report]) -> None:
        """Documents were checked."""
        for report in reports:
            self._documents.labels(report.verdict.value, report.kind.value).inc()
            self._check.observe(report.ms / 1000)

    def connected(self) -> None:
        """A connection was accepted."""
        self._connections.inc()

    def connections_open(self, number: int) -> None:
        self._open.set(number)

    def connection_rejected(self, cause: RejectCause) -> None:
        self._connections_rejected.labels(cause.value).inc()

    def authentication_failed(self) -> None:
        self._authentication_failures.inc()

    def bounce_received(self) -> None:
        self._bounces.inc()

    # The queue

    def attempted(self, delivery: Delivery, outcome: Outcome, seconds: float) -> None:
        """One transaction of `seconds` ended."""
        self._attempts.labels(_OUTCOMES[type(outcome)], delivery.smarthost).inc()
        self._transaction.observe(seconds)
        if isinstance(outcome, Deferred):
            alert = "true" if outcome.alert else "false"
            self._deferrals.labels(delivery.smarthost, outcome.stage.value, alert).inc()
        if isinstance(outcome, Delivered):
            self._success.labels(delivery.destination).set(self._clock())
            self._age.observe(max(0.0, self._clock() - delivery.arrived))

    def notification_queued(self, about: Notice) -> None:
        self._notifications.labels(about.value).inc()

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
            self._states.labels(state.value).set(by_state.get(state, 0))
        for reason in Reason:
            self._held.labels(reason.value).set(held.get(reason.value, 0))
        self._oldest = oldest
        self._spool_bytes.set(octets)
        self._spool_free.set(float("nan") if free is None else free)
        self._corrupt.set(corrupt)
        self._writable.set(writable)

    # The machine

    def workers(self, busy: int, idle: int, waiting: int) -> None:
        self._workers.labels("busy").set(busy)
        self._workers.labels("idle").set(idle)
        self._waiting.set(waiting)

    def worker_restarted(self, cause: Restart) -> None:
        self._restarts.labels(cause.value).inc()

    def event_loop_lag(self, worst: Callable[[], float]) -> None:
        """`worst` is asked at each scrape (relay.daemon.health.EventLoopLag.worst)."""
        self._lag.set_function(worst)

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
            self._success.labels(destination)
        for smarthost in smarthosts:
            for outcome in _OUTCOMES.values():
                self._attempts.labels(outcome, smarthost)
            for stage, alert in product(Stage, ("false", "true")):
                self._deferrals.labels(smarthost, stage.value, alert)
        for listener, expires in certificates.items():
            self._certificate.labels(listener).set(expires)

    def reload_failed(self) -> None:
        self._reload.set(0)

    def self_test(self, passed: bool) -> None:
        self._self_test.set(passed)

    def internal_error(self) -> None:
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
        self._messages.labels(answer.value).inc()
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
