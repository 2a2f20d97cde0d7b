"""config/prometheus: rules that promtool accepts, that fire and stay silent, and docs that match the program."""

import logging
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from relay.observability.event_names import EventName
from relay.observability.metrics import Metrics

FOLDER = Path(__file__).parents[3] / "config" / "prometheus"
README = (FOLDER / "README.md").read_text()
RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
ALERTS = [rule["alert"] for rule in RULES]

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def promtool(*arguments):
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "alerts.yml"), ("check", "config", "scrape.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_promtool(arguments):
    status, text = promtool(*arguments)
    assert status == 0, text


@needs_promtool
def test_the_page_passes_promtools_own_lint():
    page = Metrics().exposition()[0]
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_every_alert_is_seen_firing_and_silent():
    """promtool has compared the samples of each moment; here: no alert is without its moment."""
    moments = [
        {match for sample in each["exp_samples"] for match in re.findall(r'alertname="(\w+)"', sample["labels"])}
        for case in yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
        for each in case["promql_expr_test"]
    ]
    assert set().union(*moments) == set(ALERTS)
    assert moments.count(set()) > 10


def exposed():
    """Names of all samples a family gives."""
    for family in Metrics().families:
        yield family.name
        if family.type == "histogram":
            yield from (family.name + suffix for suffix in ("_bucket", "_sum", "_count"))


@pytest.mark.parametrize("name", ["alerts.yml", "alerts_test.yml", "README.md"])
def test_no_page_speaks_of_a_metric_that_is_not_there(name):
    used = set(re.findall(r"\bagiris_relay_[a-z_]+", (FOLDER / name).read_text()))
    assert used and used <= set(exposed())


def test_every_metric_is_in_the_table_and_nothing_else():
    rows = re.findall(r"(?m)^\| `(agiris_relay_\w+)` \| (\w+) \|(.*?)\| (.*?) \|$", README)
    table = {(name, kind, tuple(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in rows}
    assert table == {(each.name, each.type, each.labels, each.help) for each in Metrics().families}
    assert len(rows) == len(table)


def test_every_event_is_in_the_table_and_nothing_else():
    table = README[README.index("| event | level | meaning |") :].split("\n", 2)[2]
    wanted = [f"| `{name.value}` | {logging.getLevelName(name.level).lower()} | {name.meaning} |" for name in EventName]
    assert table.splitlines() == wanted


def test_every_alert_has_its_runbook_and_nothing_else():
    assert re.findall(r"(?m)^### (\w+)$", README) == ALERTS


@pytest.mark.parametrize("rule", RULES, ids=ALERTS)
def test_an_alert_says_how_urgent_it_is_and_what_to_do(rule):
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["runbook"] == f"config/prometheus/README.md#{rule['alert'].lower()}"
    assert {"summary", "description"} <= set(rule["annotations"])


def test_the_labels_the_rules_select_exist():
    families = {each.name: set(each.labels) for each in Metrics().families}
    for rule in RULES:
        for name, selector in re.findall(r"(agiris_relay_\w+)\{(.*?)\}", rule["expr"]):
            assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector)) <= families[name], rule["alert"]


def test_the_values_the_rules_select_exist():
    metrics = Metrics()
    metrics.configured(1, 1, ("agiris",), ("default",), {})
    page = metrics.exposition()[0].decode()
    for rule in RULES:
        for name, label, values in re.findall(r'(agiris_relay_\w+)\{(\w+)[=!]~?"(.*?)"\}', rule["expr"]):
            for value in values.split("|"):
                assert re.search(rf'(?m)^{name}{{.*{label}="{value}"', page), (name, label, value)
