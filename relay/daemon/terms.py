"""What is in force: the settings and the directory made of them, swapped together (DESIGN rule 10)."""

import asyncio
from pathlib import Path

from relay.export.directory import Directory
from relay.settings.current import Current, ReloadResult
from relay.settings.settings import Accept, Settings


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
            result = await self._current.reload()
            if result.ok:
                settings = self._current.settings
                directory = await _built(settings)
                self.settings, self.directory = settings, directory
            return result


async def _built(settings: Settings) -> Directory:
    building = Directory.gradually(settings.terms)
    while True:
        try:
            next(building)
        except StopIteration as done:
            assert isinstance(done.value, Directory)
            return done.value
        await asyncio.sleep(0)
