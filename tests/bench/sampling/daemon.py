"""The daemon under the sampler: `python -m tests.bench.sampling.daemon OUT … run --config DIR`, before a command line.

SIGRTMIN begins, SIGRTMIN+1 ends and writes what was seen to OUT. Only the daemon's own process is looked at.
"""

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from relay.cli import main as cli
from tests.bench.sampling.sampler import Sampler

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


class Recorder:
    """One recording at a time."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._sampler = Sampler()
        self._before: tuple[float, float] = (0.0, 0.0)

    def begin(self, _: int, __: FrameType | None) -> None:
        self._before = main_thread()
        self._sampler = Sampler()
        self._sampler.__enter__()

    def end(self, _: int, __: FrameType | None) -> None:
        self._sampler.__exit__(None, None, None)
        user, system = (after - before for after, before in zip(main_thread(), self._before, strict=True))
        places = [
            [*place, spent / 1e6, self._sampler.lines[place].most_common(1)[0][0]]
            for place, spent in self._sampler.places.items()
        ]
        threads = {name: spent / 1e6 for name, spent in self._sampler.threads.items()}
        reported = {"threads": threads, "places": places, "user": user, "system": system}
        whole = self._out.with_suffix(".part")
        whole.write_text(json.dumps(reported))
        whole.rename(self._out)


def main_thread() -> tuple[float, float]:
    """ms of CPU of the main thread so far: in Python and its libraries, in the kernel."""
    text = Path(f"/proc/self/task/{os.getpid()}/stat").read_text()
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[11]) * TICK_MS, int(fields[12]) * TICK_MS


def main() -> None:
    """Run the daemon."""
    recorder = Recorder(Path(sys.argv[1]))
    signal.signal(signal.SIGRTMIN, recorder.begin)
    signal.signal(signal.SIGRTMIN + 1, recorder.end)
    cli(sys.argv[sys.argv.index("run") :], prog_name="agiris-relay")


if __name__ == "__main__":
    main()
