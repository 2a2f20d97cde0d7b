"""The settings in force and how new ones replace them: whole or not at all, in slices of a few milliseconds of the
event loop."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from relay import serialization
from relay.inspection import Severity
from relay.routing.policy import Client
from relay.settings.issues import ConfigIssue
from relay.settings.settings import Settings, read_at_start

TIMEOUT = 120.0
LINE_LIMIT = 8 * 1024 * 1024
SLICE = 500
"""Clients put in place at one go."""
KEPT = frozenset({b"firm", b"warnings", b"claims"})

ReadLine = Callable[[], Awaitable[bytes]]


class WorkerFailed(Exception):
    """The child ended before it had said everything."""


@dataclass(frozen=True, slots=True)
class FirmSnapshot:
    """One firm's file. lines: what is handed to the next child, so that it need not read the same file again."""

    lines: list[bytes] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)


Firms = Mapping[str, FirmSnapshot]
"""By place, in the order of the files."""

NONE: Firms = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LoadResult:
    """settings: None when a fault is an error; then there are no firms. reread: how many files were read again.

    unread: the process that reads failed; nothing is known of the files.
    """

    settings: Settings | None
    faults: tuple[ConfigIssue, ...]
    firms: Firms = field(default_factory=lambda: NONE)
    reread: int = 0
    unread: bool = False


async def load_apart(directory: Path, before: Firms = NONE) -> LoadResult:
    """As load.load(), the YAML work done in a child process. Never raises: a child that fails is a ConfigIssue.

    before: the firms of the settings in force.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay.settings.reload_worker", str(directory)),
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
            await _send(process.stdin, before)
            return await receive(process.stdout.readline, before)
    except (WorkerFailed, ValueError) as error:
        return _failed(directory, f"the process that reads the configuration failed: {error}")
    except TimeoutError:
        return _failed(directory, f"reading the configuration took longer than {TIMEOUT:.0f} s")
    finally:
        await _end(process)


async def _send(child: asyncio.StreamWriter, firms: Firms) -> None:
    with suppress(ConnectionError):  # a dead child sends no end either: `receive` reports it
        for line in (line for snapshot in firms.values() for line in snapshot.lines):
            child.write(line)
            await child.drain()
        child.close()


async def receive(readline: ReadLine, before: Firms = NONE) -> LoadResult:
    """What the child says. Raises Broken or ValueError when it is not whole."""
    word, value = await _line(readline)
    faults = serialization.load(tuple[ConfigIssue, ...], value)
    if any(fault.severity is Severity.ERROR for fault in faults):
        return LoadResult(None, faults)
    word, value = await _line(readline)
    if word != b"settings":
        raise WorkerFailed("there are no settings")
    settings = serialization.load(Settings, value)
    firms, reread = await _firms(readline, before)
    clients: dict[str, Client] = {}
    for number, client in enumerate((client for snapshot in firms.values() for client in snapshot.clients), 1):
        clients[client.key] = client
        if number % SLICE == 0:
            await asyncio.sleep(0)
    return LoadResult(replace(settings, terms=replace(settings.terms, clients=clients)), faults, firms, reread)


async def _firms(readline: ReadLine, before: Firms) -> tuple[Firms, int]:
    firms: dict[str, FirmSnapshot] = {}
    snapshot, reread = FirmSnapshot(), 0
    while True:
        word, value = await _line(readline)
        if word == b"end":
            _complete(value, firms, before)
            return firms, reread
        if word == b"same":
            place = json.loads(value)
            if place not in before:
                raise WorkerFailed(f"{place} was not read before")
            firms[place] = before[place]
        elif word == b"firm":
            snapshot, reread = FirmSnapshot(), reread + 1
            firms[json.loads(value)["place"]] = snapshot
        elif word == b"clients":
            snapshot.clients.extend(serialization.build(tuple[Client, ...], _shared(json.loads(value))))
        if word in KEPT:
            snapshot.lines.append(word + b" " + value)
        await asyncio.sleep(0)


SHARED = ("firm", "connection", "destination", "smarthost", "link_name")
"""Fields of a client that have the same text as those of many others."""


def _shared(clients: Any) -> Any:
    """Decoded `clients` in which equal texts are one object: 100,000 clients take half the memory."""
    for client in clients:
        client |= {key: sys.intern(client[key]) for key in SHARED}
        addresses: dict[str, str] = {}
        client["addresses"] = {
            kind: address and addresses.setdefault(address, address) for kind, address in client["addresses"].items()
        }
        origins = client["origins"]
        client["origins"] = {key: sys.intern(text) if key != "line" else text for key, text in origins.items()}
    return clients


def _complete(end: bytes, firms: Firms, before: Firms) -> None:
    read = sum(len(snapshot.clients) for place, snapshot in firms.items() if snapshot is not before.get(place))
    if json.loads(end) != read:
        raise WorkerFailed("clients are missing")


async def _line(readline: ReadLine) -> tuple[bytes, bytes]:
    line = await readline()
    if not line.endswith(b"\n"):
        raise WorkerFailed("it ended too early")
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


def _failed(directory: Path, what: str) -> LoadResult:
    fix = "try again; `agiris-relay config check` says more"
    return LoadResult(None, (ConfigIssue(str(directory), 0, 0, what, fix, Severity.ERROR),), unread=True)


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """ok: the new settings are sound. faults: the errors that stopped them. warnings: reported in any case.

    reread: files of firms that were read again, the others being as they were. unread: the files could not be read to
    their end for a reason that does not stand in them: trying again may help.
    """

    ok: bool
    faults: tuple[ConfigIssue, ...] = ()
    warnings: tuple[ConfigIssue, ...] = ()
    reread: int = 0
    unread: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """Settings that were read and checked, and are not in force. settings: None unless `result.ok`."""

    result: ReloadResult
    settings: Settings | None = None
    firms: Firms = field(default_factory=lambda: NONE)


ALLOW_REMOVAL = "allow-removal"
"""A file in the folder of relay.yaml: touched, it allows for `ALLOWED_SECONDS` that clients disappear at a reload."""

ALLOWED_SECONDS = 3600.0


class CurrentSettings:
    """Holds the live Settings of `directory`. The first reload() loads them; `settings` may be read at any time after.

    Whoever acts on a message takes `settings` once and keeps to it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._settings: Settings | None = None
        self._firms: Firms = NONE
        self._one_at_a_time = asyncio.Lock()

    @property
    def settings(self) -> Settings:
        """What is in force. Raises RuntimeError before the first reload() that was ok."""
        if self._settings is None:
            raise RuntimeError("no settings yet: reload() comes first")
        return self._settings

    async def reload(self, *, allow_loss: bool = False) -> ReloadResult:
        """`prepare`, then `put_in_force`; a fault changes nothing."""
        async with self._one_at_a_time:
            candidate = await self.prepare(allow_loss=allow_loss)
            if candidate.result.ok:
                await free_incrementally(self.put_in_force(candidate))
            return candidate.result

    async def prepare(self, *, allow_loss: bool = False) -> Candidate:
        """Read and check the files again; nothing changes. One call at a time.

        allow_loss: accept that all, or more than a tenth, of the clients disappear. `ALLOW_REMOVAL` does so too.
        """
        taken = await load_apart(self.directory, self._firms)
        new = taken.settings
        errors = tuple(fault for fault in taken.faults if fault.severity is Severity.ERROR)
        warnings = tuple(fault for fault in taken.faults if fault.severity is not Severity.ERROR)
        if new is None:
            return Candidate(ReloadResult(False, errors, warnings, unread=taken.unread))
        if self._settings is not None:
            loss = None if allow_loss else _loss(self.directory, self._settings, new)
            if loss is not None and not _removal_allowed(self.directory):
                return Candidate(ReloadResult(False, (loss,), warnings))
            warnings += _restart_needed(self.directory, self._settings, new)
        return Candidate(ReloadResult(True, (), warnings, taken.reread), new, taken.firms)

    def put_in_force(self, candidate: Candidate) -> list[Client]:
        """Make the settings of `candidate` those in force; the clients it replaces, for `free_incrementally`."""
        assert candidate.settings is not None
        replaced = [] if self._settings is None else list(self._settings.terms.clients.values())
        self._settings, self._firms = candidate.settings, candidate.firms
        return replaced


async def free_incrementally(replaced: list[Client]) -> None:
    """Let go of clients that are not in force any more: 10,000 at once would hold the event loop for too long."""
    while replaced:
        del replaced[-SLICE:]
        await asyncio.sleep(0)


def _loss(directory: Path, old: Settings, new: Settings) -> ConfigIssue | None:
    before, after = old.terms.clients, new.terms.clients
    lost = sum(1 for key in before if key not in after)
    if not lost or (lost * 10 <= len(before) and after):
        return None
    what = f"{lost:,} of {len(before):,} clients would disappear"
    fix = f"put the files back; to remove the clients: touch {directory / ALLOW_REMOVAL}, and reload within an hour"
    return ConfigIssue(str(directory / "firms"), 0, 0, what, fix)


def _removal_allowed(directory: Path) -> bool:
    try:
        touched = (directory / ALLOW_REMOVAL).stat().st_mtime
    except OSError:
        return False
    return abs(time.time() - touched) <= ALLOWED_SECONDS


def _restart_needed(directory: Path, old: Settings, new: Settings) -> tuple[ConfigIssue, ...]:
    file, fix = str(directory / "relay.yaml"), "restart the daemon"
    return tuple(
        ConfigIssue(file, 0, 0, f'key "{key}" was changed: it takes a restart', fix, Severity.WARNING)
        for key in read_at_start()
        if _value(old, key) != _value(new, key)
    )


def _value(settings: Settings, key: str) -> object:
    return getattr(settings if hasattr(settings, key) else settings.terms, key)
