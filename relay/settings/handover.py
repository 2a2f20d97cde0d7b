"""The daemon's side of `child`: settings taken in slices, each a few milliseconds of the event loop."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from relay import wire
from relay.export.terms import Client
from relay.report import Severity
from relay.settings.faults import Fault
from relay.settings.settings import Settings

TIMEOUT = 120.0
LINE_LIMIT = 8 * 1024 * 1024

ReadLine = Callable[[], Awaitable[bytes]]


class Broken(Exception):
    """The child ended before it had said everything."""


async def load_apart(directory: Path) -> tuple[Settings | None, tuple[Fault, ...]]:
    """As load.load(), the YAML work done in a child process. Never raises for a child that fails: that is a fault."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay.settings.child", str(directory)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=LINE_LIMIT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(TIMEOUT):
            return await receive(process.stdout.readline)
    except (Broken, ValueError) as error:
        return None, (_failed(directory, f"the process that reads the configuration failed: {error}"),)
    except TimeoutError:
        return None, (_failed(directory, f"reading the configuration took longer than {TIMEOUT:.0f} s"),)
    finally:
        await _end(process)


async def receive(readline: ReadLine) -> tuple[Settings | None, tuple[Fault, ...]]:
    """Settings and faults from the lines of the child. Raises Broken or ValueError when they are not whole."""
    head = json.loads(await _line(readline))
    faults = tuple(wire.load(Fault, json.dumps(each)) for each in head["faults"])
    if not head["settings"]:
        return None, faults
    settings = wire.load(Settings, await _line(readline))
    clients: dict[str, Client] = {}
    while True:
        line = await _line(readline)
        if line.startswith(b"{"):
            if json.loads(line)["clients"] != len(clients):
                raise Broken("clients are missing")
            return replace(settings, terms=replace(settings.terms, clients=clients)), faults
        for client in wire.load(tuple[Client, ...], line):
            clients[client.key] = client
        await asyncio.sleep(0)


async def _line(readline: ReadLine) -> bytes:
    line = await readline()
    if not line.endswith(b"\n"):
        raise Broken("it ended too early")
    return line


async def _end(process: Any) -> None:
    if process.returncode is None:
        try:
            async with asyncio.timeout(1):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _failed(directory: Path, what: str) -> Fault:
    return Fault(str(directory), 0, 0, what, "try again; `agiris-relay config check` tells more", Severity.ERROR)
