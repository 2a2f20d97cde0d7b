"""kill -9 of every process at random points under load, and a restart; with a next hop that works or fails."""

import random
import time
from collections.abc import Callable

import pytest

from tests.support.daemon_process import DaemonProcess, NextHopProcess, wait_until
from tests.support.message_ledger import Balance, Kill, Ledger
from tests.support.senders import Senders

Make = Callable[..., NextHopProcess]


@pytest.mark.parametrize("faults", [0.0, 0.05], ids=["next-hop-works", "next-hop-fails"])
def test_kill_under_load_loses_nothing(
    faults: float,
    kills: int,
    next_hops: Make,
    daemons: Callable[..., DaemonProcess],
    ledger: Ledger,
    settle: Callable[..., Balance],
    check: Callable[[Balance], None],
    say: Callable[[str], None],
) -> None:
    chance = random.Random(kills)
    next_hop = next_hops(faults)
    daemon = daemons(next_hop.port)
    daemon.start()
    senders = Senders(daemon.smtp, ledger)
    killed: list[Kill] = []
    for _ in range(kills):
        before = next_hop.count()
        # Some kills fall into the start, most into the middle of deliveries.
        if chance.random() < 0.8:
            wait_until(lambda before=before: next_hop.count() > before, 60, daemon.tail)
            time.sleep(chance.random() * 0.6)
        else:
            time.sleep(chance.random() * 0.1)
        killed.append(daemon.kill())
        daemon.launch()
        if chance.random() < 0.9:
            daemon.wait_event("started", 60)
    daemon.wait_event("started", 60)
    senders.stop()
    next_hop.behave()
    found = settle(daemon, next_hop, ledger, killed)
    say(found.line("kill -9, next hop fails" if faults else "kill -9", f"{kills} kills"))
    check(found)
    assert daemon.terminate() == 0
