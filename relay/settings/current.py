"""Current: the settings in force. They change whole or not at all (DESIGN rule 10)."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from relay.export.terms import Client
from relay.report import Severity
from relay.settings.faults import Fault
from relay.settings.handover import NONE, SLICE, Firms, load_apart
from relay.settings.settings import STATIC, Settings


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """ok: the new settings are in force. faults: the errors that stopped them. warnings: to be told in any case.

    reread: files of firms that were read again, the others being as they were.
    """

    ok: bool
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
    reread: int = 0


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
        """Read the files again and put them in force, unless a fault stops it: then nothing changes.

        allow_loss: accept that all, or more than a tenth, of the clients disappear.
        """
        async with self._one_at_a_time:
            taken = await load_apart(self.directory, self._firms)
            new = taken.settings
            errors = tuple(fault for fault in taken.faults if fault.severity is Severity.ERROR)
            warnings = tuple(fault for fault in taken.faults if fault.severity is not Severity.ERROR)
            if new is None:
                return ReloadResult(False, errors, warnings)
            if self._settings is not None:
                if not allow_loss and (loss := _loss(self.directory, self._settings, new)) is not None:
                    return ReloadResult(False, (loss,), warnings)
                warnings += _restart_needed(self.directory, self._settings, new)
            replaced = [] if self._settings is None else list(self._settings.terms.clients.values())
            self._settings, self._firms = new, taken.firms
            await _let_go(replaced)
            return ReloadResult(True, (), warnings, taken.reread)


async def _let_go(replaced: list[Client]) -> None:
    # Freeing 10,000 clients at once would hold the event loop for tens of milliseconds.
    while replaced:
        del replaced[-SLICE:]
        await asyncio.sleep(0)


def _loss(directory: Path, old: Settings, new: Settings) -> Fault | None:
    before, after = old.terms.clients, new.terms.clients
    lost = sum(1 for key in before if key not in after)
    if not lost or (lost * 10 <= len(before) and after):
        return None
    what = f"{lost:,} of {len(before):,} clients would disappear"
    fix = "put the files back; if it is meant, restart the daemon, which takes the files as they are"
    return Fault(str(directory / "firms"), 0, 0, what, fix)


def _restart_needed(directory: Path, old: Settings, new: Settings) -> tuple[Fault, ...]:
    changed = [key for key in STATIC if getattr(old, key) != getattr(new, key)]
    if old.terms.hostname != new.terms.hostname:
        changed.insert(0, "hostname")
    file, fix = str(directory / "relay.yaml"), "restart the daemon"
    return tuple(
        Fault(file, 0, 0, f'key "{key}" was changed: it takes a restart', fix, Severity.WARNING) for key in changed
    )
