"""What is rejected or put off leaves one line in the log, with the domains and no local part, and one count."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from relay.checker import CheckerOverloaded
from relay.intake import Intake
from relay.model import Claim, Envelope, Message, Recipient
from relay.observability.event_names import EventName
from relay.observability.events import Answer, MessageAccepted, TransactionRejectCause
from relay.observability.log import capture
from relay.observability.metrics import Metrics
from relay.observability.observer import Observer
from relay.reasons import Reason
from relay.replies import Stage
from relay.routing.directory import Directory
from relay.spool.port import Reservation, SpoolBroken, SpoolError, SpoolFull, Stored
from tests.support.checker_in_process import CheckerInProcess
from tests.support.decisions import terms
from tests.support.memory_spool import MemorySpool
from tests.support.smtp_server import Limits, Listener, Recorder, SmtpServer
from tests.support.spool_messages import CLIENT, facturx, mail, plan

SENDER = "MAIL FROM:<secret-sender@platform.example>"
RECIPIENT = "RCPT TO:<secret-client@export.example>"
TYPO = "RCPT TO:<secret-client@exprot.example>"
UP_TO_DATA = ("EHLO x", SENDER, RECIPIENT, "DATA")


@dataclass(frozen=True)
class Case:
    """What is sent, what is rejected and why, and how the final dot counts. senders: whether the sender is known."""

    name: str
    commands: Sequence[str]
    stage: Stage
    cause: TransactionRejectCause
    code: str
    recipients: tuple[str, ...] = ()
    sender: bool = True
    final: Answer | None = None


CASES = [
    Case(
        "an export domain with a typo",
        ("EHLO x", SENDER, TYPO),
        Stage.RCPT,
        TransactionRejectCause.RECIPIENT,
        "550",
        ("exprot.example",),
    ),
    Case(
        "a recipient without @",
        ("EHLO x", SENDER, "RCPT TO:<nobody>"),
        Stage.RCPT,
        TransactionRejectCause.SYNTAX,
        "501",
    ),
    Case(
        "a malformed sender",
        ("EHLO x", "MAIL FROM:<a@b@c>"),
        Stage.MAIL,
        TransactionRejectCause.SYNTAX,
        "501",
        sender=False,
    ),
    Case(
        "a size announced over the limit",
        ("EHLO x", f"{SENDER} SIZE=99999"),
        Stage.MAIL,
        TransactionRejectCause.MESSAGE_SIZE,
        "552",
    ),
    Case(
        "a message over the limit",
        (*UP_TO_DATA, "x\r\n" * 400 + "."),
        *(Stage.DATA, TransactionRejectCause.MESSAGE_SIZE, "552", ("export.example",)),
        final=Answer.REJECTED,
    ),
    Case(
        "a message far over the limit, which is not read to its end",
        (*UP_TO_DATA, "x\r\n" * 400_000),
        *(Stage.DATA, TransactionRejectCause.MESSAGE_SIZE, "552", ("export.example",)),
    ),
    Case(
        "a chunk over the limit, then its end",
        ("EHLO x", SENDER, RECIPIENT, "BDAT 1200\r\n" + "x" * 1198, "BDAT 0 LAST"),
        *(Stage.DATA, TransactionRejectCause.MESSAGE_SIZE, "552", ("export.example",)),
        final=Answer.REJECTED,
    ),
    Case(
        "a chunk of gigabytes",
        ("EHLO x", SENDER, RECIPIENT, "BDAT 9000000000"),
        *(Stage.DATA, TransactionRejectCause.MESSAGE_SIZE, "552", ("export.example",)),
    ),
    Case(
        "no memory for the message",
        (*UP_TO_DATA, "x\r\n" * 300 + "."),
        *(Stage.DATA, TransactionRejectCause.MEMORY, "452", ("export.example",)),
        final=Answer.TEMPFAILED,
    ),
    Case(
        "the second message of a minute",
        ("EHLO x", SENDER, "RSET", SENDER),
        Stage.MAIL,
        TransactionRejectCause.RATE,
        "450",
    ),
]


def counted(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Rejections by stage and cause, those that are not zero."""
    pairs = product((Stage.MAIL, Stage.RCPT, Stage.DATA), TransactionRejectCause)
    found = {
        (stage.value, cause.value): metrics.value("agiris_relay_rejections_total", stage=stage.value, cause=cause.value)
        for stage, cause in pairs
    }
    return {pair: value for pair, value in found.items() if value}


def answers(metrics: Metrics) -> dict[Answer, float]:
    found = {each: metrics.value("agiris_relay_messages_received_total", result=each.value) for each in Answer}
    return {each: value for each, value in found.items() if value}


@pytest.fixture
async def dialled() -> AsyncIterator[Any]:
    """`dialled(metrics, limits)` opens a door with one listener and connects; others: octets of other sessions."""
    opened: list[SmtpServer] = []

    async def dial(metrics: Metrics, limits: Limits, others: int = 0) -> tuple[Any, Any]:
        door = SmtpServer(
            [Listener()], lambda: limits, Recorder(), "mx.example", Observer(metrics).observe, memory=1000
        )
        opened.append(door)
        await door.start()
        door._context.memory.used = others  # octets that other sessions are receiving
        reader, writer = await asyncio.open_connection(*door.addresses[0])
        await reply(reader)
        return reader, writer

    yield dial
    for each in opened:
        each.close()


async def reply(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(30):
        while (line := await reader.readline())[3:4] == b"-":
            pass
    return line.decode().rstrip()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("level", ["info", "debug"])
async def test_a_rejection_is_one_line_with_the_domains_and_one_count(dialled: Any, case: Case, level: str) -> None:
    metrics = Metrics()
    limits = Limits(
        max_mail_size=1000, max_mails_per_minute_per_host=1 if case.cause is TransactionRejectCause.RATE else 0
    )
    others = 1000 if case.cause is TransactionRejectCause.MEMORY else 0
    with capture(level) as log:
        reader, writer = await dialled(metrics, limits, others)
        for each in case.commands:
            writer.write(each.encode() + b"\r\n")
            last = await reply(reader)
        writer.close()
    assert last.startswith(case.code)
    (line,) = [each for each in log if each["event"] == EventName.REJECTED]
    assert (line["stage"], line["cause"], line["reply"][:3]) == (case.stage, case.cause, case.code)
    assert line["peer"] == "127.0.0.1"
    assert line.get("sender_domain") == ("platform.example" if case.sender else None)
    assert tuple(line.get("recipient_domains", ())) == case.recipients
    assert "secret" not in str(log)
    assert counted(metrics) == {(case.stage.value, case.cause.value): 1}
    assert answers(metrics) == ({case.final: 1} if case.final else {})
    assert metrics.value("agiris_relay_acceptance_duration_seconds_count") == (1 if case.final else 0)


async def test_a_bug_at_the_final_dot_is_counted_as_answered_4xx(dialled: Any) -> None:
    metrics = Metrics()
    with capture() as log:
        reader, writer = await dialled(metrics, Limits())
        for each in ("EHLO x", SENDER, "RCPT TO:<fault@export.example>", "DATA", "x\r\n."):
            writer.write(each.encode() + b"\r\n")
            last = await reply(reader)
        writer.close()
    assert last.startswith("451 4.3.0")
    assert [each["event"] for each in log if each["level"] == "error"] == [EventName.INTERNAL_ERROR]
    assert answers(metrics) == {Answer.TEMPFAILED: 1}


# What the intake answers.


class FaultySpool(MemorySpool):
    """A spool whose `store` raises `error`, where one is given."""

    def __init__(self, error: SpoolError | None) -> None:
        super().__init__()
        self.error = error

    async def store(self, mail: Message, take: Reservation | None = None) -> Stored:
        if self.error is not None:
            raise self.error
        return await super().store(mail, take)

    def unhealthy(self) -> SpoolError | None:
        return self.error


class Queue:
    def reserve(self, mail: Message) -> Reservation | None:
        return None

    def stored(self, mail: Message, take: Reservation | None, claims: Sequence[Claim]) -> None: ...

    def give_back(self, mail: Message, take: Reservation) -> None: ...


ATTACHED = (
    b"Subject: secret\r\nMIME-Version: 1.0\r\nContent-Type: application/pdf\r\n"
    b'Content-Disposition: attachment; filename="a.pdf"\r\n\r\n%PDF\r\n'
)
ENVELOPE = Envelope("secret-sender@platform.example", (Recipient("secret-client@export.test"),), "192.0.2.1")


def intake(metrics: Metrics, spool: MemorySpool, checker: CheckerInProcess, broken: list[str]) -> Intake:
    directory = Directory(terms({}))
    return Intake(
        directory=lambda: directory,
        spool=spool,
        queue=Queue(),
        checker=checker,
        observe=Observer(metrics).observe,
        stored=lambda mail, stored: None,
        broken=broken.append,
    )


OBSTACLES = [
    pytest.param(
        SpoolFull("full"), None, "452", EventName.SPOOL_FULL, TransactionRejectCause.STORAGE_FULL, id="disk full"
    ),
    pytest.param(
        SpoolBroken("EIO"), None, "451", EventName.STORE_FAILED, TransactionRejectCause.STORAGE_FAILED, id="disk broken"
    ),
    pytest.param(
        None,
        CheckerOverloaded("busy"),
        "451",
        EventName.CHECKER_OVERLOADED,
        TransactionRejectCause.CHECKER_OVERLOADED,
        id="check overloaded",
    ),
]


@pytest.mark.parametrize(("error", "busy", "code", "event", "cause"), OBSTACLES)
async def test_what_puts_a_message_off_is_called_by_its_name(
    error: SpoolError | None, busy: Exception | None, code: str, event: EventName, cause: TransactionRejectCause
) -> None:
    metrics, broken = Metrics(), list[str]()
    with capture("info") as log:
        answer = await intake(metrics, FaultySpool(error), CheckerInProcess(busy), broken).accept(ENVELOPE, ATTACHED)
    assert str(answer).startswith(code)
    (line,) = log
    assert (line["event"], line["recipient_domains"]) == (event, ["export.test"])
    assert "secret" not in str(log)
    assert counted(metrics) == {("data", cause.value): 1}
    assert answers(metrics) == {Answer.TEMPFAILED: 1}
    assert broken == (["EIO"] if isinstance(error, SpoolBroken) else [])


@pytest.mark.parametrize(("error", "busy", "code", "event", "cause"), OBSTACLES[:2])
def test_a_refusal_of_mail_is_no_answer_to_a_final_dot(
    error: SpoolError, busy: None, code: str, event: EventName, cause: TransactionRejectCause
) -> None:
    metrics = Metrics()
    with capture() as log:
        answer = intake(metrics, FaultySpool(error), CheckerInProcess(busy), []).room()
    assert answer is not None and answer.code == int(code)
    assert [each["event"] for each in log] == [event]
    assert counted(metrics) == {("mail", cause.value): 1}
    assert answers(metrics) == {}
    assert metrics.value("agiris_relay_acceptance_duration_seconds_count") == 0


@pytest.mark.parametrize(
    ("recipients", "raw"),
    [
        (ENVELOPE.recipients, b""),
        ((*ENVELOPE.recipients, Recipient("secret+bounce@back.test")), ATTACHED),
    ],
    ids=["malformed", "a bounce address and another recipient"],
)
async def test_a_message_rejected_for_what_it_holds_tells_the_domains(
    recipients: tuple[Recipient, ...], raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics()
    monkeypatch.setattr(Directory, "is_return_path", lambda self, address: address.endswith("@back.test"))
    envelope = Envelope(ENVELOPE.sender, recipients, ENVELOPE.peer)
    with capture() as log:
        answer = await intake(metrics, FaultySpool(None), CheckerInProcess(), []).accept(envelope, raw)
    assert answer.code >= 500
    (line,) = log
    assert (line["event"], line["cause"], line["sender_domain"]) == (EventName.REJECTED, "content", "platform.example")
    assert line["recipient_domains"] == [each.address.rpartition("@")[2] for each in recipients]
    assert "secret" not in str(log)
    assert counted(metrics) == {("data", "content"): 1}
    assert answers(metrics) == {Answer.REJECTED: 1}


# A document that was relayed before.

OTHER = "other@agiris.example"


@pytest.mark.parametrize(
    ("recipients", "decided", "logged"),
    [
        ((CLIENT,), {"hold": 1}, [(EventName.HELD, [CLIENT])]),
        (
            (CLIENT, "other@agiris.example"),
            {"relay": 1},
            [(EventName.QUEUED, ["other@agiris.example"]), (EventName.HELD, [CLIENT])],
        ),
        (("other@agiris.example",), {"relay": 1}, [(EventName.QUEUED, ["other@agiris.example"])]),
    ],
    ids=["to the same address", "to it and another", "to another"],
)
async def test_a_document_held_because_it_came_before_is_not_counted_as_relayed(
    recipients: tuple[str, ...], decided: dict[str, int], logged: list[tuple[EventName, list[str]]]
) -> None:
    metrics, spool = Metrics(), MemorySpool()
    await spool.store(mail(plan(CLIENT, documents=(facturx("F-1"),)), hold_duplicates=True))
    again = mail(plan(*recipients, documents=(facturx("F-1"),)), hold_duplicates=True)
    stored = await spool.store(again)
    with capture("debug") as log:
        Observer(metrics).observe(MessageAccepted(again, (), 0.1, stored.held))
    lines = [each for each in log if each["event"] in (EventName.QUEUED, EventName.HELD)]
    assert [(each["event"], each["recipients"]) for each in lines] == logged
    assert all(each["reason"] == Reason.DUPLICATE_DOCUMENT for each in lines if each["event"] == EventName.HELD)
    found = {
        "relay": metrics.value("agiris_relay_plans_total", disposition="relay", reason=""),
        "hold": metrics.value("agiris_relay_plans_total", disposition="hold", reason="duplicate_document"),
    }
    assert {name: value for name, value in found.items() if value} == decided


async def test_a_message_with_bare_line_ends_is_rejected_as_any_other() -> None:
    metrics = Metrics()
    with capture() as log:
        answer = await intake(metrics, FaultySpool(None), CheckerInProcess(), []).accept(ENVELOPE, b"a: b\n\r\n")
    assert str(answer).startswith("554 5.6.11")
    (line,) = log
    assert (line["event"], line["stage"], line["cause"]) == (EventName.REJECTED, "data", "line_format")
    assert (line["peer"], line["sender_domain"]) == ("192.0.2.1", "platform.example")
    assert line["recipient_domains"] == ["export.test"] and "secret" not in str(log)
    assert counted(metrics) == {("data", "line_format"): 1}
    assert answers(metrics) == {Answer.REJECTED: 1}
    assert metrics.value("agiris_relay_acceptance_duration_seconds_count") == 1
