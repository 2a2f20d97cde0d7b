"""What others lose by one bad neighbour: a message of 20 MB repeatedly, or an invoice that takes a worker its whole
time-out, again and again. Either may cost the worker it occupies, and not more.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.contenders.ours import Ours, recipient, siren, template
from tests.bench.load import sender
from tests.bench.load.bench import Bench, Load, sending
from tests.bench.load.result import Result
from tests.bench.load.template import Template
from tests.bench.load.template import template as made
from tests.bench.show.table import books

ENDLESS_LINES = 12_000
"""Lines of an invoice whose business rules take some 20 seconds; 16 MB as a message."""

NOISY = 1_000_000


def main() -> int:
    """Print the table; exit 1 when a neighbour costs more than the worker it occupies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=2000, help="mails a run: it should outlast the time-out")
    parser.add_argument("--size", default="b")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout", type=int, default=10, metavar="S", help="check.timeout")
    given = parser.parse_args()
    neighbours = {"alone": None, "20 MB": template("20000"), "time-out": _endless()}
    found: dict[str, list[Result]] = {name: [] for name in neighbours}
    load = Load(given.size, (template(given.size),), given.count, given.sessions)
    more = f", timeout: {given.timeout} s, workers: {given.workers}"
    with Bench() as bench, Ours(bench.port, "full", more_check=more) as ours:
        bench.measure(ours.target, Load(load.size, load.templates, 50, 20))
        for _ in range(given.rounds):
            for name, mail in neighbours.items():
                with _noise(ours.rig.smtp, mail):
                    found[name].append(bench.measure(ours.target, load))
                print(f"{name:10} {found[name][-1].rate:8.1f} mails/s", file=sys.stderr, flush=True)
    return _tell(found, given.workers)


def _tell(found: dict[str, list[Result]], workers: int) -> int:
    share = (workers - 1) / workers if workers > 1 else 0.0
    alone = statistics.median(each.rate for each in found["alone"])
    print(f"({found['alone'][0].size}), check full, {workers} workers; less than {share:.2f} would be too little")
    print(f"{'neighbour':10} {'mails/s':>8} {'of alone':>8} {'whole p50':>9} {'p99 ms':>8}  books")
    enough = True
    for name, results in found.items():
        rate = statistics.median(each.rate for each in results)
        p50, p99 = (statistics.median(getattr(each, name) for each in results) for name in ("whole_p50", "whole_p99"))
        worst = next((each for each in results if not each.balanced), results[-1])
        print(f"{name:10} {rate:8.1f} {rate / alone:8.2f} {p50:9.1f} {p99:8.1f}  {books(worst)}")
        enough &= rate / alone >= share and worst.balanced
    return 0 if enough else 1


@contextmanager
def _noise(port: int, mail: Template | None) -> Iterator[None]:
    """One session that sends `mail` again and again meanwhile."""
    if mail is None:
        yield
        return
    with sending(sender.Task(port, os.urandom(3).hex(), NOISY, 1, (mail,), seconds=600)) as senders:
        senders.go()
        try:
            yield
        finally:
            senders.kill()


def _endless() -> Template:
    return made("endless", recipient(0), siren(0), lines=ENDLESS_LINES)
