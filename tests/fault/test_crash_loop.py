"""A crash loop does not hold the queue: killed again and again within a minute, or started in vain again and again."""

import random
import socket
from collections.abc import Callable, Sequence

from tests.support.message_ledger import Balance, Books, Kill
from tests.support.rig import CONNECTIONS, NextHop, Rig, pause
from tests.support.senders import Senders, invoice_mail, submit

WAITING = ("queued", "active", "deferred")


def test_killed_every_second_nothing_is_held_or_lost(
    kills: int,
    rigs: Callable[..., Rig],
    sinks: Callable[..., NextHop],
    books: Books,
    settle: Callable[..., Balance],
    check: Callable[[Balance], None],
    say: Callable[[str], None],
) -> None:
    """Kills 0.2 to 1.8 s after the launch, when many fall into the start, or after the start, when most fall into
    deliveries; by turns. The next hop is slow, so that most of what is claimed waits for a connection."""
    chance = random.Random(kills)
    sink = sinks(pace=0.1)
    rig = rigs(sink.port)
    rig.start()
    senders = Senders(rig.smtp, books)
    killed: list[Kill] = []
    for number in range(kills):
        if number % 2:
            rig.wait_event("started", 60)
        pause(0.2 + 1.6 * chance.random())
        killed.append(rig.kill())
        rig.launch()
    rig.wait_event("started", 60)
    senders.stop()
    sink.behave()
    found = settle(rig, sink, books, killed, 300)
    say(found.line("crash loop", f"{kills} kills"))
    check(found)
    assert found.dup_window <= CONNECTIONS * kills
    assert rig.terminate() == 0


def test_a_start_that_fails_for_a_port_claims_nothing(
    rig: Rig,
    sink: NextHop,
    books: Books,
    settle: Callable[..., Balance],
    check: Callable[[Balance], None],
    say: Callable[[str], None],
) -> None:
    rig.start()
    sink.refuse()
    for number in range(8):
        assert submit(rig.smtp, invoice_mail(f"PORT{number}", number % 4), books)
    rig.wait_event("deferred")
    assert rig.terminate() == 0
    before = _listed(rig)
    for port in (rig.http, rig.smtp):
        with socket.create_server(("127.0.0.1", port)):
            for _ in range(4):
                rig.launch()
                assert rig.wait_exit() == 75
                assert _listed(rig) == before
    sink.behave()
    rig.start()
    found = settle(rig, sink, books)
    say(found.line("port taken", "8 starts in vain"))
    check(found)
    assert rig.terminate() == 0


def _listed(rig: Rig) -> Sequence[tuple[object, ...]]:
    words = [word for state in (*WAITING, "held") for word in ("--state", state)]
    return [(each["queue_id"], each["state"], each["attempts"]) for each in rig.command("queue", "list", *words)]
