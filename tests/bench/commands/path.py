"""What one message passes in the daemon's own process: modules and functions of relay/, from first octet to sink.

A warm daemon takes one more message; every function called meanwhile is counted once, on whichever thread it ran.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.bench.contenders.ours import CHECKS, Ours, template
from tests.bench.load.bench import Bench, Load
from tests.support.daemon_process import wait_until


def main() -> int:
    """Print the figures, and with --list each function."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="b", help="a, b, c, or a number of KB")
    parser.add_argument("--level", choices=list(CHECKS), default="full")
    parser.add_argument("--list", action="store_true", help="name each function and how often it was called")
    given = parser.parse_args()
    message = template(given.size)
    with Bench() as bench, tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "calls.json")
        prefix = (sys.executable, "-m", "tests.bench.sampling.calls", str(out))
        with Ours(bench.port, given.level, prefix=prefix) as ours:
            bench.measure(ours.target, Load(given.size, (message,), 20, 1))
            os.kill(ours.rig.pid, signal.SIGRTMIN)
            bench.measure(ours.target, Load(given.size, (message,), 1, 1))
            os.kill(ours.rig.pid, signal.SIGRTMIN + 1)
            wait_until(out.exists, 20, "the daemon wrote no calls")
            rows = json.loads(out.read_text())
    modules = Counter(file for file, _, _ in rows)
    print(f"one message ({given.size}), check {given.level}: {len(modules)} modules, {len(rows)} functions,", end=" ")
    print(f"{sum(calls for _, _, calls in rows)} calls in the daemon's process")
    if given.list:
        for file, function, calls in rows:
            print(f"{calls:6}  {file}  {function}")
    return 0
