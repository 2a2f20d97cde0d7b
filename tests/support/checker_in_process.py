"""The checker without its processes: what a worker does, done here."""

from collections.abc import Callable, Sequence

from relay.checker import Evaluation, EvaluationRequest
from relay.checker.evaluator import Item, evaluate
from relay.dsn.bounces import read_returned
from relay.dsn.return_path import Returned
from relay.inspection import Candidate, Kind, Options, Report, Verdict
from relay.routing.directory import Directory


def plain(candidates: Sequence[Candidate], options: Options) -> tuple[Report, ...]:
    """Whatever it is, it is a PDF."""
    return tuple(Report("a" * 64, len(each.content), Verdict.NOT_FACTURX, Kind.PDF) for each in candidates)


class CheckerInProcess:
    """error: raised for each message. inspect: what is reported of its documents."""

    def __init__(
        self,
        error: Exception | None = None,
        inspect: Callable[[Sequence[Candidate], Options], tuple[Report, ...]] = plain,
    ) -> None:
        self._error, self._inspect = error, inspect
        self.distrusted: list[str] = []

    async def evaluate(self, asked: EvaluationRequest, raw: bytes, directory: Directory) -> Evaluation:
        if self._error is not None:
            raise self._error
        (evaluation,) = evaluate([Item(asked, raw, directory)], lambda index, *given: self._inspect(*given))
        return evaluation

    def distrust(self, why: str) -> None:
        self.distrusted.append(why)

    async def read_returned(self, raw: bytes) -> Returned:
        return read_returned(raw)
