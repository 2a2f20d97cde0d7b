"""What the log and the metrics of one message cost: `python -m tests.bench.bench_observability [--beside DIRECTORY]`.

One JSON line: µs of CPU a message for its events (connection, acceptance with one report, attempt, delivery), turns of
the event loop and writes included, the smallest and the median of many short rounds. `cold`: before each event the
caches of the CPU are filled with other data, as they are in a daemon that does something else in between. `net`: less
what the same turns cost when nothing observes.

--beside: another checkout of the project, measured by turns with this one.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TextIO

from relay.inspection import Kind, Report, Verdict
from relay.lifecycle import Transition
from relay.model import (
    Action,
    Delivery,
    Disposition,
    Document,
    DocumentPart,
    Envelope,
    Message,
    Plan,
    Recipient,
    Role,
    Span,
    State,
)
from relay.observability import events
from relay.observability.log import configure
from relay.observability.metrics import Metrics
from relay.observability.observer import Observer
from relay.replies import Delivered, Reply

EVICTION = bytes(1 << 20)  # larger than the cache that a core has to itself


def events_of(queue_id: str) -> tuple[events.Event, ...]:
    """What one relayed message gives to observe, in its order."""
    report = Report("5f" * 32, 90_000, Verdict.VALID, Kind.FACTURX, profile="EN 16931", ms=1.234)
    document = Document("invoice.pdf", Span(700, 130_000), DocumentPart.FACTURX, Action.KEEP, report)
    plan = Plan(
        Disposition.RELAY, ("sales-0042@agiris.example",), firm="cabinet", dossier="0042", by="recipient",
        role=Role.SALE, documents=(document,),
    )  # fmt: skip
    envelope = Envelope("platform@example.org", (Recipient("dupont+0042@export.example.org"),), peer="127.0.0.1")
    message = Message(queue_id, envelope, b"raw", (plan,), 1.7e9, "f", f"<{queue_id}.42@platform.example.org>")
    delivery = Delivery(
        queue_id, 1, 0, plan.to[0], State.ACTIVE, 1.7e9, None, attempts=1, firm=plan.firm, dossier=plan.dossier
    )
    reply = Reply(250, "2.0.0", "Ok: queued as 4bXyZ12345")
    return (
        events.ConnectionOpened("127.0.0.1", "127.0.0.1:25"),
        events.MessageAccepted(message, (report,), 0.012345),
        events.AttemptStarted(delivery),
        events.AttemptEnded(
            delivery, Delivered(reply), Transition(State.DELIVERED, None, str(reply), "delivered"), 0.004
        ),
    )


async def one_round(observe: events.Observe, messages: int, cold: bool) -> float:
    """Seconds of CPU for so many messages. Each event has a turn of the loop of its own."""
    spent = 0.0
    for number in range(messages):
        for event in events_of(f"Q{number:014}"):
            if cold:
                EVICTION.count(1)
            begun = time.thread_time()
            observe(event)
            await asyncio.sleep(0)
            spent += time.thread_time() - begun
    return spent


def measure(given: argparse.Namespace, log: TextIO) -> float:
    """µs of CPU a message, of one round."""
    configure("info", "json", log)
    observe: events.Observe = (lambda event: None) if given.serve == "nothing" else Observer(Metrics()).observe
    return 1e6 * asyncio.run(one_round(observe, given.messages, given.cold)) / given.messages


class Measured:
    """A process that measures a checkout, a round for each line that it reads."""

    def __init__(self, checkout: Path, given: argparse.Namespace, serve: str = "observer") -> None:
        words = [__file__, f"--serve={serve}", f"--messages={given.messages}", *(["--cold"] if given.cold else [])]
        self._process = subprocess.Popen(
            [sys.executable, *words], env={**os.environ, "PYTHONPATH": str(checkout)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.rounds: list[float] = []

    def round(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self.rounds.append(float(self._process.stdout.readline()))

    def close(self) -> dict[str, float]:
        """The figures. The first round was to warm up."""
        self._process.communicate()
        return {"min": min(self.rounds[1:]), "median": statistics.median(self.rounds[1:])}


def serve(given: argparse.Namespace) -> None:
    """Measure a round for each line of standard input."""
    with tempfile.TemporaryFile("w+") as log:
        for _line in sys.stdin:
            print(measure(given, log), flush=True)


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20, help="a round")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--beside", type=Path, help="root of another checkout")
    parser.add_argument("--serve", choices=["observer", "nothing"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given)
        return
    here = Path(__file__).parents[2]
    measured = {str(each): Measured(each, given) for each in (given.beside, here) if each is not None}
    idle = Measured(here, given, "nothing")
    for _ in range(1 + given.rounds):
        for each in (idle, *measured.values()):
            each.round()
    nothing = idle.close()
    figures = {name: each.close() for name, each in measured.items()}
    net = {
        name: {f"{kind}_net_us": round(of[kind] - nothing[kind], 1) for kind in nothing} for name, of in figures.items()
    }
    print(json.dumps({"cold": given.cold, **net}))


if __name__ == "__main__":
    main()
