"""Next hops and a name server whose behaviour a blocking test sets from one moment to the next: a loop in a thread."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tests.support.dns_server import Names, Zone
from tests.support.recording_next_hop import RecordingNextHop

T = TypeVar("T")


class Stage:
    """`with Stage() as stage:`; whatever stands on it is gone at the end."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._hops: list[Hop] = []

    def __enter__(self) -> "Stage":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for hop in self._hops:
            hop.behaves()
            hop.down()
        self.run(_wait_for_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def hop(self, journal: Path, address: tuple[str, int] = ("127.0.0.1", 0)) -> "Hop":
        self._hops.append(Hop(self, journal, address))
        return self._hops[-1]

    def names(self, zone: Zone, address: tuple[str, int]) -> Names:
        """A name server; its `zone` may be replaced at any moment."""
        made = Names(zone, address)
        self.run(made.__aenter__())
        return made


class Hop:
    """A next hop of its own at one address."""

    def __init__(self, stage: Stage, journal: Path, address: tuple[str, int]) -> None:
        self._stage = stage
        self.next_hop = stage.run(_made(journal))
        self.address = address
        self.up()

    def up(self) -> None:
        """Listen, at the same address as before."""
        self._server = self._stage.run(asyncio.start_server(self.next_hop.serve, *self.address, limit=1 << 26))
        self.address = self._server.sockets[0].getsockname()[:2]

    def down(self) -> None:
        """Connections are refused from here on, and those that stand are closed."""
        self._stage.run(_close(self._server, self.next_hop))

    def does(self, **script: str) -> None:
        """From now on: fault by stage (tests/support/recording_next_hop.py). Connections that stand are closed."""
        self._stage.run(_set(self.next_hop, script))

    def behaves(self) -> None:
        """No fault any more; whoever hangs is let go."""
        self._stage.run(_set(self.next_hop, {}))


async def _made(journal: Path) -> RecordingNextHop:
    return RecordingNextHop(journal, 0.0, 1)


async def _set(next_hop: RecordingNextHop, script: dict[str, str]) -> None:
    next_hop.behave()
    next_hop.script.update(script)
    if script:
        next_hop.hang_up()


async def _close(server: asyncio.Server, next_hop: RecordingNextHop) -> None:
    server.close()
    next_hop.hang_up()


async def _wait_for_others() -> None:
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
