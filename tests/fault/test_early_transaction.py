"""kill -9 while the next hop already has the envelope: before the commit, and between it and the content."""

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.support.daemon_process import DaemonProcess, wait_until
from tests.support.message_ledger import Ledger
from tests.support.next_hops import Stage
from tests.support.peer import Later, Peer
from tests.support.senders import invoice_mail, submit

STALL = 120_000_000
"""Microseconds that an fsync takes: longer than the test."""


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


@pytest.fixture
def peer(stage: Stage) -> Iterator[Peer]:
    peer = Peer()
    stage.run(peer.start())
    yield peer
    stage.run(peer.close())


def connected(daemon: DaemonProcess, peer: Peer, ledger: Ledger) -> None:
    """The first message opens the connection that is kept."""
    daemon.start()
    assert submit(daemon.smtp, invoice_mail("EARLYFIRST"), ledger)
    wait_until(lambda: len(daemon.events("delivered")) == 1, 30, daemon.tail)
    peer.commands.clear()


def tokens(peer: Peer, token: str) -> int:
    return sum(token.encode() in each.content for each in peer.mails)


def test_kill_during_the_commit_leaves_no_message_at_the_next_hop_and_the_sender_still_has_it(
    daemons: Callable[..., DaemonProcess], peer: Peer, ledger: Ledger, need: Callable[..., None]
) -> None:
    need("strace")
    daemon = daemons(peer.port)
    connected(daemon, peer, ledger)
    calls = "fsync,fdatasync"
    daemon.strace("-e", f"trace={calls}", "-e", f"inject={calls}:delay_enter={STALL}", "-o", "/dev/null")
    sent = invoice_mail("EARLYKILL")
    sending = threading.Thread(target=submit, args=(daemon.smtp, sent, ledger))
    sending.start()
    wait_until(lambda: "DATA" in peer.commands, 30, daemon.tail)
    daemon.kill()
    sending.join()
    wait_until(lambda: peer.open_now == 0, 30, "the connection stays open")
    assert sent.token not in ledger.acknowledged and tokens(peer, sent.token) == 0
    daemon.start()
    assert submit(daemon.smtp, sent, ledger)
    wait_until(lambda: tokens(peer, sent.token) > 0, 30, daemon.tail)
    assert daemon.terminate() == 0
    assert tokens(peer, sent.token) == 1


def test_kill_between_the_commit_and_the_content_delivers_after_the_restart(
    stage: Stage, daemons: Callable[..., DaemonProcess], peer: Peer, ledger: Ledger
) -> None:
    daemon = daemons(peer.port)
    connected(daemon, peer, ledger)
    peer.on("data", Later(seconds=1000), times=1)
    sent = invoice_mail("EARLYKILL")
    assert submit(daemon.smtp, sent, ledger)
    wait_until(lambda: "DATA" in peer.commands, 30, daemon.tail)
    daemon.kill()
    assert tokens(peer, sent.token) == 0
    daemon.start()
    wait_until(lambda: tokens(peer, sent.token) > 0, 30, daemon.tail)
    assert daemon.terminate() == 0
    assert tokens(peer, sent.token) == 1
    assert not daemon.command("queue", "list", "--state", "active", "--limit", "1")
