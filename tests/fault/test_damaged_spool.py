"""S1: two daemons on one spool. S2: a corrupt spool. S3: many queued mails and a restart."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.message_ledger import Balance, Books
from tests.support.rig import NextHop, Rig, greeting, wait_until
from tests.support.senders import Senders, invoice_mail, submit
from tests.support.spooled import overwrite

Settle = Callable[..., Balance]
Check = Callable[[Balance], None]
Say = Callable[[str], None]
MiB = 1024 * 1024


def test_a_second_daemon_is_refused(
    rigs: Callable[..., Rig], sink: NextHop, books: Books, settle: Settle, check: Check, say: Say
) -> None:
    rig = rigs(sink.port)
    rig.start()
    second = rigs(sink.port, spool=rig.database)
    second.launch()
    code = second.wait_exit()
    assert code not in (0, -9)
    assert f"is used by pid {rig.pid}" in second.tail()
    assert submit(rig.smtp, invoice_mail("S1"), books)
    found = settle(rig, sink, books)
    say(found.line("S1", f"second daemon: exit {code}"))
    check(found)
    assert rig.terminate() == 0


def test_damaged_rows_are_set_aside(
    rig: Rig, sink: NextHop, books: Books, settle: Settle, check: Check, say: Say
) -> None:
    rig.start()
    sink.refuse()
    for number in range(12):
        assert submit(rig.smtp, invoice_mail(f"S2A{number:02d}", number % 4), books)
    rig.kill()
    bad = [books.acknowledged.pop(f"S2A{number:02d}")[0] for number in (2, 5, 7)]
    with sqlite3.connect(rig.database) as db:
        db.execute("UPDATE mails SET start = start + 1 WHERE queue_id = ?", (bad[1],))
        db.execute("UPDATE mails SET plans = 'garbage' WHERE queue_id = ?", (bad[2],))
    db.close()
    overwrite(rig.database, bad[0], bytes(4000))
    sink.behave()
    rig.start()
    assert submit(rig.smtp, invoice_mail("S2NEW"), books)
    found = settle(rig, sink, books)
    aside = {each["queue_id"] for each in rig.events("message_corrupt")}
    say(found.line("S2 rows", f"{len(aside)} of 3 damaged mails set aside, the rest delivered"))
    check(found)
    assert aside == set(bad)
    assert rig.metric("agiris_relay_spool_corrupt_messages") == 3
    held = {each["queue_id"] for each in rig.command("queue", "list", "--state", "held")}
    assert held == set(bad)
    assert rig.terminate() == 0


def test_a_damaged_file_is_set_aside_and_saved_from(
    rig: Rig, sink: NextHop, books: Books, settle: Settle, check: Check, say: Say
) -> None:
    rig.start()
    sink.refuse()
    for number in range(12):
        assert submit(rig.smtp, invoice_mail(f"S2F{number:02d}", number % 4), books)
    assert rig.terminate() == 0
    with rig.database.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(size // 2)
        file.write(b"\xff" * 4096)
    sink.behave()
    rig.start()
    assert submit(rig.smtp, invoice_mail("S2NEW"), books)
    found = settle(rig, sink, books)
    told = rig.events("message_corrupt")
    lost_but_told = found.lost
    say(
        found.line(
            "S2 file", f"{len(told)} notices; {12 - lost_but_told} of 12 saved from a file with 4 KiB of garbage"
        )
    )
    assert (found.wrong, found.dup_other, found.refused, found.damaged) == (0, 0, 0, 0)
    assert told, "a damaged spool must be told of"
    assert lost_but_told <= 2, "one damaged page costs the mails on it"
    assert rig.terminate() == 0


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def sparse(path: Path) -> None:
    emptied(path)
    os.truncate(path, 5 * 1024 * MiB)


def test_other_damages(rig: Rig, sink: NextHop, books: Books, settle: Settle, check: Check, say: Say) -> None:
    """kill -9, then the file is not what it was: each time it is set aside, told of, and mail is taken again."""
    lines = []
    for number, damage in enumerate((cut_short, emptied, sparse)):
        sink.refuse()
        rig.start()
        old = invoice_mail(f"S2OLD{number}", number)
        assert submit(rig.smtp, old, books)
        rig.kill()
        damage(rig.database)
        sink.behave()
        began = time.monotonic()
        rig.start()
        lines.append(f"{damage.__name__} {time.monotonic() - began:.1f} s")
        assert rig.events("message_corrupt", rig._started), damage.__name__
        # The platform sends again what it was told is lost: its fingerprint must not keep it out.
        for sent in (old, invoice_mail(f"S2NEW{number}", number)):
            assert submit(rig.smtp, sent, books)
        wait_until(lambda number=number: sink.count() >= 2 * (number + 1), 30, rig.tail)
        if number < 2:
            assert rig.terminate() == 0
    found = settle(rig, sink, books)
    say(found.line("S2 files", f"started after {', '.join(lines)}"))
    check(found)
    assert len(list((rig.database.parent / "corrupt").iterdir())) == len(lines)
    assert rig.terminate() == 0


def test_garbage_for_a_spool_does_not_keep_the_daemon_down(
    rig: Rig, sink: NextHop, books: Books, settle: Settle, check: Check, say: Say
) -> None:
    rig.database.parent.mkdir(parents=True)
    rig.database.write_bytes(b"garbage" * 10_000)
    rig.start()
    assert submit(rig.smtp, invoice_mail("S2G"), books)
    found = settle(rig, sink, books)
    kept = list(rig.database.parent.glob("corrupt/*/spool.db"))
    say(found.line("S2 garbage", "kept in corrupt/, served from a new file"))
    check(found)
    assert len(kept) == 1
    assert kept[0].read_bytes() == b"garbage" * 10_000
    assert rig.terminate() == 0


def test_restart_with_many_queued(
    queued: int, rigs: Callable[..., Rig], sink: NextHop, books: Books, settle: Settle, check: Check, say: Say
) -> None:
    rig = rigs(sink.port, replace={"first: 1s, ceiling: 2s": "first: 1s, ceiling: 1h"})
    rig.start()
    sink.refuse()
    senders = Senders(rig.smtp, books, prefix="S3Q")
    wait_until(lambda: len(books.acknowledged) >= queued, 900, rig.tail)
    senders.stop()
    rig.kill()
    number = len(books.acknowledged)
    # All of them due at once, as after a next hop that was away for hours.
    with sqlite3.connect(rig.database) as db:
        db.execute("UPDATE deliveries SET due = ? WHERE state = 'deferred'", (time.time(),))
    db.close()

    sink.behave()
    began = time.monotonic()
    rig.launch()
    wait_until(lambda: greeting(rig.smtp, 5).startswith(b"220"), 60, rig.tail)
    greeted = time.monotonic() - began
    draining = time.monotonic()
    new = invoice_mail("S3NEW")
    began = time.monotonic()
    assert submit(rig.smtp, new, books)
    accepted = time.monotonic() - began
    queue_id = books.acknowledged["S3NEW"][0]
    wait_until(
        lambda: any(each["queue_id"] == queue_id for each in rig.events("delivered", rig._started)), 120, rig.tail
    )
    delivered = time.monotonic() - began
    most = 0

    def drained() -> bool:
        nonlocal most
        most = max(most, rig.resident())
        return sink.count() > number

    wait_until(drained, 600, rig.tail)
    rate = sink.count() / (time.monotonic() - draining)
    found = settle(rig, sink, books)
    say(
        found.line(
            "S3",
            f"{number} queued: 220 after {greeted:.2f} s, a new mail accepted in {accepted:.2f} s and delivered in"
            f" {delivered:.2f} s, drained at {rate:.0f} mails/s, memory {most // MiB} MiB",
        )
    )
    check(found)
    assert most < 200 * MiB
    assert rig.terminate() == 0
