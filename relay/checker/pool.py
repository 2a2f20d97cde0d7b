"""The pool of limited worker processes in which messages are evaluated and documents checked."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from relay import serialization
from relay.checker.directory_transfer import SentDirectories, SentDirectory
from relay.checker.dispatcher import Dispatcher
from relay.checker.document_transfer import documents_header, read_reports, unfinished
from relay.checker.evaluation import Evaluation, EvaluationRequest, read_answer
from relay.checker.frames import Answer
from relay.checker.requests import CheckerOverloaded, CheckFailed, Request
from relay.checker.sandbox import Protection
from relay.checker.verification import verify
from relay.dsn.return_path import Returned
from relay.inspection import Candidate, Octets, Options, Report
from relay.observability.events import Observe
from relay.routing.directory import Directory

T = TypeVar("T")

LOAD_SECONDS = 60.0
"""That a reload waits for workers which are busy: then they get the directory before their next message."""


class CheckerPool:
    """`size` worker processes. timeout: seconds of wall clock a document may take in a worker.

    observe: called with WorkerStarted, WorkerReplaced and, once, WorkerSandboxed.
    self_test: why the engine cannot be trusted, None when it can; while it cannot, nothing is valid at level full.
    """

    def __init__(self, size: int, timeout: float, observe: Observe = lambda event: None) -> None:
        self.self_test: str | None = "not run yet"
        self._directories = SentDirectories()
        self._dispatcher = Dispatcher(size, timeout, self._directories, observe)

    @property
    def size(self) -> int:
        """Workers there should be."""
        return self._dispatcher.size

    @property
    def restarts(self) -> int:
        """Workers replaced so far."""
        return self._dispatcher.restarts

    @property
    def protections(self) -> tuple[Protection, ...] | None:
        """What the kernel keeps a worker from, as one has reported it; None until then."""
        return self._dispatcher.protections

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        return self._dispatcher.waiting

    @property
    def busy(self) -> int:
        """Workers at work."""
        return self._dispatcher.busy

    async def start(self) -> None:
        """Start the workers and run the engine's self-test in each, which warms it too. Raises OSError.

        The outcome is in `self_test`.
        """
        await self._dispatcher.start()
        outcomes = await asyncio.gather(*(self.run_self_test() for _ in range(self.size)))
        self.self_test = next((outcome for outcome in outcomes if outcome is not None), None)

    async def run_self_test(self) -> str | None:
        """A good invoice must be clean, a wrong total give BR-CO-15. Returns the reason when not."""
        request = self._request({"op": "self-test"}, (), lambda answer: answer[0]["reason"])
        try:
            self.self_test = await self._dispatcher.answer(request)
        except CheckFailed as error:
            self.self_test = error.cause.value
        except CheckerOverloaded:
            self.self_test = "no worker could be asked"
        return self.self_test

    def configure(self, size: int, timeout: float) -> None:
        """Take new settings at once; a worker too many ends when it is idle."""
        self._dispatcher.configure(size, timeout)

    async def close(self) -> None:
        """End the idle workers now, the others when they have answered."""
        await self._dispatcher.close()

    def distrust(self, why: str) -> None:
        """A worker has lied, and nobody knows which: all are replaced. why: what cannot be true."""
        self._dispatcher.distrust(why)

    # The directory.

    async def load(self, directory: Directory) -> None:
        """Send `directory` to every worker, between messages; until `use`, messages go by the one before it."""
        self._directories.add(await SentDirectory.prepare(directory))
        dispatcher = self._dispatcher
        dispatcher.feed_idle()
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                while not dispatcher.all_have_newest():
                    dispatcher.changed.clear()
                    await dispatcher.changed.wait()
        except TimeoutError:
            return

    def use(self, directory: Directory) -> None:
        """No new message goes by any other than `directory`."""
        self._directories.use(directory)

    # Requests.

    async def evaluate(self, asked: EvaluationRequest, raw: bytes, directory: Directory) -> Evaluation:
        """What one message is, and what is to become of it, by `directory`; verified.

        Raises CheckerOverloaded; CheckFailed when no worker could say it.
        """

        def read(answer: Answer) -> Evaluation:
            evaluation = read_answer(*answer)
            verify(evaluation, asked, raw, directory)
            return evaluation

        header = {"op": "evaluate", "asked": asked, "engine": self.self_test}
        with self._directories.in_use(directory) as sent:
            request = self._request(header, (raw,), read)
            request.directory, request.queue_id = sent, asked.queue_id
            return await self._dispatcher.answer(request)

    async def read_returned(self, raw: bytes) -> Returned:
        """What a message to one of our return paths says. Raises CheckerOverloaded, CheckFailed."""

        def read(answer: Answer) -> Returned:
            return serialization.build(Returned, answer[0]["returned"])

        return await self._dispatcher.answer(self._request({"op": "returned"}, (raw,), read))

    async def inspect(self, candidates: Sequence[Candidate], options: Options) -> tuple[Report, ...]:
        """One report a candidate, in order; whatever the documents do. Raises CheckerOverloaded only."""
        if not candidates:
            return ()
        header = documents_header(candidates, options) | {"engine": self.self_test}
        contents = [candidate.content for candidate in candidates]
        request = self._request(header, contents, lambda answer: read_reports(answer[0], len(candidates)))
        try:
            return await self._dispatcher.answer(request)
        except CheckFailed as error:
            rule = error.rule
            return await asyncio.to_thread(lambda: tuple(unfinished(candidate, rule) for candidate in candidates))

    def _request(self, header: dict[str, Any], contents: Sequence[Octets], read: Callable[[Answer], T]) -> Request[T]:
        loop = asyncio.get_running_loop()
        return Request(header, contents, read, loop.create_future(), loop.time())
