"""`python -m relay.settings.child DIRECTORY`: load(), written to standard output as JSON lines for `current`.

First line: the faults, and whether settings follow. Then the settings without their clients, the clients in chunks,
and the number of clients: what ends before that was never whole.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from relay import wire
from relay.settings.load import Loaded, load

CHUNK = 50
"""Clients a line: what the event loop of the daemon takes in at one go, some milliseconds."""


def lines(loaded: Loaded) -> Iterator[bytes]:
    """The lines of `loaded`, without their line ends."""
    yield _json({"faults": wire.plain(loaded.faults), "settings": loaded.settings is not None})
    if loaded.settings is None:
        return
    terms = loaded.settings.terms
    yield wire.dump(replace(loaded.settings, terms=replace(terms, clients={})))
    clients = iter(terms.clients.values())
    while chunk := list(islice(clients, CHUNK)):
        yield _json(wire.plain(chunk))
    yield _json({"clients": len(terms.clients)})


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def main() -> None:
    out = sys.stdout.buffer
    for line in lines(load(Path(sys.argv[1]))):
        out.write(line + b"\n")
    out.flush()


if __name__ == "__main__":
    main()
