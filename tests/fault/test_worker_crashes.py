"""The worker that reads a PDF is killed, or stops answering."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tests.support.daemon_process import DaemonProcess, NextHopProcess, wait_until
from tests.support.message_ledger import Balance, Ledger
from tests.support.senders import Senders, invoice_mail, submit

Settle = Callable[..., Balance]
Check = Callable[[Balance], None]
Say = Callable[[str], None]


def test_killed_workers_are_replaced_under_load(
    daemon: DaemonProcess, next_hop: NextHopProcess, ledger: Ledger, settle: Settle, check: Check, say: Say
) -> None:
    daemon.start()
    senders = Senders(daemon.smtp, ledger, threads=4)
    killed = 0
    for _ in range(8):
        before = next_hop.count()
        wait_until(lambda before=before: next_hop.count() > before + 5, 60, daemon.tail)
        for pid in daemon.children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    senders.stop()
    found = settle(daemon, next_hop, ledger)
    restarts = daemon.metric("agiris_relay_worker_restarts_total")
    say(found.line("worker killed", f"{killed} workers killed, {restarts:.0f} restarts counted"))
    check(found)
    assert not ledger.later, "a worker's death must not concern the sender"
    assert 1 <= restarts <= killed
    assert daemon.terminate() == 0


def test_hanging_worker_is_replaced(
    daemons: Callable[..., DaemonProcess],
    next_hop: NextHopProcess,
    ledger: Ledger,
    settle: Settle,
    check: Check,
    say: Say,
) -> None:
    daemon = daemons(next_hop.port, replace={"workers: 1}": "workers: 2, timeout: 5s}"})
    daemon.start()
    first, _ = daemon.children()
    os.kill(first, signal.SIGSTOP)
    took: list[float] = []

    def one(number: int) -> None:
        began = time.monotonic()
        assert submit(daemon.smtp, invoice_mail(f"W1S{number}", number % 4), ledger)
        took.append(time.monotonic() - began)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = settle(daemon, next_hop, ledger)
    slow = sum(each > 4.5 for each in took)
    say(found.line("worker hangs", f"{slow} of 8 messages waited for the hanging worker, {max(took):.1f} s at most"))
    check(found)
    assert found.mails == 8
    assert slow <= 1, "the others are not delayed"
    assert daemon.metric("agiris_relay_worker_restarts_total") == 1
    assert daemon.terminate() == 0
