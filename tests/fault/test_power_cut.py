"""P1: power cuts. The image of the disk as it is at one instant, its journal replayed, is what a cut leaves."""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.message_ledger import Balance, Books, Kill
from tests.support.rig import NextHop, Rig, wait_until
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


def test_power_cuts(
    cuts: int,
    disk: Disk,
    sink: NextHop,
    rigs: Callable[..., Rig],
    books: Books,
    settle: Callable[..., Balance],
    check: Callable[[Balance], None],
    say: Callable[[str], None],
) -> None:
    chance = random.Random(cuts)
    rig = rigs(sink.port, spool=disk.point / "spool" / "spool.db")
    rig.start()
    senders = Senders(
        rig.smtp,
        books,
        make=lambda token, number: invoice_mail(token, number % 4, padding=SIZES[number % len(SIZES)]),
        pause=0.02,
    )
    killed: list[Kill] = []
    for _ in range(cuts):
        before = sink.count()
        wait_until(lambda before=before: sink.count() > before + 3, 60, rig.tail)
        time.sleep(chance.random())
        rig.signal_all(signal.SIGSTOP)
        stopped = time.time()
        disk.copy()
        killed.append(Kill(stopped, rig.kill().until))
        disk.swap()
        rig.start()
    senders.stop()
    found = settle(rig, sink, books, killed)
    say(found.line("P1", f"{cuts} power cuts, mails of {', '.join(str(9000 + each) for each in SIZES)} octets"))
    check(found)
    assert not rig.events("message_corrupt"), "a power cut must need no repair"
    assert rig.terminate() == 0
