"""10,000 clients: seconds of `config check`, of start, of a reload with nothing, one file and relay.yaml changed, and
the stalls of the loop meanwhile: what the daemon's own part of it, LiveSettings and the directory sent to the workers,
costs the sessions; memory of the workers.

python -m tests.bench.bench_settings [--clients 10000] [--files 200]
"""

import argparse
import asyncio
import gc
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from relay.checker import CheckerPool
from relay.daemon.configuration import LiveSettings
from tests.support.many_clients import write


@dataclass
class Stalls:
    """Times between two turns of the loop, in seconds: by the wall, and of them the loop's own CPU time.

    On a busy machine the first counts the neighbours too; what the code does shows in the second.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    async def watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            self.wall.append(time.perf_counter() - wall)
            self.cpu.append(time.thread_time() - cpu)

    def __str__(self) -> str:
        parts = [f"{name} p99 {_p99(times):.1f} ms, max {1000 * max(times):.1f} ms" for name, times in self._named()]
        return "stalls of the loop: " + "; ".join(parts)

    def _named(self) -> list[tuple[str, list[float]]]:
        return [("wall", self.wall), ("own CPU", self.cpu)]


def _p99(times: list[float]) -> float:
    return 1000 * sorted(times)[int(0.99 * (len(times) - 1))]


def _one_firm(directory: Path) -> None:
    path = next(iter(sorted((directory / "firms").iterdir())))
    path.write_text(path.read_text(encoding="utf-8").replace("original_pdf: false", "original_pdf: true"))


def _relay_yaml(directory: Path) -> None:
    with (directory / "relay.yaml").open("a", encoding="utf-8") as stream:
        stream.write("digest: daily\n")


def _nothing(_: Path) -> None:
    pass


async def _reloads(directory: Path) -> None:
    in_force = LiveSettings(directory)
    workers: list[int] = []
    pool = CheckerPool(2, 30, observe=lambda event: workers.append(event.pid))
    await pool.start()
    print(f"memory of a worker before: {_memory(workers)}")
    gc.collect()
    gc.freeze()  # as the daemon does once it is up
    steps = [("start", _nothing), ("reload, nothing changed", _nothing), ("reload, one firm changed", _one_firm)]
    for name, change in [*steps, ("reload, relay.yaml changed", _relay_yaml), ("reload, nothing changed", _nothing)]:
        change(directory)
        stop, stalls = asyncio.Event(), Stalls()
        watch = asyncio.create_task(stalls.watch(stop))
        before = time.perf_counter()
        result = await in_force.reload()
        read = time.perf_counter() - before
        await pool.load(in_force.directory)
        pool.use(in_force.directory)
        seconds = time.perf_counter() - before
        stop.set()
        await watch
        clients = len(in_force.settings.terms.clients) if result.ok else "faulty"
        times = f"{seconds:.2f} s, {read:.2f} until it is read"
        print(f"{name}: {times}, {result.reread} files read again, {clients} clients; {stalls}")

    print(f"memory of a worker after: {_memory(workers)}")
    await pool.close()


def _memory(pids: list[int]) -> str:
    """Their own pages (Private_Dirty) in MiB."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in dict.fromkeys(pids)]
    kilobytes = [int(text.partition("Private_Dirty:")[2].split()[0]) for text in texts]
    return " and ".join(f"{each / 1024:.0f} MiB" for each in kilobytes)


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
