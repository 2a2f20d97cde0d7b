"""Each type of event makes its log line and its metric: a typed value in, a record and changed samples out."""

from typing import Any

import pytest

from relay.observability import events, observer
from relay.observability.events import RejectCause, TransactionRejectCause
from relay.observability.log import capture
from relay.observability.metrics import Metrics
from relay.observability.observer import Observer
from relay.replies import Reply, Stage

ERROR = ValueError("confidential")


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample of ours but the buckets of histograms, under its name and labels without the prefix."""
    page = metrics.exposition()[0].decode()
    lines = [line.rpartition(" ") for line in page.splitlines() if line.startswith("agiris_relay_")]
    return {name.removeprefix("agiris_relay_"): float(value) for name, _, value in lines if "_bucket{" not in name}


def observed(*happened: events.Event, level: str = "info") -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The log records that `happened` make, without their time, and the samples that they change."""
    metrics = Metrics()
    before = samples(metrics)
    with capture(level) as log:
        for event in happened:
            Observer(metrics).observe(event)
    changed = {name: value for name, value in samples(metrics).items() if before.get(name) != value}
    return [{key: value for key, value in record.items() if key != "time"} for record in log], changed


CASES: list[tuple[events.Event, list[dict[str, Any]], dict[str, float]]] = [
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
