"""What the intake answers when the spool cannot take a message, or a bounce; and who learns of a broken disk."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from relay.checker import Evaluation, EvaluationRequest, FalseAnswer
from relay.dsn.return_path import verp
from relay.intake import NO_SPACE, NOT_DURABLE, Intake
from relay.mime.fingerprint import fingerprint
from relay.model import Claim, Envelope, Message, Recipient
from relay.replies import Reply
from relay.routing.directory import Directory
from relay.spool.port import Query, Reservation, SpoolBroken, SpoolDamaged, SpoolError, SpoolFull
from tests.support.checker_in_process import CheckerInProcess
from tests.support.decisions import terms
from tests.support.mails import mail as raw_mail
from tests.support.mails import text as raw_text
from tests.support.memory_spool import MemorySpool
from tests.support.spool_messages import mail

SECRET = b"secret"
HOME = verp("bounces@relay.example", "0" * 15, 1, SECRET)
FAILURES = [
    (SpoolFull("no room"), NO_SPACE, False),
    (SpoolBroken("the disk failed"), NOT_DURABLE, True),
    (SpoolDamaged("the file is damaged"), NOT_DURABLE, True),
    (SpoolError("the spool is closed"), NOT_DURABLE, False),
]
BY_NAME = [pytest.param(*each, id=type(each[0]).__name__) for each in FAILURES]


class Failing:
    """A spool that raises whatever it is asked."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def store(self, *_: Any) -> None:
        raise self.error

    async def record_bounce(self, *_: Any, failed: bool) -> None:
        raise self.error


class Queue:
    """Counts places that are reserved and not given back."""

    reserved = 0

    def reserve(self, given: Message) -> Reservation:
        self.reserved += 1
        return Reservation(60, {})

    def give_back(self, given: Message, take: Reservation) -> None:
        self.reserved -= 1

    def stored(self, given: Message, take: Reservation | None, claims: tuple[Claim, ...]) -> None:
        raise AssertionError("nothing was stored")


class Observed:
    def __init__(self) -> None:
        self.broken: list[str] = []
        self.later: list[Reply] = []

    def observe(self, event: Any) -> None:
        self.later.append(event.reply)


def intake(error: Exception, reported: Observed, queue: Queue) -> Intake:
    return Intake(
        directory=lambda: SimpleNamespace(is_return_path=lambda address: address == HOME),  # type: ignore[arg-type, return-value]
        spool=Failing(error),  # type: ignore[arg-type]
        queue=queue,
        checker=CheckerInProcess(),
        observe=reported.observe,
        stored=lambda _: None,
        broken=reported.broken.append,
        secret=SECRET,
    )


@pytest.mark.parametrize(("error", "reply", "broken"), BY_NAME)
async def test_a_message_that_cannot_be_stored(error: Exception, reply: Reply, broken: bool) -> None:
    reported, queue = Observed(), Queue()
    answer = await intake(error, reported, queue)._store(mail(), (), 0.0)
    assert answer == reply
    assert reported.later == [reply] and reported.broken == [str(error)] * broken
    assert queue.reserved == 0


@pytest.mark.parametrize(("error", "reply", "broken"), BY_NAME)
async def test_a_bounce_that_cannot_be_recorded(error: Exception, reply: Reply, broken: bool) -> None:
    reported = Observed()
    given = Envelope("", (Recipient(HOME),))
    assert await intake(error, reported, Queue()).accept(given, b"Subject: Undelivered\r\n\r\n") == reply
    assert reported.later == [reply] and reported.broken == [str(error)] * broken


class Liar(CheckerInProcess):
    """Says of each message that it is the one of this fingerprint."""

    def __init__(self, fingerprint: str) -> None:
        super().__init__()
        self.fingerprint = fingerprint

    async def evaluate(self, asked: EvaluationRequest, raw: bytes, directory: Directory) -> Evaluation:
        return replace(await super().evaluate(asked, raw, directory), fingerprint=self.fingerprint)


class NoQueue:
    """Attempts nothing at once."""

    def reserve(self, given: Message) -> None:
        return None

    def stored(self, *_: Any) -> None: ...

    def give_back(self, *_: Any) -> None: ...


def honest_or_not(spool: MemorySpool, checker: CheckerInProcess) -> Intake:
    directory = Directory(terms({}))
    return Intake(
        directory=lambda: directory, spool=spool, queue=NoQueue(), checker=checker, observe=lambda event: None,
        stored=lambda message, stored: None, broken=lambda why: None,
    )  # fmt: skip


async def test_no_message_is_lost_to_the_fingerprint_of_another() -> None:
    """What is called a duplicate is answered 250 and not stored: a worker's word is not enough."""
    spool, envelope = MemorySpool(), Envelope("p@platform.example", (Recipient("martin@export.test"),))
    first, second = raw_mail([raw_text("one")]), raw_mail([raw_text("two")], message_id="<2@jefacture.example>")
    honest = honest_or_not(spool, CheckerInProcess())
    assert (await honest.accept(envelope, first)).code == 250
    assert (await honest.accept(envelope, first)).code == 250, "a true duplicate"
    assert len(await spool.find(Query())) == 1
    liar = Liar(fingerprint(envelope, first))
    with pytest.raises(FalseAnswer):
        await honest_or_not(spool, liar).accept(envelope, second)
    assert liar.distrusted == ["the fingerprint of another message"]
    assert (await honest.accept(envelope, second)).code == 250
    assert len(await spool.find(Query())) == 2
