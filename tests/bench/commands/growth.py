"""Growth: waiting messages, clients, sessions, octets, destinations with a dead one among them. Only ours is measured.

The waiting messages are put in the spool by its own API before the daemon starts: sending 100,000 would only measure
reception once more. "held" ones stay; the "queued" ones are what a next hop finds that was down for long.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence

from tests.bench.contenders.ours import Ours, template
from tests.bench.load.bench import Bench, Load
from tests.bench.load.result import Result
from tests.bench.load.template import Template
from tests.bench.scene import backlog, dead
from tests.bench.show.table import books

LEVEL = "structure"
SPREAD = 8
HEAD = (
    f"{'':>9} {'mails/s':>8} {'accepted/s':>10} {'250 p50':>8} {'p99 ms':>8} {'whole p50':>9} {'p99 ms':>8}"
    f" {'CPU ms':>7} {'main MB':>8} {'start s':>8}  books"
)


def main() -> int:
    """Print one table a dimension."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(TABLES), help="which of them")
    parser.add_argument("--count", type=int, default=500, help="mails a run")
    parser.add_argument("--waiting", type=_numbers, default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--clients", type=_numbers, default=[10, 100, 1_000, 10_000])
    parser.add_argument("--sessions", type=_numbers, default=[1, 2, 5, 10, 20, 50, 100])
    parser.add_argument("--octets", default="a,b,c,2500,10000,25000", help="sizes, or KB")
    parser.add_argument("--destinations", type=_numbers, default=[1, 2, 4, 8])
    given = parser.parse_args()
    wanted = given.only.split(",")
    if unknown := set(wanted) - TABLES.keys():
        parser.error(f"no such table: {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    balanced = True
    for name in wanted:
        title, table = TABLES[name]
        print(f"{title}\n{HEAD}")
        for label, result, started in table(given):
            balanced &= result.balanced
            print(_row(label, result, started), flush=True)
        print()
    return 0 if balanced else 1


Rows = Iterator[tuple[str, Result, float]]


def _row(label: str, each: Result, started: float) -> str:
    times = f"{each.accept_p50:8.1f} {each.accept_p99:8.1f} {each.whole_p50:9.1f} {each.whole_p99:8.1f}"
    rates = f"{each.rate:8.1f} {each.accept_rate:10.1f}"
    return f"{label:>9} {rates} {times} {each.cpu:7.2f} {each.main:8.0f} {started:8.2f}  {books(each)}"


def _held(given: argparse.Namespace) -> Rows:
    mail = template("a")
    for many in given.waiting:
        with Bench() as bench, Ours(bench.port, LEVEL, before=backlog.held(many, mail)) as ours:
            yield f"{many}", _measured(bench, ours, Load("a", (mail,), given.count, 20)), ours.started_in


def _queued(given: argparse.Namespace) -> Rows:
    mail = template("a")
    for many in given.waiting:
        yield f"{many}", *backlog.drained(many, mail, LEVEL)


def _clients(given: argparse.Namespace) -> Rows:
    for many in given.clients:
        mails = _spread("b", many, min(SPREAD, many))
        with Bench() as bench, Ours(bench.port, LEVEL, clients=many) as ours:
            yield f"{many}", _measured(bench, ours, Load("b", mails, given.count, 20)), ours.started_in


def _sessions(given: argparse.Namespace) -> Rows:
    mail = template("b")
    with Bench() as bench, Ours(bench.port, LEVEL) as ours:
        for many in given.sessions:
            yield f"{many}", _measured(bench, ours, Load("b", (mail,), given.count, many)), ours.started_in


def _octets(given: argparse.Namespace) -> Rows:
    for size in given.octets.split(","):
        mail = template(size)
        count = max(20, min(given.count, 250_000_000 // len(mail.octets)))
        with Bench() as bench, Ours(bench.port, LEVEL) as ours:
            load = Load(size, (mail,), count, 4)
            yield f"{len(mail.octets) // 1000} KB", _measured(bench, ours, load), ours.started_in


def _destinations(given: argparse.Namespace) -> Rows:
    for many in given.destinations:
        for lost in (False, True):
            if lost and many == 1:
                continue
            with Bench() as bench, dead.blackhole() as hole:
                hops = {f"d{number}": bench.port for number in range(many)}
                if lost:
                    hops[f"d{many - 1}"] = hole
                with Ours(bench.port, LEVEL, clients=many, next_hops=hops) as ours:
                    if lost:
                        dead.send(ours, template("b", many - 1))
                    mails = tuple(template("b", number) for number in range(many - lost))
                    result = _measured(bench, ours, Load("b", mails, given.count, 20))
                    yield f"{many}{' -1 dead' if lost else ''}", result, ours.started_in


def _measured(bench: Bench, ours: Ours, load: Load) -> Result:
    """A run after a short one to warm up."""
    bench.measure(ours.target, Load(load.size, load.templates, min(50, load.count), min(20, load.sessions)))
    return bench.measure(ours.target, load)


def _spread(size: str, clients: int, many: int) -> tuple[Template, ...]:
    """Messages for `many` clients, from the first to the last."""
    return tuple(template(size, number * (clients - 1) // max(1, many - 1)) for number in range(many))


def _numbers(text: str) -> Sequence[int]:
    return [int(each) for each in text.split(",")]


TABLES: dict[str, tuple[str, Callable[[argparse.Namespace], Rows]]] = {
    "held": ("held mails in the spool; (a), 20 sessions", _held),
    "queued": ("queued mails at start; rate: of their delivery; times: of 50 new mails that come meanwhile", _queued),
    "clients": ("clients in the configuration; (b), 20 sessions", _clients),
    "sessions": ("sessions; (b)", _sessions),
    "octets": ("octets of a mail; 4 sessions", _octets),
    "destinations": (
        "destinations, each with a next hop of its own; (b), 20 sessions; the dead one takes none",
        _destinations,
    ),
}
