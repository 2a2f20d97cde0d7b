"""A worker as it is, but for documents that order it to misbehave: `DIE`, `HANG path` (while the file `path` exists),
and messages that hold `X-Lie`: of these it says that they go to somebody else."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import relay.facturx.inspect
from relay.checker import evaluation, evaluator, worker
from relay.checker.evaluation import Evaluation
from relay.inspection import Candidate, Options, Report

HONEST, EVALUATE = relay.facturx.inspect.inspect, evaluator.evaluate


def inspect(candidates: Sequence[Candidate], options: Options, *args: Any, **more: Any) -> tuple[Report, ...]:
    begun, given = more.get("begun", lambda index: None), more.get("given", {})
    for index, candidate in enumerate(candidates):
        begun(index)
        verb, _, path = bytes(candidate.content).decode("latin-1").strip().partition(" ")
        if index in given:
            continue
        if verb == "DIE":
            os._exit(1)
        while verb == "HANG" and Path(path).exists():
            time.sleep(0.01)
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
    relay.facturx.inspect.inspect = inspect
    evaluator.evaluate = evaluate
    assert evaluation
    worker.main()
