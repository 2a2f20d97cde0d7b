"""Current: the settings in force. They change whole or not at all (DESIGN rule 10)."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from relay.export.terms import Client
from relay.report import Severity
from relay.settings.faults import Fault
from relay.settings.handover import NONE, SLICE, Firms, load_apart
from relay.settings.settings import STATIC, Settings


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """ok: the new settings are sound. faults: the errors that stopped them. warnings: to be told in any case.

    reread: files of firms that were read again, the others being as they were. unread: the files could not be read to
    their end for a reason that does not stand in them: trying again may help.
    """

    ok: bool
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
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


class Current:
    """Holds the live Settings of `directory`. The first reload() loads them; `settings` may be read at any time after.

    Whoever acts on a mail takes `settings` once and keeps to it.
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
                await free_gradually(self.put_in_force(candidate))
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
        """Make the settings of `candidate` those in force; the clients it replaces, for `free_gradually`."""
        assert candidate.settings is not None
        replaced = [] if self._settings is None else list(self._settings.terms.clients.values())
        self._settings, self._firms = candidate.settings, candidate.firms
        return replaced


async def free_gradually(replaced: list[Client]) -> None:
    """Let go of clients that are not in force any more: 10,000 at once would hold the event loop for too long."""
    while replaced:
        del replaced[-SLICE:]
        await asyncio.sleep(0)


def _loss(directory: Path, old: Settings, new: Settings) -> Fault | None:
    before, after = old.terms.clients, new.terms.clients
    lost = sum(1 for key in before if key not in after)
    if not lost or (lost * 10 <= len(before) and after):
        return None
    what = f"{lost:,} of {len(before):,} clients would disappear"
    fix = f"put the files back; to remove the clients: touch {directory / ALLOW_REMOVAL}, and reload within an hour"
    return Fault(str(directory / "firms"), 0, 0, what, fix)


def _removal_allowed(directory: Path) -> bool:
    try:
        touched = (directory / ALLOW_REMOVAL).stat().st_mtime
    except OSError:
        return False
    return abs(time.time() - touched) <= ALLOWED_SECONDS


def _restart_needed(directory: Path, old: Settings, new: Settings) -> tuple[Fault, ...]:
    changed = [key for key in STATIC if getattr(old, key) != getattr(new, key)]
    if old.terms.hostname != new.terms.hostname:
        changed.insert(0, "hostname")
    file, fix = str(directory / "relay.yaml"), "restart the daemon"
    return tuple(
        Fault(file, 0, 0, f'key "{key}" was changed: it takes a restart', fix, Severity.WARNING) for key in changed
    )
