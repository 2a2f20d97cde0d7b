"""The disk: full, kept full, out of inodes, file size limited; fsync or writes fail; fsync is slow."""

import os
import resource
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.support.daemon_process import DaemonProcess, NextHopProcess, greeting, wait_until
from tests.support.message_ledger import Balance, Ledger
from tests.support.senders import Senders, invoice_mail, submit

Settle = Callable[..., Balance]
Check = Callable[[Balance], None]
Say = Callable[[str], None]
Need = Callable[..., None]
MiB = 1024 * 1024
QUEUED = 200


@pytest.fixture
def small_disk(tmp_path: Path, need: Need) -> Iterator[Path]:
    """An ext4 of its own, of 160 MiB and 64 inodes."""
    need("mkfs.ext4", "mount", "umount", "losetup", root=True)
    image, point = tmp_path / "disk.img", tmp_path / "disk"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(160 * MiB)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-N", "64", str(image)], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(point)], capture_output=True, check=False).returncode:
        pytest.skip("no loop mount is allowed here")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def test_full_disk_is_answered_452_and_its_queue_is_delivered(
    small_disk: Path,
    next_hop: NextHopProcess,
    daemons: Callable[..., DaemonProcess],
    ledger: Ledger,
    settle: Settle,
    check: Check,
    say: Say,
) -> None:
    daemon = daemons(next_hop.port, spool=small_disk / "spool" / "spool.db")
    next_hop.refuse()
    daemon.start()
    for number in range(20):
        assert submit(daemon.smtp, invoice_mail(f"D1A{number}", number % 4), ledger)

    filler, sent = small_disk / "filler", invoice_mail("D1B")
    with smtplib.SMTP("127.0.0.1", daemon.smtp, timeout=30) as client:
        client.ehlo("plateforme.example")
        assert client.mail("noreply@jefacture.example")[0] == 250
        assert client.rcpt(sent.recipient)[0] == 250
        # At one instant for the daemon: what it lets go of meanwhile would be eaten too.
        daemon.signal_all(signal.SIGSTOP)
        fill(filler)
        daemon.signal_all(signal.SIGCONT)
        full = client.data(sent.raw)[0]
        assert full == 452
        assert client.noop()[0] == 250, "the session must go on"
        sized = client.mail("noreply@jefacture.example", [f"size={len(sent.raw)}"])[0]
        assert sized == 452, "a mail that cannot be kept need not be sent first"
        assert client.noop()[0] == 250, "the session must go on"
    assert not_ready(daemon)
    assert not list(small_disk.glob("**/tmp*"))

    assert daemon.terminate() == 0
    fill(filler)
    daemon.start()
    next_hop.behave()
    wait_until(lambda: next_hop.count() >= 20, 60, lambda: f"queued mail does not leave a full disk:\n{daemon.tail()}")

    filler.unlink()
    began = time.monotonic()
    wait_until(lambda: submit(daemon.smtp, sent, ledger), 30, daemon.tail)
    waited = time.monotonic() - began
    found = settle(daemon, next_hop, ledger)
    say(
        found.line(
            "disk full",
            f"MAIL with SIZE {sized}, DATA {full}; restarted; 20 queued left it full; accepts after {waited:.1f} s",
        )
    )
    check(found)
    assert daemon.terminate() == 0


GREEDY = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
told = False
while True:
    try:
        while True:
            os.write(fd, bytes(1 << 20))
    except OSError:
        try:
            while True:
                os.write(fd, bytes(1 << 12))
        except OSError:
            pass
    if not told:
        told = bool(print("full", flush=True) or True)
    time.sleep(0.0005)
"""
"""Another program that takes all the room there is, and whatever is given back, two thousand times a second."""


@pytest.fixture
def greedy(small_disk: Path) -> Iterator[Callable[[], None]]:
    """Begin to eat the disk; returns once it is full."""
    started: list[subprocess.Popen[bytes]] = []

    def begin() -> None:
        words = [sys.executable, "-c", GREEDY, str(small_disk / "filler")]
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE))
        assert started[-1].stdout is not None
        assert started[-1].stdout.readline() == b"full\n"

    yield begin
    for each in started:
        each.kill()
        each.wait()


def test_queue_is_delivered_from_a_disk_that_another_program_keeps_full(
    small_disk: Path,
    greedy: Callable[[], None],
    next_hop: NextHopProcess,
    daemons: Callable[..., DaemonProcess],
    ledger: Ledger,
    settle: Settle,
    check: Check,
    say: Say,
) -> None:
    """What is queued leaves, and is recorded as delivered, though every octet let go of is taken at once."""
    daemon = daemons(next_hop.port, spool=small_disk / "spool" / "spool.db")
    next_hop.refuse()
    daemon.start()
    mails = [invoice_mail(f"D1G{number:03}", number % 4, padding=20_000) for number in range(QUEUED)]
    with ThreadPoolExecutor(6) as platform:
        assert all(platform.map(lambda sent: submit(daemon.smtp, sent, ledger), mails))
    greedy()
    next_hop.behave()
    wait_until(
        lambda: next_hop.count() >= QUEUED, 60, lambda: f"queued mail does not leave a full disk:\n{daemon.tail()}"
    )
    wait_until(lambda: len(daemon.events("delivered")) >= QUEUED, 30, lambda: f"not recorded:\n{daemon.tail()}")
    assert not submit(daemon.smtp, invoice_mail("D1H"), ledger), "there is no room for new mail"
    assert set(ledger.later) == {452}
    found = settle(daemon, next_hop, ledger)
    say(found.line("disk kept full", f"{QUEUED} queued left a disk that stays full"))
    check(found)
    assert found.arrivals == QUEUED, "none twice"
    assert daemon.terminate() == 0


def fill(filler: Path) -> None:
    """Take all the room there is, root's share too."""
    with suppress(OSError), filler.open("wb") as file:
        for size in (MiB, 4096, 1):
            with suppress(OSError):
                while True:
                    os.write(file.fileno(), b"\0" * size)


def not_ready(daemon: DaemonProcess) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{daemon.http}/readyz", timeout=10) as answer:
            return b"octets are free" in answer.read()
    except HTTPError as error:
        return error.code == 503


def test_daemon_serves_without_free_inodes(
    small_disk: Path,
    next_hop: NextHopProcess,
    daemons: Callable[..., DaemonProcess],
    ledger: Ledger,
    settle: Settle,
    check: Check,
    say: Say,
) -> None:
    """A running daemon makes no files: it goes on. One that starts says what is wrong, and starts once it can."""
    daemon = daemons(next_hop.port, spool=small_disk / "spool" / "spool.db")
    daemon.start()
    made = use_up_inodes(small_disk)
    for number in range(10):
        assert submit(daemon.smtp, invoice_mail(f"D2I{number}", number % 4), ledger)
    found = settle(daemon, next_hop, ledger)
    assert daemon.terminate() == 0
    more = use_up_inodes(small_disk)
    daemon.launch()
    code = daemon.wait_exit()
    assert code not in (0, -signal.SIGKILL)
    assert "spool" in daemon.tail().splitlines()[-1], daemon.tail()
    for each in more:
        each.unlink()
    daemon.start()
    assert submit(daemon.smtp, invoice_mail("D2J"), ledger)
    found = settle(daemon, next_hop, ledger)
    say(found.line("no inodes", f"{len(made)} files took the last inode: served on; a start then: exit {code}"))
    check(found)
    assert daemon.terminate() == 0


def use_up_inodes(disk: Path) -> list[Path]:
    made: list[Path] = []
    with suppress(OSError):
        while True:
            each = disk / f"empty-{time.monotonic_ns()}"
            each.touch()
            made.append(each)
    return made


def test_file_size_limit_is_answered_4xx_and_recovered_from(
    daemon: DaemonProcess, next_hop: NextHopProcess, ledger: Ledger, settle: Settle, check: Check, say: Say
) -> None:
    daemon.start()
    assert submit(daemon.smtp, invoice_mail("D2A"), ledger)
    _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (10_000, hard))
    assert not submit(daemon.smtp, invoice_mail("D2B"), ledger)
    assert set(ledger.later) <= {451, 452}, ledger.later
    assert greeting(daemon.smtp, 5).startswith(b"220")
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (hard, hard))
    wait_until(lambda: submit(daemon.smtp, invoice_mail("D2B"), ledger), 30, daemon.tail)
    found = settle(daemon, next_hop, ledger)
    say(found.line("file size limit", f"answered {sorted(ledger.later)}, recovered without restart"))
    check(found)
    assert daemon.terminate() == 0


@pytest.mark.parametrize("call", ["fsync,fdatasync:error=EIO"])
def test_failed_fsync_is_not_answered_250_and_ends_the_daemon(
    call: str,
    daemon: DaemonProcess,
    next_hop: NextHopProcess,
    ledger: Ledger,
    settle: Settle,
    check: Check,
    say: Say,
    need: Need,
) -> None:
    need("strace")
    daemon.start()
    next_hop.refuse()
    for number in range(5):
        assert submit(daemon.smtp, invoice_mail(f"D3A{number}"), ledger)
    tracer = daemon.strace("-o", os.devnull, "-e", "trace=fsync,fdatasync", "-e", f"inject={call}")
    assert not submit(daemon.smtp, invoice_mail("D3B"), ledger), "answered 250 although the fsync failed"
    code = daemon.wait_exit()
    tracer.wait()
    assert code not in (0, -signal.SIGKILL), f"exit {code}:\n{daemon.tail()}"
    # 421 when the queue manager met the fault first, and the door was closing already.
    assert set(ledger.later) <= {451, 421}, ledger.later
    next_hop.behave()
    daemon.start()
    assert submit(daemon.smtp, invoice_mail("D3B"), ledger)
    found = settle(daemon, next_hop, ledger)
    say(found.line("fsync fails", f"answered {sorted(ledger.later) or 'nothing'}, exit {code}"))
    check(found)
    assert daemon.terminate() == 0


def test_failed_writes_are_not_answered_250_and_recovered_from(
    daemon: DaemonProcess, next_hop: NextHopProcess, ledger: Ledger, settle: Settle, check: Check, say: Say, need: Need
) -> None:
    """A write that fails promises nothing and is rolled back: 452, and on with it when the disk is well again."""
    need("strace")
    daemon.start()
    next_hop.refuse()
    for number in range(5):
        assert submit(daemon.smtp, invoice_mail(f"D4W{number}", number % 4), ledger)
    tracer = daemon.strace("-o", os.devnull, "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=EIO")
    for number in range(5):
        assert not submit(daemon.smtp, invoice_mail(f"D4X{number}", number % 4), ledger), (
            "answered 250, but not written"
        )
    assert greeting(daemon.smtp, 5).startswith(b"220")
    tracer.terminate()
    tracer.wait()
    next_hop.behave()
    for number in range(5):
        sent = invoice_mail(f"D4X{number}", number % 4)
        wait_until(lambda sent=sent: submit(daemon.smtp, sent, ledger), 30, daemon.tail)
    found = settle(daemon, next_hop, ledger)
    say(found.line("writes fail (EIO)", f"answered {sorted(ledger.later)}, recovered without restart"))
    check(found)
    assert set(ledger.later) <= {451, 452}, ledger.later
    assert found.arrivals == 10
    assert daemon.terminate() == 0


def test_slow_fsync_delays_no_greeting(
    daemon: DaemonProcess, next_hop: NextHopProcess, ledger: Ledger, settle: Settle, check: Check, say: Say, need: Need
) -> None:
    need("strace")
    daemon.start()
    senders = Senders(daemon.smtp, ledger, threads=3)
    wait_until(lambda: next_hop.count() > 3, 30, daemon.tail)
    tracer = daemon.strace(
        "-o", os.devnull, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=2000000"
    )
    worst = 0.0
    for _ in range(10):
        began = time.monotonic()
        assert greeting(daemon.smtp, 10).startswith(b"220")
        worst = max(worst, time.monotonic() - began)
    tracer.terminate()
    tracer.wait()
    senders.stop()
    found = settle(daemon, next_hop, ledger)
    say(found.line("slow fsync", f"fsync of 2 s: greeted after {worst:.2f} s at worst"))
    check(found)
    assert worst < 1.9, "a slow disk must not hold up the event loop"
    assert daemon.terminate() == 0
