"""What lies between the final dot and the spool costs: `python -m tests.bench.bench_routing [--level full] [--size c]`.

One JSON line: ms of CPU a message, here (parse, hand over, decide, fingerprint) and in the workers, the smallest
of many short rounds. The wall clock is not asked: it would be that of the machine's other work.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

from relay.checker import CheckerPool, EvaluationRequest
from relay.model import Disposition, Envelope, Recipient, new_queue_id
from relay.routing.directory import Directory
from relay.routing.policy import Addresses, Check, Client, Level, Terms
from tests.bench.contenders.ours import recipient, template
from tests.bench.load.template import token
from tests.support.many_clients import siren

ENVELOPE = Envelope("platform@example.org", (Recipient(recipient(0)),), peer="127.0.0.1", helo="platform.example.org")


def directory(level: str) -> Directory:
    """One client, whose invoices the bench's messages hold."""
    addresses = Addresses("1@agiris.example", "1@agiris.example")
    client = Client("cabinet", "1", siren=siren(0), addresses=addresses, recipients=(recipient(0),))
    terms = Terms("relay.bench.example", (recipient(0),), check=Check(Level(level)), clients={client.key: client})
    return Directory(terms)


async def session(waiting: Iterator[bytes], clients: Directory, pool: CheckerPool) -> None:
    """Judge what waits, one after the other."""
    for raw in waiting:
        found = await pool.evaluate(EvaluationRequest(ENVELOPE, new_queue_id(), time.time()), raw, clients)
        assert [plan.disposition for plan in found.decision.plans] == [Disposition.RELAY]


async def measure(level: str, size: str, mails: int, rounds: int, sessions: int, workers: int) -> dict[str, float]:
    """CPU a message: {"main_ms": …, "workers_ms": …}."""
    started: list[int] = []
    pool = CheckerPool(workers, 30, observe=lambda event: started.append(event.pid))
    await pool.start()
    clients, made = directory(level), template(size)
    raws = [bytes(made.mail(token("abcdef", serial))) for serial in range(mails)]
    took: dict[str, list[float]] = {"main_ms": [], "workers_ms": []}
    for _ in range(1 + rounds):
        waiting, main, work = iter(raws), time.thread_time(), cpu(started)
        await asyncio.gather(*(session(waiting, clients, pool) for _ in range(sessions)))
        took["main_ms"].append(time.thread_time() - main)
        took["workers_ms"].append(cpu(started) - work)
    await pool.close()
    return {name: round(1000 * min(seconds[1:]) / mails, 3) for name, seconds in took.items()}


def cpu(pids: list[int]) -> float:
    """Seconds that these processes have run, to the nanosecond."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", choices=[each.value for each in Level], default="structure")
    parser.add_argument("--size", default="b", help="a (9 KB), b (130 KB), c (600 KB)")
    parser.add_argument("--mails", type=int, default=100, help="a round")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    said = vars(parser.parse_args())
    print(json.dumps({**said, **asyncio.run(measure(**said))}))


if __name__ == "__main__":
    main()
