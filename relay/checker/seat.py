"""One place of the pool: a worker, what it has been asked, and the directories it has."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from relay.checker.directory_transfer import SentDirectory
from relay.checker.frames import Answer, ChannelBroken, frame_pieces
from relay.checker.process import WorkerProcess
from relay.checker.progress import Place
from relay.checker.requests import Request
from relay.idle_timer import IdleTimer
from relay.inspection import Octets

LOOK_SECONDS = 0.25
"""Between two looks at where a worker is. Messages that wait behind a slow one for so long are asked of another."""

PART_SECONDS = 60.0
"""That a worker may take for a part of a directory."""

START_SECONDS = 60.0
"""That a new worker may take until it begins its first request: slow is not wrong."""

MOST_DOCUMENTS = 10
"""A message may take so many times the timeout of a document."""


_BEFORE = Place(0, 0, -1)


class Seat:
    """Asks one worker. answered: gets each request that is answered, with its answer. free: called when the worker has
    nothing more to do. stalled: gets requests that wait behind a slow one. lost: called with why the worker cannot be
    used: an OSError (ChannelBroken among them), ValueError or TimeoutError."""

    def __init__(
        self,
        *,
        answered: Callable[["Seat", Request[Any], Answer], None],
        free: Callable[["Seat"], None],
        stalled: Callable[[Sequence[Request[Any]]], None],
        lost: Callable[["Seat", Exception], None],
    ) -> None:
        self._answered, self._free, self._stalled, self._lost = answered, free, stalled, lost
        self._loop = asyncio.get_running_loop()
        self._timer = IdleTimer(self._loop, self._look)
        self._timeout = self._document_began = self._message_began = 0.0
        self._seen = _BEFORE
        self._shared = False  # what waits behind a slow message was given to others
        self._worker: WorkerProcess | None = None
        self._parts: deque[bytes] = deque()
        self._loading: SentDirectory | None = None
        self._part_asked = False
        self._part_next = False
        self._has: set[int] = set()
        self._frame = 0  # number of the last frame of requests
        self.asked: deque[Request[Any]] = deque()
        self.served = 0

    async def start(self, cpu_seconds: float) -> None:
        """Start the worker. Raises OSError."""
        self._worker = await WorkerProcess.start(cpu_seconds, self._on_answer, self._on_failure)

    @property
    def worker(self) -> WorkerProcess:
        assert self._worker is not None  # the pool uses a seat once it has started
        return self._worker

    @property
    def idle(self) -> bool:
        """The worker is there and does nothing."""
        return self._worker is not None and not self.asked and not self._part_asked

    def has(self, directory: SentDirectory | None) -> bool:
        """Does the worker know `directory`?"""
        return directory is None or directory.number in self._has

    def load(self, directory: SentDirectory) -> None:
        """Send it to the worker, part by part, between messages. One that is on its way already is replaced."""
        if not self.has(directory) and self._loading is not directory:
            self._loading, self._parts = directory, deque(directory.parts)

    @property
    def loads(self) -> bool:
        """A directory is on its way to the worker."""
        return self._loading is not None

    @property
    def wants_part(self) -> bool:
        """It is the turn of a directory's next part: they alternate with messages."""
        return bool(self._parts) and self._part_next

    def send_part(self) -> bool:
        """Send the next part of a directory; False when there is none."""
        if not self._parts:
            return False
        self._part_asked, self._part_next = True, False
        self.worker.send([self._parts.popleft()])
        self._wait(PART_SECONDS)
        return True

    def ask(self, requests: Sequence[Request[Any]], timeout: float, oldest: int) -> None:
        """Send `requests` in one frame. timeout: seconds for each document of them. oldest: directories before this
        number are not needed any more."""
        self.asked.extend(requests)
        self._part_next = True
        self._has = {number for number in self._has if number >= oldest}
        self._frame += 1
        header = {"keep": oldest, "frame": self._frame, "requests": [request.sent_header() for request in requests]}
        contents: list[Octets] = [content for request in requests for content in request.contents]
        self.worker.send(frame_pieces(header, contents))
        self._wait(timeout)

    @property
    def culprit(self) -> Request[Any] | None:
        """The request that the worker says it is at; None when it has not begun any."""
        place = self.worker.place
        if not self.asked or place.frame != self._frame:
            return None
        return self.asked[min(place.message, len(self.asked) - 1)]

    def close(self) -> None:
        """From now on nobody is called: what the worker still says is not heard."""
        self._timer.close()
        self.worker.close()

    async def kill(self) -> None:
        """End the worker."""
        self.close()
        await self.worker.kill()

    # Time: a document may take `timeout`, a message ten times as much.

    def _wait(self, timeout: float) -> None:
        now = self._loop.time()
        self._timeout, self._seen, self._shared = timeout, _BEFORE, False
        self._document_began = self._message_began = now
        self._look_again(now)

    def _look_again(self, now: float) -> None:
        """Soon while others wait behind, else when the time of a document is over at the earliest."""
        left = min(self._time_left(now), self._timeout)
        self._timer.begin(min(left, LOOK_SECONDS) if len(self.asked) > 1 else left)

    def _look(self) -> None:
        now, place = self._loop.time(), self.worker.place
        if place != self._seen:
            if place.message != self._seen.message:
                self._message_began = now
            self._document_began, self._seen = now, place
        elif len(self.asked) > 1 and not self._shared:
            self._shared = True
            self._stalled([request for request in self.asked if request is not self.culprit])
        if self._time_left(now) <= 0:
            self._lost(self, TimeoutError())
        else:
            self._look_again(now)

    def _time_left(self, now: float) -> float:
        """Seconds, of the document and of the message; of its start, for a new worker that has not begun."""
        if not self.served and self.worker.place.frame != self._frame:
            return self._message_began + START_SECONDS - now
        document = self._document_began + self._timeout
        return min(document, self._message_began + MOST_DOCUMENTS * self._timeout) - now

    # What comes from the worker.

    def _on_failure(self, error: Exception) -> None:
        self._lost(self, error)

    def _on_answer(self, answer: Answer) -> None:
        if self._part_asked:
            self._part_answered()
        elif not self.asked:
            self._lost(self, ChannelBroken("an answer to no question"))
        else:
            request = self.asked.popleft()
            self.served += 1
            if not self.asked:
                self._timer.end()
            self._answered(self, request, answer)
            if self.idle and self.worker.alive:
                self._free(self)

    def _part_answered(self) -> None:
        self._part_asked = False
        self._timer.end()
        if not self._parts and self._loading is not None:
            self._has.add(self._loading.number)
            self._loading = None
        self._free(self)
