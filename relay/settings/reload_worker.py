"""`python -m relay.settings.reload_worker DIRECTORY`: load(), sent in lines to `live`, which runs in the daemon.

A line is a word, a blank and JSON. Out: `faults`; when there are settings `settings` without their clients; for each
firm's file `same` and its place, or `firm` and then its clients, warnings and claims in chunks; `end` and the number of
clients read: what ends before that is not complete. In, until the end of the input: the `firm`, `warnings` and `claims`
of the files that are in force, as they were sent before."""

import gc
import os
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


def known(sent: Iterable[bytes]) -> dict[str, FirmKept]:
    """By place, the files that are in force. Nothing when a daemon of another release sends them in another form."""
    firms: list[tuple[FirmKept, list[ConfigIssue], list[UniqueKey]]] = []
    try:
        for line in sent:
            word, _, value = line.partition(b" ")
            if word == b"firm":
                firms.append((serialization.load(FirmKept, value), [], []))
            elif firms and word == b"warnings":
                firms[-1][1].extend(serialization.load(tuple[ConfigIssue, ...], value))
            elif firms and word == b"claims":
                firms[-1][2].extend(serialization.load(tuple[UniqueKey, ...], value))
    except ValueError:
        return {}
    return {
        firm.place: replace(firm, warnings=tuple(warnings), claims=tuple(claims)) for firm, warnings, claims in firms
    }


def _line(word: str, value: object) -> bytes:
    return word.encode("ascii") + b" " + serialization.dump(value)


def main() -> None:
    gc.disable()  # it would walk the clients again and again, and finds nothing: this process ends at once
    out = sys.stdout.buffer
    for line in lines(load(Path(sys.argv[1]), known(sys.stdin.buffer))):
        out.write(line + b"\n")
    out.flush()
    os._exit(0)  # without freeing the clients one by one: the daemon waits for the end


if __name__ == "__main__":
    main()
