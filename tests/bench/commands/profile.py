"""Where the time of one message goes, from its first octet to the sink: CPU by thread, package and function.

Package: the part of relay/ on whose behalf the time was spent, its libraries included; a library's own name when no
frame of ours was below it. The sampler costs some per cent itself. The workers are profiled by themselves, in this
process, on the same documents.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pybase64

from relay.facturx.inspect import inspect
from relay.inspection import Candidate, Options
from tests.bench.contenders.ours import CHECKS, Ours, template
from tests.bench.load import proc
from tests.bench.load.bench import Bench, Load
from tests.bench.load.result import Result
from tests.bench.load.template import Template, token
from tests.bench.sampling.sampler import Sampler
from tests.support.daemon_process import wait_until

DOCUMENTS = 100
TOP_OF_WORKERS = 8


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="b", help="a, b, c, or a number of KB")
    parser.add_argument("--level", choices=list(CHECKS), default="full")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--top", type=int, default=30)
    given = parser.parse_args()
    mail = template(given.size)
    with Bench() as bench:
        _tell_run(bench, given, mail)
    if given.level != "off":
        _tell_workers(mail, given.level)
    return 0


def _tell_run(bench: Bench, given: argparse.Namespace, mail: Template) -> None:
    with tempfile.TemporaryDirectory() as folder, Ours(bench.port, given.level, prefix=_words(folder)) as ours:
        load = Load(given.size, (mail,), given.count, given.sessions)
        bench.measure(ours.target, Load(given.size, (mail,), 100, 20))
        alone = bench.measure(ours.target, Load(given.size, (mail,), min(200, given.count), 1))
        pid = ours.rig.pid
        os.kill(pid, signal.SIGRTMIN)
        before = proc.tree((pid,))
        result = bench.measure(ours.target, load)
        after = proc.tree((pid,))
        os.kill(pid, signal.SIGRTMIN + 1)
        out = Path(folder, "samples.json")
        wait_until(out.exists, 20, "the daemon wrote no samples")
        reported = json.loads(out.read_text())
    workers = sum(after[each] - before.get(each, 0.0) for each in after if each != pid)
    print(f"({given.size}), check {given.level}, {given.sessions} sessions, {result.arrived} mails: ", end="")
    print(f"{result.rate:.0f} mails/s, {result.cpu:.2f} ms CPU a mail; {result.foreign:.2f} cores busy elsewhere")
    print(f"one session: 250 after {alone.accept_p50:.1f} ms, at the sink after {alone.whole_p50:.1f} ms (medians)\n")
    _threads(reported, result, 1000 * workers / result.arrived)
    _packages(reported["places"], result.arrived)
    _functions(reported["places"], result.arrived, given.top)


def _words(folder: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.bench.sampling.daemon", str(Path(folder, "samples.json")))


def _threads(reported: dict[str, Any], result: Result, workers: float) -> None:
    print(f"{'thread':28} {'ms a mail':>9}")
    user, system = (reported[each] / result.arrived for each in ("user", "system"))
    for name, spent in sorted(reported["threads"].items(), key=lambda each: -each[1]):
        more = f"  ({user:.2f} user, {system:.2f} system)" if name == "MainThread" else ""
        print(f"{name:28} {spent / result.arrived:9.3f}{more}")
    print(f"{'workers (processes)':28} {workers:9.3f}\n")


def _packages(places: Iterable[Any], mails: int) -> None:
    packages: Counter[str] = Counter()
    inside: dict[str, Counter[str]] = {}
    for thread, package, _, _, spent, _ in places:
        packages[package] += spent
        inside.setdefault(package, Counter())[thread] += spent
    print(f"{'package':28} {'ms a mail':>9}  of them in")
    for package, spent in packages.most_common():
        split = ", ".join(f"{name} {part / mails:.3f}" for name, part in inside[package].most_common(3))
        print(f"{package:28} {spent / mails:9.3f}  {split}")
    print()


def _functions(places: Iterable[Any], mails: int, top: int) -> None:
    print(f"{'ms a mail':>9}  {'package':12} {'thread':14} function, its own time")
    for thread, package, file, function, spent, line in sorted(places, key=lambda each: -each[4])[:top]:
        print(f"{spent / mails:9.3f}  {package:12} {thread[:14]:14} {function} ({file}:{line})")
    print()


def _tell_workers(mail: Template, level: str) -> None:
    """What a worker does with the documents of a message, in this process."""
    options = Options(level="full" if level == "full" else "structure")
    inspect(_candidates(mail, 0), options, time.perf_counter)
    mails = [_candidates(mail, number) for number in range(1, DOCUMENTS + 1)]
    with Sampler() as sampler:
        began = time.process_time()
        for each in mails:
            inspect(each, options, time.perf_counter)
        took = 1000 * (time.process_time() - began)
    print(f"a worker alone, {len(mail.documents)} document(s) a mail: {took / DOCUMENTS:.2f} ms of CPU a mail")
    for (_, _, file, function), spent in sampler.places.most_common(TOP_OF_WORKERS):
        print(f"{spent / 1e6 / DOCUMENTS:9.3f}  {function} ({file})")


def _candidates(mail: Template, number: int) -> list[Candidate]:
    name = token("000000", number)
    contents = (pybase64.encodebytes(each.replace(b"B000000-00000000", name)) for each in mail.documents)
    return [Candidate(each, "base64") for each in contents]
