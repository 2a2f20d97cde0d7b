"""The order of system calls for one message: deterministic, where power cuts find an error by chance only."""

import re
from collections.abc import Callable
from pathlib import Path

from tests.support.daemon_process import DaemonProcess, NextHopProcess, wait_until
from tests.support.message_ledger import Balance, Ledger
from tests.support.senders import invoice_mail, submit

TRACED = "trace=write,writev,sendto,sendmsg,read,recvfrom,recvmsg,fsync,fdatasync,pwrite64,pwritev"


def calls(trace: Path) -> list[str]:
    """The calls in the order of their ends, each `PID call(args) = result`; strace breaks up those that overlap."""
    begun: dict[str, str] = {}
    found = []
    for line in trace.read_text("utf-8", "replace").splitlines():
        match = re.match(r"(\d+) +(.*)", line)
        if match is None:
            continue
        pid, call = match.groups()
        if call.endswith("<unfinished ...>"):
            begun[pid] = call.removesuffix("<unfinished ...>").rstrip()
            # A write has left when it is begun; an fsync holds only when it has ended.
            if call.startswith(("write", "send")):
                found.append(f"{pid} {begun.pop(pid)}")
            continue
        if call.startswith("<..."):
            if pid in begun:
                found.append(f"{pid} {begun.pop(pid)}{call.partition('resumed>')[2]}")
            elif "read" in call or "recv" in call:
                found.append(f"{pid} {call}")
            continue
        found.append(f"{pid} {call}")
    return found


def first(found: list[str], pattern: str, start: int = 0) -> int:
    """Index of the first call that matches. Fails when none does."""
    for index in range(start, len(found)):
        if re.search(pattern, found[index]):
            return index
    raise AssertionError(f"no {pattern} after call {start}:\n" + "\n".join(each[:150] for each in found[start:][:60]))


def last_before(found: list[str], pattern: str, end: int) -> int:
    return max((index for index in range(end) if re.search(pattern, found[index])), default=-1)


def test_message_is_synced_before_our_250_and_settled_after_the_next_hops_250(
    daemon: DaemonProcess,
    next_hop: NextHopProcess,
    ledger: Ledger,
    settle: Callable[..., Balance],
    check: Callable[[Balance], None],
    say: Callable[[str], None],
    need: Callable[..., None],
    tmp_path: Path,
) -> None:
    need("strace")
    trace = tmp_path / "trace"
    daemon.start()
    daemon.strace("-y", "-s", "4000", "-e", TRACED, "-o", str(trace))
    # The first message opens what is opened once; the second is the one looked at.
    assert submit(daemon.smtp, invoice_mail("P2FIRST"), ledger)
    wait_until(lambda: len(daemon.events("delivered")) == 1, 30, daemon.tail)
    assert submit(daemon.smtp, invoice_mail("P2SECOND"), ledger)
    wait_until(lambda: len(daemon.events("delivered")) == 2, 30, daemon.tail)
    found = settle(daemon, next_hop, ledger)
    queue_id = ledger.acknowledged["P2SECOND"][0]
    assert daemon.terminate() == 0

    seen = calls(trace)
    arrived = first(seen, r"P2SECOND@jefacture")
    ours = first(seen, rf"(write|send\w+)\(\d+<.*250 2\.0\.0 {queue_id}")
    octets = last_before(seen, r"pwrite64\(\d+<[^>]*spool\.db\.segments/", ours)
    kept = last_before(seen, r"f(data)?sync\(\d+<[^>]*spool\.db\.segments/\d+>\) += 0", ours)
    stored = last_before(seen, r"pwrite64\(\d+<[^>]*spool\.db-wal>", ours)
    synced = last_before(seen, r"f(data)?sync\(\d+<[^>]*spool\.db-wal>\) += 0", ours)
    first_row = first(seen, r"pwrite64\(\d+<[^>]*spool\.db-wal>", octets)
    # The octets, then the row that names them, then the answer; each durable before the next.
    assert arrived < octets < kept < first_row <= stored < synced < ours, (
        octets,
        kept,
        first_row,
        stored,
        synced,
        ours,
    )

    taken = first(seen, r"(read|recv\w*).*250 2\.0\.0 taken", arrived)
    dot = first(seen, rf"write.*delivered.*{queue_id}")
    settled = [index for index in range(taken, dot) if re.search(r"pwrite64\(\d+<[^>]*spool\.db-wal>", seen[index])]
    assert settled, "nothing was written between the next hop's 250 and the record of the delivery"
    assert last_before(seen, r"f(data)?sync\(\d+<[^>]*spool\.db-wal>\) += 0", dot) > settled[0]
    # The next hop may have the envelope before, but nothing of the content.
    envelope = seen[first(seen, r"send\w+\(\d+<.*MAIL FROM:<.*RCPT TO:<", arrived)]
    content = re.escape(envelope.partition('"')[0].partition(" ")[2]) + ".*P2SECOND"
    assert last_before(seen, content, synced) == -1
    # Between the claim, committed before the content leaves, and the next hop's 250 nothing is written.
    sent = first(seen, content, synced)
    early = [seen[index] for index in range(sent, taken) if "pwrite64" in seen[index] and "spool.db-wal" in seen[index]]
    assert not early, early
    say(
        found.line(
            "commit order",
            f"octets < fsync < row < fsync < 250 ({octets} … {ours}), 250 < settle ({taken} < {settled[0]})",
        )
    )
    check(found)
