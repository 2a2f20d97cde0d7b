"""What a worker allows itself: CPU for each request, and memory, looked at only as often as it can have changed."""

import resource

import pytest

from relay.checker import worker


def test_every_request_may_use_its_share_of_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[int] = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, values: ends.append(values[0]))
    cpu, spent = worker.CpuLimit(30.0), 0.0
    for _ in range(1000):
        cpu.allow(spent)
        assert spent + 30 <= ends[-1] <= spent + 61
        spent += 0.7
    assert len(ends) < 1000 * 0.7 / 30 + 2


def test_memory_is_looked_at_once_the_process_has_worked_for_a_while() -> None:
    small, large = worker.MemoryLimit(0), worker.MemoryLimit(1 << 62)
    assert small.exceeded(1.0) and not large.exceeded(1.0)
    assert not small.exceeded(1.0 + worker.MEMORY_CHECK_SECONDS / 2)
    assert small.exceeded(1.0 + worker.MEMORY_CHECK_SECONDS)


def test_what_is_to_stay_does_not_count() -> None:
    memory = worker.MemoryLimit(0)
    memory.allow(-1)
    assert memory.exceeded(1.0)
    memory.allow(1 << 62)
    assert not memory.exceeded(2.0)
