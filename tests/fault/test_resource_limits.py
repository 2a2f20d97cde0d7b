"""L2: the daemon runs out of file descriptors."""

import resource
import socket
from collections.abc import Callable
from contextlib import suppress

from tests.support.message_ledger import Balance, Books
from tests.support.rig import NextHop, Rig, greeting, wait_until
from tests.support.senders import Senders, invoice_mail, submit


def test_out_of_descriptors(
    rig: Rig,
    sink: NextHop,
    books: Books,
    settle: Callable[..., Balance],
    check: Callable[[Balance], None],
    say: Callable[[str], None],
) -> None:
    rig.start()
    senders = Senders(rig.smtp, books, threads=2)
    wait_until(lambda: sink.count() > 5, 30, rig.tail)
    soft, hard = resource.prlimit(rig.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(rig.pid, resource.RLIMIT_NOFILE, (24, hard))
    crowd = []
    for _ in range(60):
        with suppress(OSError):
            crowd.append(socket.create_connection(("127.0.0.1", rig.smtp), 2))
    answered = sum(greeting(rig.smtp, 0.2).startswith(b"220") for _ in range(3))
    for each in crowd:
        each.close()
    wait_until(lambda: greeting(rig.smtp, 2).startswith(b"220"), 30, rig.tail)
    assert submit(rig.smtp, invoice_mail("L2NOW"), books) or submit(rig.smtp, invoice_mail("L2NOW"), books)
    resource.prlimit(rig.pid, resource.RLIMIT_NOFILE, (soft, hard))
    senders.stop()
    found = settle(rig, sink, books)
    say(found.line("L2", f"24 descriptors and 60 connections: {answered} of 3 greeted meanwhile, served again after"))
    check(found)
    assert rig.terminate() == 0
