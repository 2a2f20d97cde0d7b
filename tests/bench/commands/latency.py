"""From the instant a message was due to its 250, and to whole at the sink, at a steady rate that all can take.

Open loop: a message's times count from when it was due, however late a session was free for it.
"""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack

from tests.bench.commands.compare import available
from tests.bench.contenders.ours import Ours, template
from tests.bench.contenders.postfix import Postfix
from tests.bench.load import slow_fsync
from tests.bench.load.bench import Bench, Load
from tests.bench.load.result import Result, median
from tests.bench.show.table import books

SESSIONS = 200


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=50, help="mails a second")
    parser.add_argument("--seconds", type=float, default=20, help="of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="b", help="a, b, c, or a number of KB")
    parser.add_argument(
        "--slow-fsync", type=float, default=4, metavar="MS", help="added to each fsync; 0: not measured"
    )
    parser.add_argument("--contenders", default="structure,full,postfix,milter")
    given = parser.parse_args()
    names = available(given.contenders.split(","))
    load = Load(given.size, (template(given.size),), int(given.rate * given.seconds), SESSIONS, rate=given.rate)
    print(f"({given.size}) at {given.rate:g} mails/s, medians of {given.rounds} rounds of {given.seconds:g} s")
    print(
        f"{'disk':12} {'contender':18} {'250 p50':>8} {'p99 ms':>8} {'whole p50':>9} {'p99 ms':>8} {'CPU ms':>7}  books"
    )
    balanced = _tell("as it is", _measure(names, load, given.rounds, ""))
    if given.slow_fsync:
        if (why := slow_fsync.missing()) is not None:
            print(f"slow disk left out: {why}")
        else:
            with slow_fsync.shim(given.slow_fsync) as library:
                balanced &= _tell(f"+{given.slow_fsync:g} ms", _measure(names, load, given.rounds, library))
    return 0 if balanced else 1


def _measure(names: Sequence[str], load: Load, rounds: int, preload: str) -> list[Result]:
    """The median of each contender, the rounds interleaved."""
    found: dict[str, list[Result]] = {}
    with Bench() as bench, ExitStack() as stack:
        running = {name: stack.enter_context(_contender(name, bench.port, preload)) for name in names}
        for each in running.values():
            bench.measure(each.target, Load(load.size, load.templates, 100, 20))
        for _ in range(rounds):
            for name, each in running.items():
                found.setdefault(name, []).append(bench.measure(each.target, load))
    return [median(results) for results in found.values()]


def _contender(name: str, sink: int, preload: str) -> Ours | Postfix:
    if name in ("postfix", "milter"):
        return Postfix(sink, milter=name == "milter", preload=preload)
    return Ours(sink, name, environment={"LD_PRELOAD": preload} if preload else {})


def _tell(disk: str, results: Sequence[Result]) -> bool:
    for each in results:
        times = f"{each.accept_p50:8.1f} {each.accept_p99:8.1f} {each.whole_p50:9.1f} {each.whole_p99:8.1f}"
        print(f"{disk:12} {each.contender:18} {times} {each.cpu:7.2f}  {books(each)}", flush=True)
    return all(each.balanced for each in results)
