"""`python -m relay.settings.reload_worker DIRECTORY`: load(), told in lines to `handover`, which runs in the daemon.

A line is a word, a blank and JSON. Out: `faults`; when there are settings `settings` without their clients; for each
firm's file `same` and its place, or `firm` and then its clients, warnings and claims in chunks; `end` and the number of
clients read: what ends before that was never whole. In, until the end of the input: the `firm`, `warnings` and `claims`
of the files that are in force, as they were told before."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from relay import serialization
from relay.settings.firm_file import FirmKept, FirmRead
from relay.settings.issues import ConfigIssue
from relay.settings.load import Loaded, load
from relay.settings.uniqueness import UniqueKey

CHUNK = 50
"""Clients a line: what the event loop of the daemon takes in at one go, some milliseconds."""


def lines(loaded: Loaded) -> Iterator[bytes]:
    """The lines of `loaded`, without their line ends."""
    yield _line("faults", loaded.faults)
    if loaded.settings is None:
        return
    yield _line("settings", replace(loaded.settings, terms=replace(loaded.settings.terms, clients={})))
    for firm in loaded.firms:
        yield from _firm(firm)
    yield _line("end", len(loaded.settings.terms.clients))


def _firm(read: FirmRead) -> Iterator[bytes]:
    if read.clients is None:
        yield _line("same", read.kept.place)
        return
    yield _line("firm", replace(read.kept, warnings=(), claims=()))
    for word, values in (("clients", read.clients), ("warnings", read.kept.warnings), ("claims", read.kept.claims)):
        yield from _chunks(word, values)


def _chunks(word: str, values: Sequence[object]) -> Iterator[bytes]:
    rest = iter(values)
    while chunk := list(islice(rest, CHUNK)):
        yield _line(word, chunk)


def known(told: Iterable[bytes]) -> dict[str, FirmKept]:
    """By place, the files that are in force. Nothing when the daemon is of another release and tells them otherwise."""
    found: list[tuple[FirmKept, list[ConfigIssue], list[UniqueKey]]] = []
    try:
        for line in told:
            word, _, value = line.partition(b" ")
            if word == b"firm":
                found.append((serialization.load(FirmKept, value), [], []))
            elif found and word == b"warnings":
                found[-1][1].extend(serialization.load(tuple[ConfigIssue, ...], value))
            elif found and word == b"claims":
                found[-1][2].extend(serialization.load(tuple[UniqueKey, ...], value))
    except ValueError:
        return {}
    return {
        firm.place: replace(firm, warnings=tuple(warnings), claims=tuple(claims)) for firm, warnings, claims in found
    }


def _line(word: str, value: object) -> bytes:
    return word.encode("ascii") + b" " + serialization.dump(value)


def main() -> None:
    out = sys.stdout.buffer
    for line in lines(load(Path(sys.argv[1]), known(sys.stdin.buffer))):
        out.write(line + b"\n")
    out.flush()


if __name__ == "__main__":
    main()
