"""The daemon runs out of file descriptors."""

import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support.daemon_process import DaemonProcess, NextHopProcess, greeting, wait_until
from tests.support.message_ledger import Balance, Ledger
from tests.support.senders import Senders, invoice_mail, submit


def test_daemon_out_of_descriptors_serves_again_after(
    daemon: DaemonProcess,
    next_hop: NextHopProcess,
    ledger: Ledger,
    settle: Callable[..., Balance],
    check: Callable[[Balance], None],
    say: Callable[[str], None],
) -> None:
    daemon.start()
    senders = Senders(daemon.smtp, ledger, threads=2)
    wait_until(lambda: next_hop.count() > 5, 30, daemon.tail)
    soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    # What the daemon holds open for itself and the next hop comes and goes: with less room, none would be left at all.
    limit = 9 + max(int(each.name) for each in Path(f"/proc/{daemon.pid}/fd").iterdir())
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (limit, hard))
    crowd = []
    for _ in range(60):
        with suppress(OSError):
            crowd.append(socket.create_connection(("127.0.0.1", daemon.smtp), 2))
    answered = sum(greeting(daemon.smtp, 0.2).startswith(b"220") for _ in range(3))
    for each in crowd:
        each.close()
    wait_until(lambda: greeting(daemon.smtp, 2).startswith(b"220"), 30, daemon.tail)
    assert submit(daemon.smtp, invoice_mail("L2NOW"), ledger) or submit(daemon.smtp, invoice_mail("L2NOW"), ledger)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
    senders.stop()
    found = settle(daemon, next_hop, ledger)
    say(
        found.line(
            "out of file descriptors",
            f"{limit} descriptors and 60 connections: {answered} of 3 greeted meanwhile, served again after",
        )
    )
    check(found)
    assert daemon.terminate() == 0
