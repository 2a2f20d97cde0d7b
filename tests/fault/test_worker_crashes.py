"""W1: the process that reads a PDF is killed, or stops answering."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tests.support.message_ledger import Balance, Books
from tests.support.rig import NextHop, Rig, wait_until
from tests.support.senders import Senders, invoice_mail, submit

Settle = Callable[..., Balance]
Check = Callable[[Balance], None]
Say = Callable[[str], None]


def test_workers_killed_under_load(
    rig: Rig, sink: NextHop, books: Books, settle: Settle, check: Check, say: Say
) -> None:
    rig.start()
    senders = Senders(rig.smtp, books, threads=4)
    killed = 0
    for _ in range(8):
        before = sink.count()
        wait_until(lambda before=before: sink.count() > before + 5, 60, rig.tail)
        for pid in rig.children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    senders.stop()
    found = settle(rig, sink, books)
    restarts = rig.metric("agiris_relay_worker_restarts_total")
    say(found.line("W1 SIGKILL", f"{killed} workers killed, {restarts:.0f} restarts counted"))
    check(found)
    assert not books.later, "a worker's death must not be the sender's trouble"
    assert 1 <= restarts <= killed
    assert rig.terminate() == 0


def test_a_worker_that_hangs(
    rigs: Callable[..., Rig], sink: NextHop, books: Books, settle: Settle, check: Check, say: Say
) -> None:
    rig = rigs(sink.port, replace={"workers: 1}": "workers: 2, timeout: 2s}"})
    rig.start()
    first, _ = rig.children()
    os.kill(first, signal.SIGSTOP)
    took: list[float] = []

    def one(number: int) -> None:
        began = time.monotonic()
        assert submit(rig.smtp, invoice_mail(f"W1S{number}", number % 4), books)
        took.append(time.monotonic() - began)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = settle(rig, sink, books)
    slow = sum(each > 1.5 for each in took)
    say(found.line("W1 SIGSTOP", f"{slow} of 8 mails waited for the hanging worker, {max(took):.1f} s at most"))
    check(found)
    assert found.mails == 8
    assert slow <= 1, "the others are not delayed"
    assert rig.metric("agiris_relay_worker_restarts_total") == 1
    assert rig.terminate() == 0
