"""Each type of event makes its log line and its metric: a typed value in, a record and changed samples out."""

from dataclasses import replace
from typing import Any

import pytest

from relay.inspection import Finding, Kind, Report, Severity, Verdict
from relay.lifecycle import Transition
from relay.model import (
    Action,
    Delivery,
    Disposition,
    Document,
    DocumentPart,
    Envelope,
    HistoryEntry,
    Message,
    Plan,
    Recipient,
    Span,
    State,
)
from relay.observability import events, observer
from relay.observability.events import Notice, RejectCause, Restart, TransactionRejectCause
from relay.observability.log import capture
from relay.observability.metrics import Metrics
from relay.observability.observer import Observer
from relay.reasons import Reason
from relay.replies import Deferred, Delivered, Failed, OutcomeUnknown, Reply, Stage

ERROR = ValueError("confidential")
NOW = 1e9


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample of ours but the buckets of histograms, under its name and labels without the prefix."""
    page = metrics.exposition()[0].decode()
    lines = [line.rpartition(" ") for line in page.splitlines() if line.startswith("agiris_relay_")]
    return {name.removeprefix("agiris_relay_"): float(value) for name, _, value in lines if "_bucket{" not in name}


def observed(*happened: events.Event, level: str = "info") -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The log records that `happened` make, without their time, and the samples that they change."""
    metrics = Metrics(clock=lambda: NOW)
    before = samples(metrics)
    with capture(level) as log:
        for event in happened:
            Observer(metrics).observe(event)
    changed = {name: value for name, value in samples(metrics).items() if before.get(name) != value}
    return [{key: value for key, value in record.items() if key != "time"} for record in log], changed


Case = tuple[events.Event, list[dict[str, Any]], dict[str, float]]


def line(level: str, event: str, **fields: Any) -> dict[str, Any]:
    return {"level": level, "event": event, **fields}


REPORT = Report(
    "a" * 64,
    10,
    Verdict.INVALID,
    Kind.FACTURX,
    profile="EN 16931",
    ms=2.04,
    findings=(Finding("BR-2", Severity.ERROR, "rules", ""), Finding("BR-1", Severity.ERROR, "rules", "")),
)
CHECKED = line(
    "info",
    "checked",
    queue_id="Q1",
    sha256="a" * 64,
    kind="factur-x",
    verdict="invalid",
    profile="EN 16931",
    rules=["BR-1", "BR-2"],
    ms=2.0,
)
COUNTED = {
    'documents_total{kind="factur-x",verdict="invalid"}': 1,
    "check_seconds_count": 1,
    "check_seconds_sum": 0.00204,
}
ORIGINAL = Document(
    "o.pdf", Span(1, 2), DocumentPart.ORIGINAL, Action.REMOVE, Report("b" * 64, 5, Verdict.NOT_FACTURX, Kind.PDF)
)
KEPT = Document("f.pdf", Span(3, 4), DocumentPart.FACTURX, Action.KEEP, REPORT)
ENVELOPE = Envelope("from@platform.example", (Recipient("to@export.example"),), "192.0.2.1")
PLAN = Plan(Disposition.RELAY, ("one@agiris.example", "two@agiris.example"), firm="dupont", dossier="0042",
            documents=(KEPT, ORIGINAL))  # fmt: skip
MESSAGE = Message("Q1", ENVELOPE, b"12345", (PLAN,), 0.0, "f", "<id \n@platform.example>")
DELIVERY = Delivery(
    "Q1", 2, 0, "one@agiris.example", State.ACTIVE, 1e12, None, attempts=3, firm="dupont", dossier="0042"
)
OF_DELIVERY: dict[str, Any] = {
    "delivery": "Q1.2",
    "client": "dupont/0042",
    "recipient": "*@agiris.example",
    "smarthost": "default",
    "attempt": 3,
}
ACCEPTED = line(
    "info",
    "accepted",
    queue_id="Q1",
    peer="192.0.2.1",
    sender="*@platform.example",
    recipients=["*@export.example"],
    message_id="<id%20%0A@platform.example>",
    size=5,
    seconds=0.1235,
)
PLANNED: dict[str, Any] = {
    "queue_id": "Q1",
    "client": "dupont/0042",
    "by": PLAN.by,
    "role": PLAN.role.value,
    "recipients": ["*@agiris.example", "*@agiris.example"],
    "reason": None,
    "kept": ["a" * 64],
    "cut": ["b" * 64],
    "originals_cut": 1,
}
DUPLICATE = {"recipients": ["*@agiris.example"], "reason": "duplicate_document"}
ANSWERED = {"acceptance_duration_seconds_count": 1, "acceptance_duration_seconds_sum": 0.5}
BUSY = Reply(451, "4.3.2", "busy")
DOMAINS = {"sender_domain": "platform.example", "recipient_domains": ["export.example"]}
ENDED = {"delivery_seconds_count": 1, "delivery_seconds_sum": 0.25}


def tempfailed(cause: TransactionRejectCause, level: str, name: str) -> Case:
    return (
        events.MessageTempfailed("Q1", ENVELOPE, cause, BUSY, "full", 0.5),
        [line(level, name, queue_id="Q1", reply="451 4.3.2", why="full", peer="192.0.2.1", **DOMAINS)],
        {
            'messages_received_total{result="tempfailed"}': 1,
            f'rejections_total{{cause="{cause.value}",stage="data"}}': 1,
            **ANSWERED,
        },
    )


def acted(verb: str, number: int = 2, level: str = "info") -> Case:
    return (
        events.OperatorActed("Q1", HistoryEntry(0.0, number, verb, "as anne@firm.example said", "anne")),
        [
            line(
                level,
                verb,
                queue_id="Q1",
                delivery=f"Q1.{number}" if number else None,
                operator="anne",
                why="as *@firm.example said",
                ordered="1970-01-01T00:00:00Z",
            )
        ],
        {},
    )


CASES: list[Case] = [
    (events.ConnectionOpened("192.0.2.1", "127.0.0.1:25"), [], {"connections_total": 1}),
    (
        events.ConnectionRejected("192.0.2.1", RejectCause.NETWORK),
        [{"level": "warning", "event": "connection_rejected", "peer": "192.0.2.1", "cause": "network"}],
        {'connections_rejected_total{cause="network"}': 1},
    ),
    (
        events.AuthenticationFailed("192.0.2.1", 3),
        [{"level": "warning", "event": "authentication_failed", "peer": "192.0.2.1", "failures": "3"}],
        {"authentication_failures_total": 1},
    ),
    (
        events.SessionError("192.0.2.1", "timeout"),
        [{"level": "info", "event": "session_error", "peer": "192.0.2.1", "why": "timeout"}],
        {},
    ),
    (
        events.SessionError("192.0.2.1", "too many errors", Reply(500, "5.5.1", "command not recognized")),
        [
            {
                "level": "info",
                "event": "session_error",
                "peer": "192.0.2.1",
                "why": "too many errors",
                "last": "500 5.5.1 command not recognized",
            }
        ],
        {},
    ),
    (
        events.TransactionRejected(
            "192.0.2.1",
            Stage.RCPT,
            TransactionRejectCause.RECIPIENT,
            Reply(550, "5.7.1", "not ours"),
            "secret@platform.example",
            ("secret@one.example", "secret@two.example", "secret@one.example"),
        ),
        [
            {
                "level": "warning",
                "event": "rejected",
                "peer": "192.0.2.1",
                "stage": "rcpt",
                "cause": "recipient",
                "reply": "550 5.7.1 not ours",
                "sender_domain": "platform.example",
                "recipient_domains": ["one.example", "two.example"],
            }
        ],
        {'rejections_total{cause="recipient",stage="rcpt"}': 1},
    ),
    (
        events.TransactionRejected(
            "192.0.2.1", Stage.MAIL, TransactionRejectCause.SYNTAX, Reply(501, "5.5.4", "syntax error")
        ),
        [
            {
                "level": "warning",
                "event": "rejected",
                "peer": "192.0.2.1",
                "stage": "mail",
                "cause": "syntax",
                "reply": "501 5.5.4 syntax error",
            }
        ],
        {'rejections_total{cause="syntax",stage="mail"}': 1},
    ),
    (
        events.FinalReply(552, 0.5),
        [],
        {
            'messages_received_total{result="rejected"}': 1,
            "acceptance_duration_seconds_count": 1,
            "acceptance_duration_seconds_sum": 0.5,
        },
    ),
    (
        events.FinalReply(451, 0.5),
        [],
        {
            'messages_received_total{result="tempfailed"}': 1,
            "acceptance_duration_seconds_count": 1,
            "acceptance_duration_seconds_sum": 0.5,
        },
    ),
    (
        events.InternalError("accept", ERROR),
        [{"level": "error", "event": "internal_error", "where": "accept", "error": "ValueError", "at": ""}],
        {},
    ),
    (
        events.InternalError("delivery", ERROR, "192.0.2.1", "Q1"),
        [
            {
                "level": "error",
                "event": "internal_error",
                "queue_id": "Q1",
                "where": "delivery",
                "peer": "192.0.2.1",
                "error": "ValueError",
                "at": "",
            }
        ],
        {},
    ),
    (
        events.MessageAccepted(MESSAGE, (REPORT,), 0.12345),
        [ACCEPTED, CHECKED, line("info", "queued", **PLANNED)],
        {
            'messages_received_total{result="accepted"}': 1,
            "acceptance_duration_seconds_count": 1,
            "acceptance_duration_seconds_sum": 0.12345,
            'plans_total{disposition="relay",reason=""}': 1,
            "originals_removed_total": 1,
            **COUNTED,
        },
    ),
    (  # the spool held one of the two deliveries
        events.MessageAccepted(MESSAGE, (), 0.12345, (replace(DELIVERY, reason=Reason.DUPLICATE_DOCUMENT),)),
        [
            ACCEPTED,
            line("info", "queued", **PLANNED | {"recipients": ["*@agiris.example"]}),
            line("warning", "held", **PLANNED | DUPLICATE),
        ],
        {
            'messages_received_total{result="accepted"}': 1,
            "acceptance_duration_seconds_count": 1,
            "acceptance_duration_seconds_sum": 0.12345,
            'plans_total{disposition="relay",reason=""}': 1,
            "originals_removed_total": 1,
        },
    ),
    (
        events.DuplicateSubmission("Q1", 0.5),
        [line("info", "duplicate_submission", queue_id="Q1")],
        {'messages_received_total{result="duplicate"}': 1, **ANSWERED},
    ),
    (
        events.MessageRejected("Q1", ENVELOPE, Reason.LOOP, Reply(550, "5.4.6", "loop"), 0.5, (REPORT,)),
        [
            line(
                "warning",
                "rejected",
                queue_id="Q1",
                peer="192.0.2.1",
                stage="data",
                cause="content",
                reason="loop",
                reply="550 5.4.6",
                **DOMAINS,
            ),
            CHECKED,
        ],
        {
            'messages_received_total{result="rejected"}': 1,
            'rejections_total{cause="content",stage="data"}': 1,
            'plans_total{disposition="refuse",reason="loop"}': 1,
            **ANSWERED,
            **COUNTED,
        },
    ),
    tempfailed(TransactionRejectCause.CHECKER_OVERLOADED, "warning", "checker_overloaded"),
    tempfailed(TransactionRejectCause.STORAGE_FULL, "error", "spool_full"),
    tempfailed(TransactionRejectCause.STORAGE_FAILED, "error", "store_failed"),
    (
        events.SenderTempfailed(TransactionRejectCause.STORAGE_FULL, BUSY, "full"),
        [line("error", "spool_full", stage="mail", reply="451 4.3.2", why="full")],
        {'rejections_total{cause="storage_full",stage="mail"}': 1},
    ),
    (
        events.BounceReceived("Q1", True),
        [line("info", "bounce_received", queue_id="Q1", failed=True)],
        {"bounces_received_total": 1},
    ),
    (events.AttemptStarted(DELIVERY), [line("info", "attempt", queue_id="Q1", **OF_DELIVERY)], {}),
    (
        events.AttemptEnded(
            replace(DELIVERY, firm=None),
            Delivered(Reply(250, "", "ok")),
            Transition(State.DELIVERED, None, "250 ok", "delivered"),
            0.25,
        ),
        [line("info", "delivered", queue_id="Q1", **OF_DELIVERY | {"client": None}, reply="250 ok", seconds=0.25)],
        {
            'delivery_attempts_total{outcome="delivered",smarthost="default"}': 1,
            'last_success_timestamp_seconds{destination="agiris"}': NOW,
            "delivery_age_seconds_count": 1,
            **ENDED,
        },
    ),
    (
        events.AttemptEnded(
            DELIVERY, Deferred(BUSY, Stage.AUTH, True), Transition(State.DEFERRED, 7.5, "451 busy", "deferred"), 0.25
        ),
        [
            line(
                "error",
                "deferred",
                queue_id="Q1",
                alert=True,
                **OF_DELIVERY,
                stage="auth",
                reply="451 busy",
                next_attempt=7.5,
                seconds=0.25,
            )
        ],
        {
            'delivery_attempts_total{outcome="deferred",smarthost="default"}': 1,
            'deferrals_total{alert="true",smarthost="default",stage="auth"}': 1,
            **ENDED,
        },
    ),
    (
        events.AttemptEnded(DELIVERY, Failed(BUSY, Stage.RCPT), Transition(State.FAILED, None, "550", "failed"), 0.25),
        [line("warning", "failed", queue_id="Q1", **OF_DELIVERY, stage="rcpt", reply="550", seconds=0.25)],
        {'delivery_attempts_total{outcome="failed",smarthost="default"}': 1, **ENDED},
    ),
    (
        events.AttemptEnded(
            DELIVERY, OutcomeUnknown(BUSY), Transition(State.DEFERRED, None, "lost", "outcome_unknown"), 0.25, False
        ),
        [
            line(
                "warning",
                "attempt_unconfirmed",
                queue_id="Q1",
                **OF_DELIVERY,
                stage="body",
                reply="lost",
                seconds=0.25,
            )
        ],
        {'delivery_attempts_total{outcome="outcome_unknown",smarthost="default"}': 1, **ENDED},
    ),
    (
        events.OutcomeNotRecorded(DELIVERY, "no room"),
        [line("error", "spool_full", queue_id="Q1", **OF_DELIVERY, error="no room")],
        {},
    ),
    (events.DeliveryDelayed(DELIVERY), [line("warning", "delayed", queue_id="Q1", **OF_DELIVERY)], {}),
    (
        events.NotificationQueued(Notice.LATE, "Q9", 4),
        [line("info", "notification_queued", queue_id="Q9", about="late", deliveries=4)],
        {'notifications_queued_total{about="late"}': 1},
    ),
    acted("released"),
    acted("retried"),
    acted("dropped"),
    acted("held", level="warning"),
    acted("replanned", number=0),
    (events.WorkerStarted(7), [line("info", "worker_started", pid=7)], {}),
    *(
        (
            events.WorkerReplaced(7, cause),
            [line(level, name, pid=7, cause=cause.value)],
            {f'worker_restarts_total{{cause="{cause.value}"}}': 1.0},
        )
        for cause, level, name in (
            (Restart.CRASHED, "warning", "worker_restarted"),
            (Restart.TIMEOUT, "warning", "worker_restarted"),
            (Restart.MEMORY, "info", "worker_retired"),
            (Restart.RECYCLED, "info", "worker_retired"),
        )
    ),
    (
        events.WorkerSandboxed(7, ("landlock", "seccomp"), ()),
        [line("info", "sandbox_in_force", pid=7, protections=["landlock", "seccomp"])],
        {},
    ),
    (
        events.WorkerSandboxed(7, ("landlock",), ("seccomp",)),
        [line("warning", "sandbox_incomplete", pid=7, protections=["landlock"], missing=["seccomp"])],
        {},
    ),
    (events.SelfTested(None), [line("info", "self_test_passed")], {"self_test_success": 1}),
    (events.SelfTested("BR-1"), [line("error", "self_test_failed", why="BR-1")], {}),
    (events.SpoolOpened({"queued": 2}), [line("info", "spool_opened", deliveries={"queued": 2})], {}),
    (events.MessageCorrupt("Q1"), [line("error", "message_corrupt", text="Q1")], {}),
    (events.SpoolBroken("EIO"), [line("error", "spool_broken", why="EIO")], {}),
    (events.MessagesPurged(5), [line("info", "purged", mails=5)], {}),
    (
        events.Started(["127.0.0.1:25"], None),
        [line("info", "started", listen=["127.0.0.1:25"], http=None)],
        {},
    ),
    (events.Stopping(), [line("info", "stopping")], {}),
    (events.Stopped(1, 74), [line("info", "stopped", unfinished=1, code=74)], {}),
    (
        events.ConfigurationInForce(10, 2, ("agiris",), (), {"127.0.0.1:25": 2e9}),
        [],
        {
            "config_last_reload_success": 1,
            "config_last_reload_success_timestamp_seconds": NOW,
            "clients": 10,
            "firms": 2,
            'last_success_timestamp_seconds{destination="agiris"}': 0,
            'certificate_expiry_timestamp_seconds{listen="127.0.0.1:25"}': 2e9,
        },
    ),
    (events.Reloaded(10, 3), [line("info", "reloaded", clients=10, files_read=3)], {}),
    (
        events.ReloadFailed(["one", "two"], 10),
        [
            line("error", "reload_failed", fault="one"),
            line("error", "reload_failed", fault="two"),
            line("error", "reload_failed", clients=10, text="the old configuration stays"),
        ],
        {},
    ),
    (events.ConfigurationWarning("odd"), [line("warning", "config_warning", fault="odd")], {}),
    (events.SignalIgnored("SIGUSR1"), [line("warning", "signal_ignored", signal="SIGUSR1")], {}),
    (events.Stalled("stuck"), [line("error", "stalled", text="stuck")], {}),
]


@pytest.mark.parametrize(
    ("event", "records", "changed"), CASES, ids=[f"{type(case[0]).__name__}-{n}" for n, case in enumerate(CASES)]
)
def test_an_event_makes_its_log_line_and_its_metric(
    event: events.Event, records: list[dict[str, Any]], changed: dict[str, float]
) -> None:
    log, counted = observed(event)
    assert log == records
    assert [list(record) for record in log] == [list(record) for record in records], "the order of the fields"
    assert counted == changed


def test_every_type_of_event_is_in_the_table_and_has_its_case() -> None:
    types = {value for value in vars(events).values() if isinstance(value, type) and issubclass(value, events.Event)}
    types.remove(events.Event)
    assert types == set(observer._TABLE)
    assert types == {type(event) for event, _, _ in CASES}


def test_a_line_whose_fields_cannot_be_made_is_an_internal_error() -> None:
    log, _ = observed(events.MessageAccepted(replace(MESSAGE, message_id="\udc80"), (), 0.5))
    assert [(record["event"], record["error"]) for record in log] == [("internal_error", "UnicodeEncodeError")]
