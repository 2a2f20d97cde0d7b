"""How fast the spool stores: `python -m tests.bench.bench_spool [--writers 16] [--size 130000,600000] [--seconds 5]`.

Prints a JSON line for each size: messages a second, the times of one store in milliseconds, and what a message costs in
milliseconds of CPU, thread by thread, to store it and to claim and settle its delivery.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from relay.lifecycle import step
from relay.model import Retry
from relay.replies import Delivered, Reply
from relay.spool.open import open_spool
from relay.spool.port import Spool, SpoolFull
from tests.support.spool_messages import mail

DONE = Delivered(Reply(250, "2.0.0", "ok"))


async def write(spool: Spool, raw: bytes, until: float, times: list[float]) -> None:
    while (begun := time.perf_counter()) < until:
        try:
            await spool.store(mail(raw=raw, at=time.time()))
        except SpoolFull:
            return
        times.append(time.perf_counter() - begun)


async def drain(spool: Spool) -> tuple[int, float]:
    """Claim and settle all that was stored; how many in how many seconds."""
    begun, count = time.perf_counter(), 0
    while claims := await spool.claim(time.time(), 60, 100):
        now = time.time()
        await asyncio.gather(*(spool.settle(each, step(each.delivery, DONE, now, Retry())) for each in claims))
        count += len(claims)
    return count, time.perf_counter() - begun


def used() -> dict[str, float]:
    """Milliseconds of CPU that each thread of this process has used, by name."""
    found = {}
    for each in threading.enumerate():
        with suppress(FileNotFoundError):  # it ends just now
            nanoseconds = Path(f"/proc/self/task/{each.native_id}/schedstat").read_text("ascii").split()[0]
            found[each.name] = int(nanoseconds) / 1e6
    return found


def cost(before: dict[str, float], after: dict[str, float], mails: int) -> dict[str, float]:
    """Milliseconds a message, of the threads that count."""
    each = {name: round((spent - before.get(name, 0.0)) / mails, 3) for name, spent in after.items()}
    return {name: spent for name, spent in each.items() if spent >= 0.005}


async def measure(folder: Path, writers: int, size: int, seconds: float) -> dict[str, object]:
    spool = open_spool(f"sqlite://{folder}/queue.db")
    times: list[float] = []
    raw, idle = os.urandom(size), used()
    begun = time.perf_counter()
    await asyncio.gather(*(write(spool, raw, begun + seconds, times) for _ in range(writers)))
    elapsed, stored = time.perf_counter() - begun, used()
    count, drained = await drain(spool)
    settled = used()
    await spool.close()
    times.sort()
    return {
        "mails_per_second": round(len(times) / elapsed),
        "p50_ms": round(1000 * times[len(times) // 2], 1),
        "p99_ms": round(1000 * times[len(times) * 99 // 100], 1),
        "claims_settled_per_second": round(count / drained),
        "cpu_ms_to_store": cost(idle, stored, len(times)),
        "cpu_ms_to_claim_and_settle": cost(stored, settled, count),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--size", default="130000,600000", help="octets of a mail; several with commas")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    for size in map(int, given.size.split(",")):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            result = asyncio.run(measure(Path(folder), given.writers, size, given.seconds))
        sys.stdout.write(json.dumps({"writers": given.writers, "size": size, **result}) + "\n")


if __name__ == "__main__":
    main()
