"""Status notifications and notices: to whom, about what, and to whom never."""

from dataclasses import replace
from email import message_from_bytes, policy

import pytest

from relay.dsn.bounces import parse_dsn
from relay.lifecycle import Transition
from relay.model import Delivery, Disposition, Envelope, Message, Plan, Recipient, Retry, State
from relay.notifications import Item, notice, status_report
from relay.notifications.notice import MAX_LISTED
from relay.reasons import Reason

NOW = 1_795_000_000.0


def accepted(
    sender: str = "platform@jefacture.example", notify: frozenset[str] = frozenset(), own: bool = False
) -> Message:
    plan = Plan(Disposition.RELAY, to=("a@agiris.example",), answers=("martin@export.example",))
    recipients = (Recipient("martin@export.example", notify, "rfc822;martin@export.example"), Recipient("x@y.example"))
    envelope = Envelope(sender, recipients, envid="E1")
    return Message("Q1", envelope, b"Subject: x\r\n\r\nsecret body\r\n", (plan,), NOW - 60, "f", generated=own)


def delivery(**kwargs: object) -> Delivery:
    base = {"queue_id": "Q1", "number": 1, "plan": 0, "recipient": "a@agiris.example", "state": State.ACTIVE}
    return Delivery(**{**base, "arrived": NOW - 60, "next_attempt": None, **kwargs})  # type: ignore[arg-type]


FAILED = Transition(State.FAILED, None, "550 5.1.1 no such user", "failed", report="failed")
LATE = Transition(State.DEFERRED, NOW + 60, "451 4.4.1 no connection", "deferred", report="late")

RELAYED = Transition(State.DELIVERED, None, "250 2.0.0 Ok: queued as 4F1", "delivered", report="delivered")


def send(about: Message, transition: Transition) -> tuple[Message, ...]:
    return status_report(about, delivery(), transition, hostname="relay.example", retry=Retry(), now=NOW)


def test_a_failure_is_reported_to_the_sender_from_the_null_sender() -> None:
    (report,) = send(accepted(), FAILED)
    assert (report.envelope.sender, report.plans[0].to, report.generated) == ("", ("platform@jefacture.example",), True)
    bounce = parse_dsn(report.raw)
    assert bounce is not None
    assert (bounce.action, bounce.status, bounce.recipient) == ("failed", "5.1.1", "martin@export.example")
    message = message_from_bytes(report.raw, policy=policy.default)
    assert message["Auto-Submitted"] == "auto-replied"
    assert b"secret body" not in report.raw
    assert b"x@y.example" not in report.raw


def test_a_delay_is_reported_to_the_sender_as_delayed() -> None:
    (report,) = send(accepted(), LATE)
    bounce = parse_dsn(report.raw)
    assert bounce is not None
    assert (bounce.action, bounce.status) == ("delayed", "4.4.1")


@pytest.mark.parametrize(
    ("about", "transition"),
    [
        (accepted(sender=""), FAILED),
        (accepted(own=True), FAILED),
        (accepted(notify=frozenset({"NEVER"})), FAILED),
        (accepted(notify=frozenset({"FAILURE"})), LATE),
        (accepted(notify=frozenset({"SUCCESS"})), FAILED),
        (accepted(), Transition(State.DELIVERED, None, "250 ok", "delivered")),
        (accepted(), RELAYED),
        (accepted(notify=frozenset({"FAILURE", "DELAY"})), RELAYED),
        (accepted(notify=frozenset({"NEVER"})), RELAYED),
        (accepted(sender="", notify=frozenset({"SUCCESS"})), RELAYED),
    ],
)
def test_no_status_notification_is_sent_where_none_may_be(about: Message, transition: Transition) -> None:
    assert send(about, transition) == ()


def test_success_is_reported_as_relayed_on_request() -> None:
    (report,) = send(accepted(notify=frozenset({"SUCCESS", "FAILURE"})), RELAYED)
    bounce = parse_dsn(report.raw)
    assert bounce is not None
    assert (bounce.action, bounce.status, bounce.recipient) == ("relayed", "2.0.0", "martin@export.example")
    assert b"queued as" not in report.raw


@pytest.mark.parametrize(
    ("sender", "notify", "own", "asked"),
    [
        ("p@x.example", {"SUCCESS"}, False, True),
        ("p@x.example", {"FAILURE"}, False, False),
        ("p@x.example", set(), False, False),
        ("", {"SUCCESS"}, False, False),
        ("p@x.example", {"SUCCESS"}, True, False),
    ],
)
def test_success_is_reported_only_on_request_and_never_to_the_null_sender(
    sender: str, notify: set[str], own: bool, asked: bool
) -> None:
    assert accepted(sender, frozenset(notify), own).wants_success_notice(0) == asked


@pytest.mark.parametrize(("ret", "whole"), [("FULL", True), ("HDRS", False), (None, False)])
def test_ret_full_returns_the_message(ret: str | None, whole: bool) -> None:
    given = accepted()
    (report,) = send(replace(given, envelope=replace(given.envelope, ret=ret)), FAILED)
    assert (b"secret body" in report.raw) == whole


@pytest.mark.parametrize(
    ("reply", "diagnostic"),
    [
        ("550 5.1.1 <a@agiris.example> unknown", "smtp; 550 5.1.1 bad destination mailbox address"),
        ("552 5.2.2 a@agiris.example is full", "smtp; 552 5.2.2 mailbox full"),
        ("550 a@agiris.example unknown", "smtp; 550"),
        ("550 5.99.9 a@agiris.example", "smtp; 550 5.99.9"),
        ("smarthost of a@agiris.example is gone", None),
    ],
)
def test_a_status_notification_gives_the_codes_of_a_reply_and_not_its_text(reply: str, diagnostic: str | None) -> None:
    (report,) = send(accepted(), replace(FAILED, reply=reply))
    message = message_from_bytes(report.raw, policy=policy.default)
    status = next(part for part in message.walk() if part.get_content_type() == "message/delivery-status")
    assert status.get_payload()[1]["Diagnostic-Code"] == diagnostic
    assert b"agiris.example" not in report.raw


def body(made: Message) -> str:
    message = message_from_bytes(made.raw, policy=policy.default)
    return str(message.get_content())


def send_notice(items: list[Item], language: str = "fr", firm: str = "Cabinet Durand") -> Message:
    return notice(
        items, firm=firm, to="op@firm.example", language=language, hostname="r.example", smarthost="default", now=NOW
    )


def held(number: int, reason: Reason = Reason.WRONG_CLIENT) -> Item:
    return Item(
        "held", delivery(queue_id=f"Q{number}", dossier="00012345", state=State.HELD, reason=reason, detail="D")
    )


def test_a_thousand_held_messages_make_one_short_notice() -> None:
    made = send_notice([held(number) for number in range(1000)])
    text = body(made)
    assert text.count("00012345") == MAX_LISTED
    assert f"… et {1000 - MAX_LISTED} de plus" in text
    assert len(text.splitlines()) < 40
    assert message_from_bytes(made.raw, policy=policy.default)["Subject"] == "Cabinet Durand\u00a0: 1000 retenus"


def test_each_cause_has_its_sentence_and_its_fix_in_both_languages() -> None:
    late = Item("late", delivery(queue_id="QL", state=State.DEFERRED, last_reply="451 4.4.1 no connection"))
    items = [held(1), held(2, Reason.UNKNOWN_CLIENT), late]
    french, english = body(send_notice(items)), body(send_notice(items, "en"))
    assert "ni le vendeur ni l'acheteur" in french
    assert "queue replan" in french
    assert "451 4.4.1 no connection" in french
    assert "neither seller nor buyer" in english
    assert "unknown client" in english


def test_a_firms_name_cannot_write_a_header() -> None:
    made = send_notice([held(1)], firm="Cabinet\r\nBcc: thief@evil.example")
    assert message_from_bytes(made.raw, policy=policy.default)["Bcc"] is None


def failed(reply: str) -> Item:
    return Item("failed", delivery(queue_id="QF", state=State.FAILED, dossier="00012345", last_reply=reply))


@pytest.mark.parametrize(
    ("reply", "replan"),
    [
        ("550 5.1.1 no such mailbox", True),
        ("550 5.1.10 recipient not found", True),
        ("550 no such user here", True),
        ("553 unknown recipient", True),
        ("550 5.2.1 mailbox disabled", True),
        ("failed 5.1.1 550 5.1.1 no such user", True),
        ("550 5.4.4 host not found", True),
        ("550 5.7.1 message rejected", False),
        ("550 5.1.8 sender unknown", False),
        ("550 5.1.7 bad sender", False),
        ("554 5.6.0 content", False),
        ("552 5.3.4 too large", False),
        ("451 4.4.1 no connection", False),
        ("552 5.2.2 mailbox full", False),
    ],
)
def test_the_fix_of_a_wrong_address_is_replan_and_of_another_cause_retry(reply: str, replan: bool) -> None:
    for language in ("fr", "en"):
        text = body(send_notice([failed(reply)], language))
        assert ("agiris-relay queue replan ID" in text, "agiris-relay queue retry ID" in text) == (replan, not replan)
        assert reply in text


def test_a_notice_of_late_messages_alone_asks_for_nothing() -> None:
    late = Item("late", delivery(queue_id="QL", state=State.DEFERRED, last_reply="451 4.4.1 no connection"))
    for language, decide, wait in (
        ("fr", "Les pièces suivantes attendent votre décision.", "vous n'avez rien à faire."),
        ("en", "The following documents wait for your decision.", "you need not do anything."),
    ):
        assert wait in body(send_notice([late], language)) and decide not in body(send_notice([late], language))
        assert decide in body(send_notice([late, held(1)], language)) and wait not in body(
            send_notice([late, held(1)], language)
        )
