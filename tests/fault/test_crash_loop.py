"""Crash loop: the daemon is killed within seconds of each start, or fails to start, again and again."""

import random
import socket
from collections.abc import Callable, Sequence

from tests.support.daemon_process import CONNECTIONS, DaemonProcess, NextHopProcess, pause
from tests.support.message_ledger import Balance, Kill, Ledger
from tests.support.senders import Senders, invoice_mail, submit

WAITING = ("queued", "active", "deferred")


def test_crash_loop_holds_and_loses_nothing(
    kills: int,
    daemons: Callable[..., DaemonProcess],
    next_hops: Callable[..., NextHopProcess],
    ledger: Ledger,
    settle: Callable[..., Balance],
    check: Callable[[Balance], None],
    say: Callable[[str], None],
) -> None:
    """Kills 0.2 to 1.8 s after the launch, when many fall into the start, or after the start, when most fall into
    deliveries; by turns. The next hop is slow, so that most of what is claimed waits for a connection."""
    chance = random.Random(kills)
    next_hop = next_hops(pace=0.1)
    daemon = daemons(next_hop.port)
    daemon.start()
    senders = Senders(daemon.smtp, ledger)
    killed: list[Kill] = []
    for number in range(kills):
        if number % 2:
            daemon.wait_event("started", 60)
        pause(0.2 + 1.6 * chance.random())
        killed.append(daemon.kill())
        daemon.launch()
    daemon.wait_event("started", 60)
    senders.stop()
    next_hop.behave()
    found = settle(daemon, next_hop, ledger, killed, 300)
    say(found.line("crash loop", f"{kills} kills"))
    check(found)
    assert found.dup_window <= CONNECTIONS * kills
    assert daemon.terminate() == 0


def test_start_with_a_port_in_use_claims_nothing(
    daemon: DaemonProcess,
    next_hop: NextHopProcess,
    ledger: Ledger,
    settle: Callable[..., Balance],
    check: Callable[[Balance], None],
    say: Callable[[str], None],
) -> None:
    daemon.start()
    next_hop.refuse()
    for number in range(8):
        assert submit(daemon.smtp, invoice_mail(f"PORT{number}", number % 4), ledger)
    daemon.wait_event("deferred")
    assert daemon.terminate() == 0
    before = _listed(daemon)
    for port in (daemon.http, daemon.smtp):
        with socket.create_server(("127.0.0.1", port)):
            for _ in range(4):
                daemon.launch()
                assert daemon.wait_exit() == 75
                assert _listed(daemon) == before
    next_hop.behave()
    daemon.start()
    found = settle(daemon, next_hop, ledger)
    say(found.line("port in use", "8 failed starts"))
    check(found)
    assert daemon.terminate() == 0


def _listed(daemon: DaemonProcess) -> Sequence[tuple[object, ...]]:
    words = [word for state in (*WAITING, "held") for word in ("--state", state)]
    return [(each["queue_id"], each["state"], each["attempts"]) for each in daemon.command("queue", "list", *words)]
