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


def test_memory_is_looked_at_once_the_process_has_worked_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = worker.MemoryLimit()
    monkeypatch.setattr(worker, "RETIRE_ABOVE", 1 << 62)  # the process of many tests may be large
    assert not memory.exceeded(1.0)
    monkeypatch.setattr(worker, "RETIRE_ABOVE", 0)
    assert not memory.exceeded(1.0 + worker.MEMORY_CHECK_SECONDS / 2)
    assert memory.exceeded(1.0 + worker.MEMORY_CHECK_SECONDS)
