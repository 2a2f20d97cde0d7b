"""How fast the spool stores: `python tests/bench/bench_spool.py [--writers 16] [--size 200000] [--seconds 5]`.

Prints one JSON line: mails a second and the times of one store in milliseconds.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from relay.lifecycle import step
from relay.model import Retry
from relay.reply import Delivered, Reply
from relay.spool.open import open_spool
from relay.spool.port import Spool, SpoolFull
from tests.support.spooled import mail

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


async def measure(folder: Path, writers: int, size: int, seconds: float) -> dict[str, float]:
    spool = open_spool(f"sqlite://{folder}/queue.db")
    times: list[float] = []
    begun = time.perf_counter()
    raw = os.urandom(size)
    await asyncio.gather(*(write(spool, raw, begun + seconds, times) for _ in range(writers)))
    elapsed = time.perf_counter() - begun
    count, drained = await drain(spool)
    await spool.close()
    times.sort()
    return {
        "mails_per_second": round(len(times) / elapsed),
        "p50_ms": round(1000 * times[len(times) // 2], 1),
        "p99_ms": round(1000 * times[len(times) * 99 // 100], 1),
        "claims_settled_per_second": round(count / drained),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--size", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        result = asyncio.run(measure(Path(folder), given.writers, given.size, given.seconds))
    sys.stdout.write(json.dumps({"writers": given.writers, "size": given.size, **result}) + "\n")


if __name__ == "__main__":
    main()
