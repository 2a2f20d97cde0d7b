"""The daemon's side of `child`: settings taken in slices, each a few milliseconds of the event loop."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from relay import wire
from relay.export.terms import Client
from relay.report import Severity
from relay.settings.faults import Fault
from relay.settings.settings import Settings

TIMEOUT = 120.0
LINE_LIMIT = 8 * 1024 * 1024
SLICE = 500
"""Clients put in place at one go."""
KEPT = frozenset({b"firm", b"warnings", b"claims"})

ReadLine = Callable[[], Awaitable[bytes]]


class Broken(Exception):
    """The child ended before it had said everything."""


@dataclass(frozen=True, slots=True)
class Told:
    """One firm's file. lines: what the next child is told of it, that it need not read the same file again."""

    lines: list[bytes] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)


Firms = Mapping[str, Told]
"""By place, in the order of the files."""

NONE: Firms = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Taken:
    """settings: None when a fault is an error; then there are no firms. reread: how many files were read again.

    unread: the process that reads failed; nothing is known of the files.
    """

    settings: Settings | None
    faults: tuple[Fault, ...]
    firms: Firms = field(default_factory=lambda: NONE)
    reread: int = 0
    unread: bool = False


async def load_apart(directory: Path, before: Firms = NONE) -> Taken:
    """As load.load(), the YAML work done in a child process. Never raises for a child that fails: that is a fault.

    before: the firms of the settings in force.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay.settings.child", str(directory)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=LINE_LIMIT,
        )
    except OSError as error:
        return _failed(directory, f"no process can be started to read the configuration: {error.strerror or error}")
    assert process.stdin is not None and process.stdout is not None
    try:
        async with asyncio.timeout(TIMEOUT):
            await _tell(process.stdin, before)
            return await receive(process.stdout.readline, before)
    except (Broken, ValueError) as error:
        return _failed(directory, f"the process that reads the configuration failed: {error}")
    except TimeoutError:
        return _failed(directory, f"reading the configuration took longer than {TIMEOUT:.0f} s")
    finally:
        await _end(process)


async def _tell(child: asyncio.StreamWriter, firms: Firms) -> None:
    with suppress(ConnectionError):  # a child that is dead says no end either
        for line in (line for told in firms.values() for line in told.lines):
            child.write(line)
            await child.drain()
        child.close()


async def receive(readline: ReadLine, before: Firms = NONE) -> Taken:
    """What the child says. Raises Broken or ValueError when it is not whole."""
    word, value = await _line(readline)
    faults = wire.load(tuple[Fault, ...], value)
    if any(fault.severity is Severity.ERROR for fault in faults):
        return Taken(None, faults)
    word, value = await _line(readline)
    if word != b"settings":
        raise Broken("there are no settings")
    settings = wire.load(Settings, value)
    firms, reread = await _firms(readline, before)
    clients: dict[str, Client] = {}
    for number, client in enumerate((client for told in firms.values() for client in told.clients), 1):
        clients[client.key] = client
        if number % SLICE == 0:
            await asyncio.sleep(0)
    return Taken(replace(settings, terms=replace(settings.terms, clients=clients)), faults, firms, reread)


async def _firms(readline: ReadLine, before: Firms) -> tuple[Firms, int]:
    firms: dict[str, Told] = {}
    told, reread = Told(), 0
    while True:
        word, value = await _line(readline)
        if word == b"end":
            _complete(value, firms, before)
            return firms, reread
        if word == b"same":
            place = json.loads(value)
            if place not in before:
                raise Broken(f"{place} was not read before")
            firms[place] = before[place]
        elif word == b"firm":
            told, reread = Told(), reread + 1
            firms[json.loads(value)["place"]] = told
        elif word == b"clients":
            told.clients.extend(wire.load(tuple[Client, ...], value))
        if word in KEPT:
            told.lines.append(word + b" " + value)
        await asyncio.sleep(0)


def _complete(end: bytes, firms: Firms, before: Firms) -> None:
    read = sum(len(told.clients) for place, told in firms.items() if told is not before.get(place))
    if json.loads(end) != read:
        raise Broken("clients are missing")


async def _line(readline: ReadLine) -> tuple[bytes, bytes]:
    line = await readline()
    if not line.endswith(b"\n"):
        raise Broken("it ended too early")
    word, _, value = line.partition(b" ")
    return word, value


async def _end(process: Any) -> None:
    if process.returncode is None:
        try:
            async with asyncio.timeout(1):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _failed(directory: Path, what: str) -> Taken:
    fix = "try again; `agiris-relay config check` tells more"
    return Taken(None, (Fault(str(directory), 0, 0, what, fix, Severity.ERROR),), unread=True)
