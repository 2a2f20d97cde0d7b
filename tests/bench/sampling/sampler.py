"""A sampling profiler by CPU time: at each SIGPROF, what every thread used since the last one goes to where it stands.

Weighed by CPU and not counted, for a thread that waits is no cost. Python runs the handler between two bytecodes: the
time of a C function falls to the line that called it, now and then to the next one.
"""

import signal
import sys
import sysconfig
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType, TracebackType

import relay

INTERVAL = 0.004
RELAY = str(Path(relay.__file__).parent) + "/"
BOTTOM = RELAY + "cli/"
"""Below every frame of the loop: nothing is done on its behalf."""

STANDARD = sysconfig.get_path("stdlib") + "/"

Place = tuple[str, str, str, str]
"""Thread, package, file, function."""


class Sampler:
    """`with Sampler() as sampler`, in the main thread. places, lines, threads: nanoseconds of CPU."""

    def __init__(self) -> None:
        self.places: Counter[Place] = Counter()
        self.lines: dict[Place, Counter[int]] = {}
        self.threads: Counter[str] = Counter()
        self._used: dict[int, int] = {}

    def __enter__(self) -> "Sampler":
        for thread in threading.enumerate():
            self._used[thread.native_id or 0] = _cpu(thread)
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)

    def _sample(self, _: int, frame: FrameType | None) -> None:
        frames = sys._current_frames()
        for thread in threading.enumerate():
            used = _cpu(thread)
            spent = used - self._used.get(thread.native_id or 0, 0)
            self._used[thread.native_id or 0] = used
            here = frame if thread is threading.main_thread() else frames.get(thread.ident or 0)
            if spent > 0 and here is not None:
                self._charge(thread.name, here, spent)

    def _charge(self, thread: str, frame: FrameType, spent: int) -> None:
        code = frame.f_code
        place = (thread, package(frame), short(code.co_filename), code.co_qualname)
        self.places[place] += spent
        self.lines.setdefault(place, Counter())[frame.f_lineno or 0] += spent
        self.threads[thread] += spent


def package(frame: FrameType) -> str:
    """The part of relay/ on whose behalf this frame runs: the innermost one of ours; else the library at work."""
    at: FrameType | None = frame
    while at is not None:
        name = at.f_code.co_filename
        if name.startswith(RELAY) and not name.startswith(BOTTOM):
            return name[len(RELAY) :].partition("/")[0].removesuffix(".py")
        at = at.f_back
    name = short(frame.f_code.co_filename).lstrip("/").partition("/")[0].removesuffix(".py")
    return "asyncio" if name in ("asyncio", "selectors") else name


def short(name: str) -> str:
    """A file's name without what is the same for all."""
    if name.startswith(RELAY):
        return name[len(RELAY) - len("relay/") :]
    for mark in ("site-packages/", "dist-packages/", STANDARD):
        if mark in name:
            return name.rpartition(mark)[2]
    return name


def _cpu(thread: threading.Thread) -> int:
    """Nanoseconds of CPU of a thread; 0 once it has ended."""
    if thread is threading.main_thread():
        return time.thread_time_ns()
    try:
        return int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0])
    except OSError:
        return 0
