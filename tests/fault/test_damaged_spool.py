"""The spool: used by a second daemon, damaged in rows or as a file, restarted with many messages queued."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.daemon_process import DaemonProcess, NextHopProcess, greeting, wait_until
from tests.support.message_ledger import Balance, Ledger
from tests.support.senders import Senders, invoice_mail, submit
from tests.support.spool_messages import overwrite

Settle = Callable[..., Balance]
Check = Callable[[Balance], None]
Say = Callable[[str], None]
MiB = 1024 * 1024


def test_second_daemon_on_one_spool_does_not_start(
    daemons: Callable[..., DaemonProcess],
    next_hop: NextHopProcess,
    ledger: Ledger,
    settle: Settle,
    check: Check,
    say: Say,
) -> None:
    daemon = daemons(next_hop.port)
    daemon.start()
    second = daemons(next_hop.port, spool=daemon.database)
    second.launch()
    code = second.wait_exit()
    assert code not in (0, -9)
    assert f"is used by pid {daemon.pid}" in second.tail()
    assert submit(daemon.smtp, invoice_mail("S1"), ledger)
    found = settle(daemon, next_hop, ledger)
    say(found.line("second daemon", f"exit {code}"))
    check(found)
    assert daemon.terminate() == 0


def test_messages_with_damaged_rows_are_held(
    daemon: DaemonProcess, next_hop: NextHopProcess, ledger: Ledger, settle: Settle, check: Check, say: Say
) -> None:
    daemon.start()
    next_hop.refuse()
    for number in range(12):
        assert submit(daemon.smtp, invoice_mail(f"S2A{number:02d}", number % 4), ledger)
    daemon.kill()
    bad = [ledger.acknowledged.pop(f"S2A{number:02d}")[0] for number in (2, 5, 7)]
    with sqlite3.connect(daemon.database) as db:
        db.execute("UPDATE mails SET start = start + 1 WHERE queue_id = ?", (bad[1],))
        db.execute("UPDATE mails SET plans = 'garbage' WHERE queue_id = ?", (bad[2],))
    db.close()
    overwrite(daemon.database, bad[0], bytes(4000))
    next_hop.behave()
    daemon.start()
    assert submit(daemon.smtp, invoice_mail("S2NEW"), ledger)
    found = settle(daemon, next_hop, ledger)
    aside = {each["queue_id"] for each in daemon.events("message_corrupt")}
    say(found.line("damaged rows", f"{len(aside)} of 3 damaged messages set aside, the rest delivered"))
    check(found)
    assert aside == set(bad)
    assert daemon.metric("agiris_relay_spool_corrupt_messages") == 3
    held = {each["queue_id"] for each in daemon.command("queue", "list", "--state", "held")}
    assert held == set(bad)
    assert daemon.terminate() == 0


def test_database_with_a_damaged_page_is_set_aside_and_salvaged(
    daemon: DaemonProcess, next_hop: NextHopProcess, ledger: Ledger, settle: Settle, check: Check, say: Say
) -> None:
    daemon.start()
    next_hop.refuse()
    for number in range(12):
        assert submit(daemon.smtp, invoice_mail(f"S2F{number:02d}", number % 4), ledger)
    assert daemon.terminate() == 0
    with daemon.database.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(size // 2)
        file.write(b"\xff" * 4096)
    next_hop.behave()
    daemon.start()
    assert submit(daemon.smtp, invoice_mail("S2NEW"), ledger)
    found = settle(daemon, next_hop, ledger)
    reported = daemon.events("message_corrupt")
    lost_but_reported = found.lost
    say(
        found.line(
            "damaged page",
            f"{len(reported)} notices; {12 - lost_but_reported} of 12 saved from a file with 4 KiB of junk",
        )
    )
    assert (found.wrong, found.dup_other, found.refused, found.damaged) == (0, 0, 0, 0)
    assert reported, "a damaged spool must be reported"
    assert lost_but_reported <= 2, "one damaged page costs the mails on it"
    assert daemon.terminate() == 0


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def sparse(path: Path) -> None:
    emptied(path)
    os.truncate(path, 5 * 1024 * MiB)


def test_truncated_emptied_or_sparse_database_is_set_aside(
    daemon: DaemonProcess, next_hop: NextHopProcess, ledger: Ledger, settle: Settle, check: Check, say: Say
) -> None:
    """kill -9, then the file is not what it was: each time it is set aside, told of, and mail is taken again."""
    lines = []
    for number, damage in enumerate((cut_short, emptied, sparse)):
        next_hop.refuse()
        daemon.start()
        old = invoice_mail(f"S2OLD{number}", number)
        assert submit(daemon.smtp, old, ledger)
        daemon.kill()
        damage(daemon.database)
        next_hop.behave()
        began = time.monotonic()
        daemon.start()
        lines.append(f"{damage.__name__} {time.monotonic() - began:.1f} s")
        assert daemon.events("message_corrupt", daemon._started), damage.__name__
        # The platform sends again what it was told is lost: its fingerprint must not keep it out.
        for sent in (old, invoice_mail(f"S2NEW{number}", number)):
            assert submit(daemon.smtp, sent, ledger)
        wait_until(lambda number=number: next_hop.count() >= 2 * (number + 1), 30, daemon.tail)
        if number < 2:
            assert daemon.terminate() == 0
    found = settle(daemon, next_hop, ledger)
    say(found.line("truncated, emptied, sparse file", f"started after {', '.join(lines)}"))
    check(found)
    assert len(list((daemon.database.parent / "corrupt").iterdir())) == len(lines)
    assert daemon.terminate() == 0


def test_daemon_starts_with_garbage_in_place_of_the_database(
    daemon: DaemonProcess, next_hop: NextHopProcess, ledger: Ledger, settle: Settle, check: Check, say: Say
) -> None:
    daemon.database.parent.mkdir(parents=True)
    daemon.database.write_bytes(b"garbage" * 10_000)
    daemon.start()
    assert submit(daemon.smtp, invoice_mail("S2G"), ledger)
    found = settle(daemon, next_hop, ledger)
    kept = list(daemon.database.parent.glob("corrupt/*/spool.db"))
    say(found.line("garbage as database", "kept in corrupt/, served from a new file"))
    check(found)
    assert len(kept) == 1
    assert kept[0].read_bytes() == b"garbage" * 10_000
    assert daemon.terminate() == 0


def test_restart_with_many_queued_accepts_and_delivers_at_once(
    queued: int,
    daemons: Callable[..., DaemonProcess],
    next_hop: NextHopProcess,
    ledger: Ledger,
    settle: Settle,
    check: Check,
    say: Say,
) -> None:
    daemon = daemons(next_hop.port, replace={"first: 1s, ceiling: 2s": "first: 1s, ceiling: 1h"})
    daemon.start()
    next_hop.refuse()
    senders = Senders(daemon.smtp, ledger, prefix="S3Q")
    wait_until(lambda: len(ledger.acknowledged) >= queued, 900, daemon.tail)
    senders.stop()
    daemon.kill()
    number = len(ledger.acknowledged)
    # All of them due at once, as after a next hop that was away for hours.
    with sqlite3.connect(daemon.database) as db:
        db.execute("UPDATE deliveries SET due = ? WHERE state = 'deferred'", (time.time(),))
    db.close()

    next_hop.behave()
    began = time.monotonic()
    daemon.launch()
    wait_until(lambda: greeting(daemon.smtp, 5).startswith(b"220"), 60, daemon.tail)
    greeted = time.monotonic() - began
    draining = time.monotonic()
    new = invoice_mail("S3NEW")
    began = time.monotonic()
    assert submit(daemon.smtp, new, ledger)
    accepted = time.monotonic() - began
    queue_id = ledger.acknowledged["S3NEW"][0]
    wait_until(
        lambda: any(each["queue_id"] == queue_id for each in daemon.events("delivered", daemon._started)),
        120,
        daemon.tail,
    )
    delivered = time.monotonic() - began
    most = 0

    def drained() -> bool:
        nonlocal most
        most = max(most, daemon.resident())
        return next_hop.count() > number

    wait_until(drained, 600, daemon.tail)
    rate = next_hop.count() / (time.monotonic() - draining)
    found = settle(daemon, next_hop, ledger)
    say(
        found.line(
            "restart with many queued",
            f"{number} queued: 220 after {greeted:.2f} s, a new message accepted in {accepted:.2f} s and delivered in"
            f" {delivered:.2f} s, drained at {rate:.0f} messages/s, memory {most // MiB} MiB",
        )
    )
    check(found)
    assert most < 200 * MiB
    assert daemon.terminate() == 0
