"""A real Prometheus on the real daemon under load: rules fire when the next hop dies and resolve when it returns."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from aiosmtpd.smtp import SMTP

from relay.demo.receiver import Receiver
from relay.demo.stage import CHECK_YAML, Stage
from tests.e2e.test_broken_situations import MARTIN, submission
from tests.unit.observability.test_prometheus_live import QUERIES, Prometheus, needs_prometheus, seen

RETRY = "retry: {first: 1 s, factor: 1, ceiling: 1 s, warn_after: 4 h, give_up: 5 d, attempts: 5}\n"
FAST = "destinations: {agiris: {max_mails_per_minute: 10000}}\n"


class Mortal(Receiver):
    """A next hop that can die, its sessions with it, and return at the same port."""

    def _session(self) -> SMTP:
        session = super()._session()
        self.__dict__.setdefault("sessions", []).append(session)
        return session

    async def die(self) -> None:
        await self.close()
        for session in self.__dict__.pop("sessions", []):
            if session.transport is not None:
                session.transport.abort()


class Load:
    """Two clients that submit one message after the other."""

    def __init__(self, stage: Stage) -> None:
        self.codes: list[int] = []
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._submit(stage, name)) for name in "ab"]

    async def _submit(self, stage: Stage, name: str) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            reply = await asyncio.to_thread(stage.submit, MARTIN, submission(f"P-{name}-{number}"))
            self.codes.append(reply.code)
            await asyncio.sleep(0.3)

    async def end(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)


@pytest.fixture
async def hop() -> Mortal:
    made = Mortal()
    await made.start()
    return made


@needs_prometheus
async def test_the_rules_fire_when_the_next_hop_dies_and_resolve_when_it_returns(
    stages: Callable[..., Stage], hop: Mortal, tmp_path: Path
) -> None:
    stage = stages(hop.port, more=CHECK_YAML + RETRY + FAST)
    assert await stage.start(), stage.log.read_text(encoding="utf-8")
    folder = tmp_path / "prometheus"
    folder.mkdir()
    async with Prometheus(folder, f"127.0.0.1:{stage.http}") as prometheus:
        await _impatient(prometheus, folder)
        load = Load(stage)
        try:
            flowing = "sum(increase(agiris_relay_delivery_attempts_total{outcome='delivered'}[10s])) > 2"
            await prometheus.until(lambda: seen(prometheus, flowing))
            assert "AgirisRelayNoSuccess" not in await prometheus.firing()
            stage.send_signal(signal.SIGHUP)  # the dashboard marks reloads
            reloads = "changes(agiris_relay_config_last_reload_success_timestamp_seconds[1m]) > 0"
            await prometheus.until(lambda: seen(prometheus, reloads))
            await _every_query_returns_data(prometheus)
            await hop.die()
            await prometheus.until(lambda: _fires(prometheus, True))
            await hop.start()
            await prometheus.until(lambda: _fires(prometheus, False))
        finally:
            await load.end()
    assert set(load.codes) == {250}
    assert await hop.wait(len(load.codes), 60)
    await hop.die()


async def _impatient(prometheus: Prometheus, folder: Path) -> None:
    """The rules as shipped, but a quarter of an hour without a success is five seconds."""
    path = folder / "alerts.yml"
    rules = yaml.safe_load(path.read_text())
    (rule,) = [each for each in rules["groups"][0]["rules"] if each["alert"] == "AgirisRelayNoSuccess"]
    assert "> 900" in rule["expr"]
    rule["expr"] = rule["expr"].replace("> 900", "> 5")
    path.write_text(yaml.safe_dump(rules))
    prometheus.process.send_signal(signal.SIGHUP)  # Prometheus reads its rules again
    await prometheus.until(lambda: seen(prometheus, "agiris_relay_build_info"))


async def _fires(prometheus: Prometheus, wanted: bool) -> bool:
    return ("AgirisRelayNoSuccess" in await prometheus.firing()) is wanted


async def _every_query_returns_data(prometheus: Prometheus) -> None:
    for query in QUERIES:
        plain = query.replace("$__rate_interval", "10s").replace("$instance", ".*")
        result = (await prometheus.get("query", query=plain))["result"]
        assert result, query
        assert not all(sample["value"][1] == "NaN" for sample in result), query
