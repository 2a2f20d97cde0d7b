"""Side by side: every contender, size and number of sessions, the rounds interleaved on one machine.

Exit 1 when the books of any run do not balance.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from tests.bench.contenders import postfix
from tests.bench.contenders.ours import Ours, template
from tests.bench.load.bench import Bench, Load, Target
from tests.bench.load.result import Result, median
from tests.bench.show import plot, table

BASE = "postfix"
COUNTS = {"a": 1500, "b": 1000, "c": 600}
WARM_UP = 600
"""Messages before the first round: a worker's first 300 cost it up to twice as much (heap, code that is cold)."""


class Contender(Protocol):
    @property
    def target(self) -> Target: ...


CONTENDERS: dict[str, Callable[[int], AbstractContextManager[Contender]]] = {
    "off": lambda sink: Ours(sink, "off"),
    "structure": lambda sink: Ours(sink, "structure"),
    "full": lambda sink: Ours(sink, "full"),
    "postfix": postfix.Postfix,
    "milter": lambda sink: postfix.Postfix(sink, milter=True),
}
Cell = tuple[str, int, str]


def available(names: Sequence[str]) -> list[str]:
    """Those that can run here; of the others the reason is told."""
    found = []
    for name in names:
        why = postfix.missing(name == "milter") if name in ("postfix", "milter") else None
        if why is None:
            found.append(name)
        else:
            print(f"{name} is left out: {why}", file=sys.stderr)
    return found


def compare(
    names: Sequence[str], sizes: Sequence[str], sessions: Sequence[int], rounds: int, count: int | None
) -> dict[Cell, list[Result]]:
    """Every run, by size, sessions and contender. Fresh contenders for each size; their order turns each round."""
    found: dict[Cell, list[Result]] = {}
    for size in sizes:
        many, templates = count or COUNTS.get(size, 300), (template(size),)
        with Bench() as bench, ExitStack() as stack:
            running = {name: stack.enter_context(CONTENDERS[name](bench.port)) for name in names}
            for each in running.values():
                bench.measure(each.target, Load(size, templates, min(WARM_UP, many), 20))
            for turn in range(rounds):
                for width in sessions:
                    load = Load(size, templates, many if width > 1 else max(1, many // 3), width)
                    for name in (*names[turn % len(names) :], *names[: turn % len(names)]):
                        result = bench.measure(running[name].target, load)
                        found.setdefault((size, width, name), []).append(result)
                        print(table.progress(turn, result), file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Print the table; write JSON and plot when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, help=f"mails a run (default {COUNTS}, a third with one session)")
    parser.add_argument("--sessions", type=_numbers, default=[1, 20, 100])
    parser.add_argument("--sizes", type=_words, default=["a", "b", "c"], help="a, b, c, or a number of KB")
    parser.add_argument("--contenders", type=_words, default=list(CONTENDERS), help=",".join(CONTENDERS))
    parser.add_argument("--json", type=Path, metavar="F", help="every run, one JSON line each")
    parser.add_argument("--plot", type=Path, metavar="F.png")
    given = parser.parse_args()
    if unknown := set(given.contenders) - CONTENDERS.keys():
        parser.error(f"no such contender: {', '.join(sorted(unknown))}")
    names = available(given.contenders)
    if not names:
        return 1
    found = compare(names, given.sizes, given.sessions, given.rounds, given.count)
    if given.json:
        given.json.write_text("".join(_line(result) for results in found.values() for result in results))
    middle = {cell: median(results) for cell, results in found.items()}
    print(table.text(middle, BASE, given.rounds))
    if given.plot:
        plot.draw(middle, given.plot)
    return 0 if all(result.balanced for results in found.values() for result in results) else 1


def _line(result: Result) -> str:
    fields = asdict(result)
    del fields["arrivals"]
    return json.dumps({**fields, "balanced": result.balanced}) + "\n"


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _words(text: str) -> list[str]:
    return text.split(",")
