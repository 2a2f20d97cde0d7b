"""Actions of operators in the daemon's log: what fails meanwhile costs no line and tells none twice."""

import asyncio
from collections.abc import Collection

import pytest

from relay.daemon import operator_log
from relay.daemon.operator_log import log_new_actions, log_operator_actions
from relay.model import OperatorAction
from relay.observability.event_names import EventName
from relay.observability.log import capture
from relay.observability.metrics import Metrics
from relay.observability.observer import Observer
from relay.spool.port import SpoolFull
from tests.support.memory_spool import MemorySpool
from tests.support.spool_messages import mail


class FaultySpool(MemorySpool):
    """A spool whose first `faults` deletions fail; `logged` is set by one that does not."""

    def __init__(self, faults: int = 0) -> None:
        super().__init__()
        self.faults = faults
        self.logged = asyncio.Event()

    async def operator_actions_logged(self, ids: Collection[int]) -> None:
        if self.faults:
            self.faults -= 1
            raise SpoolFull("full")
        await super().operator_actions_logged(ids)
        self.logged.set()


async def drop(spool: MemorySpool, times: int = 1) -> None:
    for _ in range(times):
        given = mail()
        await spool.store(given)
        await spool.apply_action(
            given.queue_id, None, OperatorAction("drop", "anne", "a secret@client.example wish"), 0.0
        )


async def test_more_than_one_look_brings_are_logged_in_order_and_without_addresses() -> None:
    spool = FaultySpool()
    await drop(spool, 250)
    with capture("info") as log:
        await log_new_actions(spool, Observer(Metrics()).observe)
        await log_new_actions(spool, Observer(Metrics()).observe)
    dropped = [each for each in log if each["event"] == EventName.DROPPED]
    assert [each["queue_id"] for each in dropped] == list(spool._messages)
    assert {(each["operator"], each["why"], each["ordered"]) for each in dropped} == {
        ("anne", "a *@client.example wish", "1970-01-01T00:00:00Z")
    }
    assert len(log) == 250


async def test_a_full_spool_ends_neither_the_task_nor_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_log, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(operator_log, "POLL_SECONDS", 0.0)
    spool = FaultySpool(faults=1)
    await drop(spool)
    with capture("info") as log:
        task = asyncio.create_task(log_operator_actions(spool, Observer(Metrics()).observe))
        await asyncio.wait_for(spool.logged.wait(), 30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [each["event"] for each in log if each["event"] == EventName.INTERNAL_ERROR] == [EventName.INTERNAL_ERROR]
    assert [each["event"] for each in log if each["event"] == EventName.DROPPED] == [EventName.DROPPED] * 2
