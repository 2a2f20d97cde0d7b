"""Power cuts. The image of the disk as it is at one instant, its journal replayed, is what a cut leaves."""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, NextHopProcess, wait_until
from tests.support.message_ledger import Balance, Kill, Ledger
from tests.support.senders import Senders, invoice_mail

SIZES = (0, 100_000, 1_000_000)
MiB = 1024 * 1024


class Disk:
    """A loop image that can be cut off; `cut()` mounts what was on the disk at that instant in its place."""

    def __init__(self, folder: Path, octets: int) -> None:
        self.point = folder / "disk"
        self.point.mkdir()
        self._folder, self._number = folder, 0
        with self._image.open("wb") as file:
            file.truncate(octets)
        # A short commit interval of the file system would hide a missing fsync.
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self._image)], check=True, capture_output=True)

    @property
    def _image(self) -> Path:
        return self._folder / f"disk-{self._number}.img"

    def mount(self) -> bool:
        words = ["mount", "-o", "loop,commit=300", str(self._image), str(self.point)]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def copy(self) -> None:
        """The image as it is now; what the kernel has not written yet is not in it."""
        target = self._folder / f"disk-{self._number + 1}.img"
        subprocess.run(["cp", "--sparse=always", str(self._image), str(target)], check=True)

    def swap(self) -> None:
        """Drop the disk, mount the copy."""
        self.umount()
        self._image.unlink()
        self._number += 1
        assert self.mount(), "the copy cannot be mounted"

    def umount(self) -> None:
        subprocess.run(["umount", "-l", str(self.point)], check=False)


@pytest.fixture
def disk(tmp_path: Path, cuts: int, need: Callable[..., None]) -> Iterator[Disk]:
    need("mkfs.ext4", "mount", "umount", "losetup", root=True)
    made = Disk(tmp_path, (384 + 24 * cuts) * MiB)  # what was delivered stays for 30 days
    if not made.mount():
        pytest.skip("no loop mount is allowed here")
    yield made
    made.umount()


def test_power_cut_loses_nothing(
    cuts: int,
    disk: Disk,
    next_hop: NextHopProcess,
    daemons: Callable[..., DaemonProcess],
    ledger: Ledger,
    settle: Callable[..., Balance],
    check: Callable[[Balance], None],
    say: Callable[[str], None],
) -> None:
    chance = random.Random(cuts)
    daemon = daemons(next_hop.port, spool=disk.point / "spool" / "spool.db")
    daemon.start()
    senders = Senders(
        daemon.smtp,
        ledger,
        make=lambda token, number: invoice_mail(token, number % 4, padding=SIZES[number % len(SIZES)]),
        pause=0.02,
    )
    killed: list[Kill] = []
    for _ in range(cuts):
        before = next_hop.count()
        wait_until(lambda before=before: next_hop.count() > before + 3, 60, daemon.tail)
        time.sleep(chance.random())
        daemon.signal_all(signal.SIGSTOP)
        stopped = time.time()
        disk.copy()
        killed.append(Kill(stopped, daemon.kill().until))
        disk.swap()
        daemon.start()
    senders.stop()
    found = settle(daemon, next_hop, ledger, killed)
    say(
        found.line(
            "power cut", f"{cuts} power cuts, messages of {', '.join(str(9000 + each) for each in SIZES)} octets"
        )
    )
    check(found)
    assert not daemon.events("message_corrupt"), "a power cut must need no repair"
    assert daemon.terminate() == 0
