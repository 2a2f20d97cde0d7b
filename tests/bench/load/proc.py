"""CPU time and memory of processes and their children, from /proc."""

import os
import re
import threading
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
RESET_PEAK = "5"


def tree(roots: Iterable[int]) -> dict[int, float]:
    """Seconds of CPU (of reaped children too) by pid of the roots and all below them."""
    seconds, children = {}, defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit() and (read := _stat(int(name))) is not None:
            parent, seconds[int(name)] = read
            children[parent].append(int(name))
    found, waiting = {}, list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in seconds and pid not in found:
            found[pid] = seconds[pid]
            waiting += children[pid]
    return found


def _stat(pid: int) -> tuple[int, float] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[1]), sum(map(int, fields[11:15])) / TICK


def machine() -> tuple[float, float]:
    """Seconds that the machine was busy since it started, and that its host took from it."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _, _, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq) / TICK, steal / TICK


def proportional(pids: Iterable[int]) -> float:
    """Megabytes of memory of these processes, what they share counted once (PSS)."""
    total = 0
    for pid in pids:
        with suppress(OSError, TypeError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1])  # type: ignore[index]
    return total / 1024


def peak(pid: int) -> float:
    """Megabytes of the highest resident size of one process since `reset_peak`."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+)", text, re.MULTILINE)[1]) / 1024  # type: ignore[index]


def reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)


class Watch:
    """`with Watch(roots)`: the highest proportional size of the tree meanwhile, looked at every `seconds`."""

    def __init__(self, roots: Iterable[int], seconds: float = 0.5) -> None:
        self._roots, self._seconds = tuple(roots), seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.megabytes = 0.0

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._stop.wait(self._seconds)
            self.megabytes = max(self.megabytes, proportional(tree(self._roots)))
