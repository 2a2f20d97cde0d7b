"""Metrics: what a method counts, closed labels, and the page Prometheus reads."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from relay.inspection import Kind, Report, Verdict
from relay.model import (
    Action,
    Delivery,
    Disposition,
    Document,
    DocumentPart,
    Envelope,
    Message,
    Plan,
    Recipient,
    Span,
    State,
)
from relay.observability.events import Answer, Notice, RejectCause, Restart, TransactionRejectCause
from relay.observability.metrics import Metrics
from relay.observability.series import Process
from relay.reasons import Reason
from relay.replies import Deferred, Delivered, Failed, OutcomeUnknown, Reply, Stage

REPORT = Report("a" * 64, 10, Verdict.VALID, Kind.FACTURX, ms=20.0)
ORIGINAL = Report("b" * 64, 10, Verdict.NOT_FACTURX, Kind.PDF, ms=1.0)


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def metrics(clock):
    return Metrics(clock)


def value(metrics, name, **labels):
    return metrics.value(f"agiris_relay_{name}", **labels)


def mail(*plans):
    return Message("Q", Envelope("a@b", (Recipient("c@d"),)), b"raw", plans, 0.0, "f")


def delivery(**more):
    return Delivery("Q", 1, 0, "x@agiris.example", State.ACTIVE, 999_990.0, None, **more)


def test_an_accepted_message_counts_its_plans_documents_and_cuts(metrics):
    original = Document("b.pdf", Span(5, 9), DocumentPart.ORIGINAL, Action.REMOVE, ORIGINAL)
    kept = Document("a.pdf", Span(0, 5), DocumentPart.FACTURX, Action.KEEP, REPORT)
    relayed = Plan(Disposition.RELAY, ("x@y",), documents=(kept, original))
    held = Plan(Disposition.HOLD, reason=Reason.WRONG_CLIENT, documents=(original,))
    metrics.accepted(mail(relayed, held), (REPORT, ORIGINAL), 0.03)
    assert value(metrics, "messages_received_total", result="accepted") == 1
    assert value(metrics, "plans_total", disposition="relay", reason="") == 1
    assert value(metrics, "plans_total", disposition="hold", reason="wrong_client") == 1
    assert value(metrics, "documents_total", verdict="valid", kind="factur-x") == 1
    assert value(metrics, "documents_total", verdict="not-factur-x", kind="pdf") == 1
    assert value(metrics, "originals_removed_total") == 1, "one original cut for two plans is one"
    assert value(metrics, "check_seconds_sum") == pytest.approx(0.021)
    assert value(metrics, "acceptance_duration_seconds_count") == 1


def test_the_other_replies_of_the_server(metrics):
    metrics.duplicate(0.1)
    metrics.message_rejected(Reason.UNKNOWN_CLIENT, 0.1)
    metrics.message_rejected(None, 0.1)
    metrics.message_tempfailed(TransactionRejectCause.CHECKER_OVERLOADED, 0.1)
    assert [value(metrics, "messages_received_total", result=answer.value) for answer in Answer] == [0, 1, 2, 1]
    assert value(metrics, "plans_total", disposition="refuse", reason="unknown_client") == 1
    assert value(metrics, "plans_total", disposition="refuse", reason="") == 1
    assert value(metrics, "acceptance_duration_seconds_count") == 4


def test_connections(metrics):
    metrics.connected()
    metrics.connections_open(1)
    metrics.connection_rejected(RejectCause.HOST_LIMIT)
    metrics.authentication_failed()
    metrics.bounce_received()
    assert value(metrics, "connections_total") == 1 and value(metrics, "connections_open") == 1
    assert value(metrics, "connections_rejected_total", cause="host_limit") == 1
    assert value(metrics, "authentication_failures_total") == 1 and value(metrics, "bounces_received_total") == 1


@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        (Delivered(Reply(250, "2.0.0", "ok")), "delivered"),
        (Deferred(Reply(451, "4.3.0", "later"), Stage.RCPT), "deferred"),
        (Failed(Reply(550, "5.1.1", "no"), Stage.RCPT), "failed"),
        (OutcomeUnknown(Reply(451, "4.4.2", "lost")), "outcome_unknown"),
    ],
)
def test_an_attempt_counts_by_outcome_and_smarthost(metrics, outcome, name):
    metrics.attempted(delivery(smarthost="backup"), outcome, 0.5)
    assert value(metrics, "delivery_attempts_total", outcome=name, smarthost="backup") == 1
    assert value(metrics, "delivery_seconds_count") == 1
    success = value(metrics, "last_success_timestamp_seconds", destination="agiris")
    assert success == (1_000_000.0 if name == "delivered" else None)
    assert value(metrics, "delivery_age_seconds_sum") == (10 if name == "delivered" else 0)


def test_a_deferral_tells_where_and_whether_someone_must_act(metrics):
    metrics.attempted(delivery(), Deferred(Reply(535, "5.7.8", "password"), Stage.AUTH, alert=True), 0.1)
    assert value(metrics, "deferrals_total", smarthost="default", stage="auth", alert="true") == 1


def test_the_age_of_the_oldest_grows_between_two_looks_at_the_spool(metrics, clock):
    assert value(metrics, "oldest_queued_age_seconds") == 0
    metrics.spool({State.QUEUED: 3}, {"wrong_client": 2}, clock.now - 60, 4096, 10**9, corrupt=1, writable=False)
    clock.now += 40
    assert value(metrics, "oldest_queued_age_seconds") == 100
    assert value(metrics, "deliveries", state="queued") == 3 and value(metrics, "deliveries", state="failed") == 0
    assert value(metrics, "deliveries_held", reason="wrong_client") == 2
    assert value(metrics, "spool_bytes") == 4096 and value(metrics, "spool_free_bytes") == 10**9
    assert value(metrics, "spool_corrupt_messages") == 1 and value(metrics, "spool_writable") == 0
    metrics.spool({}, {}, None, 0, None)
    assert value(metrics, "oldest_queued_age_seconds") == 0 and value(metrics, "deliveries", state="queued") == 0
    assert value(metrics, "deliveries_held", reason="wrong_client") == 0


def test_a_bad_reload_leaves_the_time_of_the_good_one(metrics, clock):
    metrics.configured(10, 2, ("agiris",), ("default",), {})
    clock.now += 60
    metrics.reload_failed()
    assert value(metrics, "config_last_reload_success") == 0
    assert value(metrics, "config_last_reload_success_timestamp_seconds") == 1_000_000.0
    assert value(metrics, "clients") == 10 and value(metrics, "firms") == 2
    assert value(metrics, "last_success_timestamp_seconds", destination="agiris") == 0
    assert value(metrics, "delivery_attempts_total", outcome="failed", smarthost="default") == 0
    assert value(metrics, "deferrals_total", smarthost="default", stage="auth", alert="true") == 0


def test_the_machine(metrics):
    metrics.workers(busy=1, idle=2, waiting=3)
    metrics.worker_restarted(Restart.TIMEOUT)
    metrics.event_loop_lag(lambda: 0.25)
    metrics.self_test(True)
    metrics.configured(1, 1, (), (), {"127.0.0.1:2525": 2e9})
    metrics.internal_error()
    metrics.notification_queued(Notice.LATE)
    assert value(metrics, "workers", state="idle") == 2 and value(metrics, "check_queue_length") == 3
    assert value(metrics, "worker_restarts_total", cause="timeout") == 1
    assert value(metrics, "event_loop_lag_seconds") == 0.25
    assert value(metrics, "certificate_expiry_timestamp_seconds", listen="127.0.0.1:2525") == 2e9
    assert value(metrics, "self_test_success") == 1 and value(metrics, "internal_errors_total") == 1
    assert value(metrics, "notifications_queued_total", about="late") == 1


def test_two_daemons_in_one_process_do_not_share(metrics):
    metrics.internal_error()
    assert value(Metrics(), "internal_errors_total") == 0


def test_no_label_can_hold_an_address_a_file_or_an_invoice(metrics):
    open_labels = {"smarthost", "destination", "listen", "version", "python"}
    closed = {"result", "disposition", "reason", "verdict", "kind", "cause", "outcome", "stage", "alert", "state"}
    assert {label for family in metrics.families for label in family.labels} == open_labels | closed | {"about"}


def test_names_and_units_follow_prometheus(metrics):
    for family in metrics.families:
        assert family.name.startswith("agiris_relay_")
        assert family.name.endswith("_total") == (family.type == "counter")
        assert not any(unit in family.name for unit in ("_ms", "_millis", "_kb", "_minutes"))
        assert family.help.endswith(".")


def test_the_page_is_what_is_declared_and_nothing_else(metrics):
    metrics.accepted(mail(Plan(Disposition.RELAY, ("x@y",))), (REPORT,), 0.1)
    page = metrics.exposition()[0].decode()
    exposed = {each.name for each in text_string_to_metric_families(page) if not each.name.startswith("process_")}
    assert exposed == {family.name.removesuffix("_total") for family in metrics.families}
    assert "_created" not in page


def test_process_figures_without_the_files_that_procsubset_pid_hides(tmp_path):
    (tmp_path / "self").symlink_to(f"/proc/{Path('/proc/self').resolve().name}")
    hidden, seen = CollectorRegistry(), CollectorRegistry()
    Process(proc=str(tmp_path), registry=hidden)
    Process(registry=seen)
    assert hidden.get_sample_value("process_resident_memory_bytes") > 1_000_000
    start = hidden.get_sample_value("process_start_time_seconds")
    assert start == pytest.approx(seen.get_sample_value("process_start_time_seconds"), abs=1)
    assert start == pytest.approx(Path("/proc/self").stat().st_ctime, abs=120)
