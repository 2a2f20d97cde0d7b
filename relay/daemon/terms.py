"""What is in force: the settings and the directory made of them, swapped together (DESIGN rule 10)."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from relay.export.directory import Directory
from relay.export.terms import Client
from relay.settings.current import Candidate, Current, ReloadResult, free_gradually
from relay.settings.settings import Accept, Settings


@dataclass(frozen=True, slots=True)
class Prepared:
    """Settings with their directory, checked and not in force. directory: None unless `result.ok`."""

    candidate: Candidate
    directory: Directory | None = None

    @property
    def result(self) -> ReloadResult:
        return self.candidate.result

    @property
    def settings(self) -> Settings:
        assert self.candidate.settings is not None
        return self.candidate.settings


class InForce:
    """`settings` and `directory` always belong together; whoever acts on a mail takes one of them once.

    There are none before the first reload().
    """

    settings: Settings
    directory: Directory

    def __init__(self, folder: Path) -> None:
        self._current = Current(folder)
        self._one_at_a_time = asyncio.Lock()

    def limits(self) -> Accept:
        """The limits of the door."""
        return self.settings.accept

    async def reload(self) -> ReloadResult:
        """Read the folder; when it is without fault, put it in force. Holds up no dialogue, whatever its size."""
        async with self._one_at_a_time:
            prepared = await self.prepare()
            if prepared.result.ok:
                await free_gradually(self.put_in_force(prepared))
            return prepared.result

    async def prepare(self) -> Prepared:
        """Read and check the folder; nothing changes. One call at a time."""
        candidate = await self._current.prepare()
        if candidate.settings is None:
            return Prepared(candidate)
        return Prepared(candidate, await _built(candidate.settings))

    def put_in_force(self, prepared: Prepared) -> list[Client]:
        """Swap settings and directory at once; the clients replaced, for `free_gradually`."""
        assert prepared.directory is not None
        replaced = self._current.put_in_force(prepared.candidate)
        self.settings, self.directory = prepared.settings, prepared.directory
        return replaced


async def _built(settings: Settings) -> Directory:
    building = Directory.gradually(settings.terms)
    while True:
        try:
            next(building)
        except StopIteration as done:
            assert isinstance(done.value, Directory)
            return done.value
        await asyncio.sleep(0)
