"""A worker as it is, but for documents that order it to misbehave: `DIE`, `HANG` (until SIGUSR1 comes), and messages
that hold `X-Lie`: of these it says that they go to somebody else, and of those behind them that they are `LIAR`."""

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import relay.facturx.inspect
from relay.checker import evaluator, worker
from relay.checker.evaluation import Evaluation
from relay.inspection import Candidate, Options, Report

LIAR = "<liar@evil.example>"
"""A Message-ID that nothing contradicts."""

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
    evaluations = EVALUATE(items, inspect)
    for index, item in enumerate(items):
        if b"X-Lie:" in item.raw:
            evaluations[index] = _to_somebody_else(evaluations[index])
            evaluations[index + 1 :] = [replace(each, message_id=LIAR) for each in evaluations[index + 1 :]]
    return evaluations


def _to_somebody_else(true: Evaluation) -> Evaluation:
    plans = tuple(replace(plan, to=("thief@evil.example",)) for plan in true.decision.plans)
    return replace(true, decision=replace(true.decision, plans=plans))


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda number, frame: released.append(number))
    relay.facturx.inspect.inspect = inspect
    evaluator.evaluate = evaluate
    worker.main()
