"""Results as a table for a terminal."""

import os
from collections.abc import Mapping
from datetime import datetime

from tests.bench.load.result import Result

HEAD = (
    f"{'mail':>5} {'sessions':>8}  {'contender':18} {'mails/s':>8} {'/Postfix':>8} {'250 p50':>8} {'p99 ms':>8}"
    f" {'whole p50':>9} {'p99 ms':>8} {'CPU ms':>7} {'peak MB':>8} {'main MB':>8} {'foreign':>7}  books"
)
NOTES = """\
mails/s: first connect to last mail whole at the sink. /Postfix: ratio to plain Postfix in the same run. 250: from
connect to the 250 of the content; whole: from connect to whole at the sink. CPU: of the whole process tree, a mail.
peak: the tree, what is shared counted once; main: the daemon's main process. foreign: cores busy with other work
meanwhile (noise). books: each mail at the sink once, the sha256 of its documents as sent.
All answer 250 after fsync. Ours and the milter cut the original PDF of (c); plain Postfix passes everything on."""


def progress(turn: int, result: Result) -> str:
    """One run, as it ends."""
    return (
        f"round {turn + 1} {result.size:>5} {result.sessions:>3} sessions  {result.contender:18}"
        f" {result.rate:8.1f} mails/s  CPU {result.cpu:6.2f} ms  foreign {result.foreign:.2f}  {books(result)}"
    )


def text(middle: Mapping[tuple[str, int, str], Result], base: str, rounds: int) -> str:
    """middle: medians by size, sessions, contender. base: the contender that ratios are to."""
    lines = [
        f"{datetime.now():%Y-%m-%d %H:%M}, {os.cpu_count()} cores, medians of {rounds} interleaved rounds",
        "",
        HEAD,
    ]
    last = None
    for (size, sessions, _), each in middle.items():
        if last not in (None, (size, sessions)):
            lines.append("")
        last = (size, sessions)
        plain = middle.get((size, sessions, base))
        ratio = f"{each.rate / plain.rate:8.2f}" if plain is not None and plain.rate else f"{'-':>8}"
        main = f"{each.main:8.0f}" if each.main else f"{'-':>8}"
        times = f"{each.accept_p50:8.1f} {each.accept_p99:8.1f} {each.whole_p50:9.1f} {each.whole_p99:8.1f}"
        lines.append(
            f"{size:>5} {sessions:>8}  {each.contender:18} {each.rate:8.1f} {ratio} {times}"
            f" {each.cpu:7.2f} {each.peak:8.0f} {main} {each.foreign:7.2f}  {books(each)}"
        )
    return "\n".join([*lines, "", NOTES])


def _shortly(reasons: Mapping[str, int]) -> str:
    """`147 x content 451 4.3.2`, …: the stage, and of the reply its codes."""
    return ", ".join(f"{count} x {' '.join(why.replace(':', '').split()[:3])}" for why, count in reasons.items())


def books(result: Result) -> str:
    """What does not balance, and what had to be sent again."""
    wrong = {name: getattr(result, name) for name in ("missing", "doubled", "damaged") if getattr(result, name)}
    said = "  ".join(f"{count} {name}" for name, count in wrong.items())
    if result.refused:
        said += f"  refused {result.refused}"
    if result.later:
        said += f"  tried again: {_shortly(result.later)}"
    return said.strip() or "balanced" if result.balanced else f"NOT BALANCED {said.strip()}"
