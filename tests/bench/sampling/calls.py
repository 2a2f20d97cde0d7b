"""The daemon with its calls counted: `python -m tests.bench.sampling.calls OUT … run --config DIR`.

SIGRTMIN begins, SIGRTMIN+1 ends and writes to OUT which functions of relay/ were called, how often, over all
threads of the daemon's own process.
"""

import json
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

import relay
from relay.cli import main as cli

ROOT = str(Path(relay.__file__).parent)


class Calls:
    """Counts calls of Python functions between `begin` and `end`."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._active = False
        self._calls: Counter[CodeType] = Counter()

    def count(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and self._active:
            self._calls[frame.f_code] += 1

    def begin(self, _: int, __: FrameType | None) -> None:
        self._active = True
        sys.setprofile(self.count)

    def end(self, _: int, __: FrameType | None) -> None:
        sys.setprofile(None)
        self._active = False
        ours = {code: calls for code, calls in self._calls.items() if code.co_filename.startswith(ROOT)}
        rows = [
            [code.co_filename.removeprefix(ROOT + "/"), code.co_qualname, calls]
            for code, calls in sorted(ours.items(), key=lambda item: (item[0].co_filename, item[0].co_firstlineno))
            if not code.co_name.startswith("<")  # comprehensions and lambdas belong to the function around them
        ]
        part = self._out.with_suffix(".part")
        part.write_text(json.dumps(rows))
        part.rename(self._out)


def main() -> None:
    """Run the daemon."""
    calls = Calls(Path(sys.argv[1]))
    threading.setprofile(calls.count)
    signal.signal(signal.SIGRTMIN, calls.begin)
    signal.signal(signal.SIGRTMIN + 1, calls.end)
    cli(sys.argv[sys.argv.index("run") :], prog_name="agiris-relay")


if __name__ == "__main__":
    main()
