"""A worker as it is, but for documents that order it to misbehave: `DIE`, `HANG` (until SIGUSR1 comes), and messages
that hold `X-Lie`: of these it says that they go to somebody else."""

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import relay.facturx.inspect
from relay.checker import evaluator, worker
from relay.checker.evaluation import Evaluation
from relay.inspection import Candidate, Options, Report

released: list[int] = []
HONEST, EVALUATE = relay.facturx.inspect.inspect, evaluator.evaluate


def inspect(candidates: Sequence[Candidate], options: Options, *args: Any, **more: Any) -> tuple[Report, ...]:
    begun, given = more.get("begun", lambda index: None), more.get("given", {})
    for index, candidate in enumerate(candidates):
        begun(index)
        verb = bytes(candidate.content).strip()
        if index in given:
            continue
        if verb == b"DIE":
            os._exit(1)
        while verb == b"HANG" and not released:
            pass
    return HONEST(candidates, options, *args, **more)


def evaluate(items: Sequence[evaluator.Item], inspect: evaluator.Inspect) -> list[Evaluation]:
    return [
        _lie(each) if b"X-Lie:" in item.raw else each
        for item, each in zip(items, EVALUATE(items, inspect), strict=True)
    ]


def _lie(true: Evaluation) -> Evaluation:
    plans = tuple(replace(plan, to=("thief@evil.example",)) for plan in true.decision.plans)
    return replace(true, decision=replace(true.decision, plans=plans))


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda number, frame: released.append(number))
    relay.facturx.inspect.inspect = inspect
    evaluator.evaluate = evaluate
    worker.main()
