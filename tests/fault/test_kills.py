"""K1, K2: kill -9 of every process at random points under load, and a restart. K3: SIGTERM under load."""

import random
import time
from collections.abc import Callable

import pytest

from tests.support.message_ledger import Balance, Books, Kill
from tests.support.rig import NextHop, Rig, wait_until
from tests.support.senders import Senders

Make = Callable[..., NextHop]


@pytest.mark.parametrize("faults", [0.0, 0.05], ids=["K1", "K2"])
def test_killed_under_load(
    faults: float,
    kills: int,
    sinks: Make,
    rigs: Callable[..., Rig],
    books: Books,
    settle: Callable[..., Balance],
    check: Callable[[Balance], None],
    say: Callable[[str], None],
) -> None:
    chance = random.Random(kills)
    sink = sinks(faults)
    rig = rigs(sink.port)
    rig.start()
    senders = Senders(rig.smtp, books)
    killed: list[Kill] = []
    for _ in range(kills):
        before = sink.count()
        # Some kills fall into the start, most into the middle of deliveries.
        if chance.random() < 0.8:
            wait_until(lambda before=before: sink.count() > before, 60, rig.tail)
            time.sleep(chance.random() * 0.6)
        else:
            time.sleep(chance.random() * 0.1)
        killed.append(rig.kill())
        rig.launch()
        if chance.random() < 0.9:
            rig.wait_event("started", 60)
    rig.wait_event("started", 60)
    senders.stop()
    sink.behave()
    found = settle(rig, sink, books, killed)
    say(found.line("K2" if faults else "K1", f"{kills} kills"))
    check(found)
    assert rig.terminate() == 0
