"""10,000 clients: seconds of `config check`, of start and of reload, and the longest stall of the loop meanwhile.

python -m tests.bench.bench_settings [--clients 10000] [--files 200]
"""

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from relay.settings.current import Current
from tests.support.many_clients import write


@dataclass
class Stall:
    """The longest time between two turns of the loop, in seconds: by the wall, and of it the loop's own CPU time.

    On a busy machine the first counts the neighbours too; what the code does shows in the second.
    """

    wall: float = 0.0
    cpu: float = 0.0

    async def watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            self.wall = max(self.wall, time.perf_counter() - wall)
            self.cpu = max(self.cpu, time.thread_time() - cpu)


async def _reloads(directory: Path) -> None:
    current = Current(directory)
    for name in ("start", "reload", "reload", "reload"):
        stop, stall = asyncio.Event(), Stall()
        watch = asyncio.create_task(stall.watch(stop))
        before = time.perf_counter()
        result = await current.reload()
        seconds = time.perf_counter() - before
        stop.set()
        await watch
        clients = len(current.settings.terms.clients) if result.ok else "faulty"
        times = f"{1000 * stall.wall:.1f} ms ({1000 * stall.cpu:.1f} ms of own CPU)"
        print(f"{name}: {seconds:.2f} s, longest stall {times}, {clients} clients")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory = write(Path(folder), arguments.clients, arguments.files)
        before = time.perf_counter()
        command = [sys.executable, "-m", "relay.cli", "config", "check", "--config", str(directory)]
        check = subprocess.run(command, check=False)
        seconds = time.perf_counter() - before
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"config check: {seconds:.2f} s, exit {check.returncode}, peak {peak:.0f} MiB")
        asyncio.run(_reloads(directory))
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak of the daemon {own:.0f} MiB, of its child {children:.0f} MiB")


if __name__ == "__main__":
    main()
