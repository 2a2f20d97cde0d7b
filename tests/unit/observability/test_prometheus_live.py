"""A real Prometheus scrapes our pages: the alert fires and resolves, and every query of the dashboard returns data."""

import asyncio
import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

from relay.inspection import Kind, Report, Verdict
from relay.model import Delivery, Disposition, Envelope, Message, Plan, Recipient, State
from relay.observability.http import Http
from relay.observability.metrics import Metrics
from relay.replies import Deferred, Delivered, Reply, Stage

CONFIG = Path(__file__).parents[3] / "config"
DASHBOARD = json.loads((CONFIG / "grafana" / "agiris-relay.json").read_text())
INCREASED = "increase(agiris_relay_acceptance_duration_seconds_count[1m]) > 0"
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
QUERIES += [each["expr"] for each in DASHBOARD["annotations"]["list"]]

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")


class Prometheus:
    """The Debian package, on a port of its own, scraping every second; rules as shipped but without their patience."""

    def __init__(self, folder, target):
        self.folder, self.target = folder, target

    async def __aenter__(self):
        config = yaml.safe_load((CONFIG / "prometheus" / "scrape.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [self.target]
        rules = yaml.safe_load((CONFIG / "prometheus" / "alerts.yml").read_text())
        for rule in rules["groups"][0]["rules"]:
            rule.pop("for", None)
        (self.folder / "alerts.yml").write_text(yaml.safe_dump(rules))
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.process = await asyncio.create_subprocess_exec(
            "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:0",
            cwd=self.folder, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        address = None
        while address is None:
            line = await asyncio.wait_for(self.process.stderr.readline(), 30)
            assert line, "prometheus ended"
            address = re.search(r'msg="Listening on" address=(\S+)', line.decode())
        self.url = f"http://{address[1]}/api/v1/"
        self.reader = asyncio.create_task(self.process.stderr.read())
        return self

    async def __aexit__(self, *_):
        self.process.terminate()
        await self.process.wait()
        await self.reader

    async def get(self, path, **query):
        def ask():
            with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
                return json.load(answer)["data"]

        try:
            return await asyncio.to_thread(ask)
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it listens before it is ready
                return {"alerts": [], "result": []}
            raise AssertionError(f"{query}: {error.read()!r}") from error

    async def until(self, condition):
        """Ask until the coroutine function `condition` is true; Prometheus tells nobody when it has scraped."""
        async with asyncio.timeout(60):
            while not await condition():
                await asyncio.sleep(0.2)

    async def firing(self):
        return {alert["labels"]["alertname"] for alert in (await self.get("alerts"))["alerts"]}


def delivery():
    return Delivery("Q", 1, 0, "x@agiris.example", State.ACTIVE, 0.0, None)


def healthy():
    """Metrics of a daemon that has started and works."""
    metrics = Metrics()
    metrics.configured(10, 2, ("agiris",), ("default",), {})
    metrics.self_test(True)
    metrics.workers(0, 2, 0)
    metrics.event_loop_lag(lambda: 0.001)
    metrics.spool({}, {}, None, 4096, 50 * 10**9)
    metrics.attempted(delivery(), Delivered(Reply(250, "2.0.0", "ok")), 0.1)
    return metrics


async def page_of(metrics):
    http = Http("127.0.0.1:0", metrics, list, dict, lambda event: None)
    await http.start()
    return http


@needs_prometheus
async def test_alerts_fire_when_the_next_hop_refuses_us_and_resolve_when_it_is_fixed(tmp_path):
    metrics = healthy()
    http = await page_of(metrics)
    try:
        async with Prometheus(tmp_path, http.address) as prometheus:
            assert not await prometheus.firing()
            await prometheus.until(lambda: seen(prometheus, "agiris_relay_build_info"))

            metrics.spool({State.DEFERRED: 3}, {"wrong_client": 1}, 1.0, 4096, 50 * 10**9)
            metrics.attempted(delivery(), Deferred(Reply(535, "5.7.8", "no"), Stage.AUTH, alert=True), 0.1)
            wanted = {"AgirisRelayHeld", "AgirisRelayOldMessage", "AgirisRelayOperatorNeeded"}
            await prometheus.until(lambda: equals(prometheus.firing(), wanted))

            metrics.spool({}, {}, None, 4096, 50 * 10**9)
            await prometheus.until(lambda: equals(prometheus.firing(), {"AgirisRelayOperatorNeeded"}))

            metrics.attempted(delivery(), Delivered(Reply(250, "2.0.0", "ok")), 0.1)
            await prometheus.until(lambda: equals(prometheus.firing(), set()))

            await http.close()
            await prometheus.until(lambda: contains(prometheus.firing(), "AgirisRelayDown"))
    finally:
        await http.close()


async def equals(question, wanted):
    return await question == wanted


async def contains(question, wanted):
    return wanted in await question


async def seen(prometheus, query):
    return bool((await prometheus.get("query", query=query))["result"])


def exercised(metrics):
    """Something of all that moves, so that no query is empty for want of traffic."""
    mail = Message("Q", Envelope("a@b", (Recipient("c@d"),)), b"", (Plan(Disposition.RELAY, ("x@y",)),), 0.0, "f")
    metrics.accepted(mail, (Report("a" * 64, 1, Verdict.VALID, Kind.FACTURX, ms=3.0),), 0.01)
    metrics.attempted(delivery(), Delivered(Reply(250, "2.0.0", "ok")), 0.1)
    metrics.configured(10, 2, ("agiris",), ("default",), {})


@needs_prometheus
async def test_every_query_of_the_dashboard_returns_data(tmp_path):
    metrics = healthy()
    http = await page_of(metrics)
    try:
        async with Prometheus(tmp_path, http.address) as prometheus:
            await prometheus.until(lambda: seen(prometheus, "agiris_relay_build_info"))
            exercised(metrics)
            await prometheus.until(lambda: seen(prometheus, INCREASED))
            for query in QUERIES:
                plain = query.replace("$__rate_interval", "1m").replace("$instance", ".*")
                result = (await prometheus.get("query", query=plain))["result"]
                assert result, query
                assert not all(sample["value"][1] == "NaN" for sample in result), query
    finally:
        await http.close()


def test_the_dashboard_speaks_only_of_metrics_that_are_there():
    names = {family.name for family in Metrics().families}
    used = {name.removesuffix("_bucket") for name in re.findall(r"agiris_relay_\w+", json.dumps(DASHBOARD))}
    assert len(used) > 20 and used <= names


def test_panels_do_not_overlap_and_have_a_title():
    cells = set()
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        at = panel["gridPos"]
        mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not mine & cells and at["x"] + at["w"] <= 24
        cells |= mine
