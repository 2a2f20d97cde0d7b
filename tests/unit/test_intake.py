"""What the intake answers when the spool cannot take a message, or a bounce; and who learns of a broken disk."""

from types import SimpleNamespace
from typing import Any

import pytest

from relay.dsn.return_path import verp
from relay.intake import NO_SPACE, NOT_DURABLE, Intake
from relay.model import Claim, Envelope, Message, Recipient
from relay.replies import Reply
from relay.spool.port import Reservation, SpoolBroken, SpoolDamaged, SpoolError, SpoolFull
from tests.support.checker_in_process import CheckerInProcess
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
