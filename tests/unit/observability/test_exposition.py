"""The page of the metrics is what prometheus_client's own counters, gauges and histograms would give."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from relay.model import State
from relay.observability import events, metrics
from relay.observability.metrics import Metrics
from relay.observability.observer import Observer
from relay.observability.series import PREFIX, Gauge, Histogram, Series
from tests.unit.observability.test_observer import CASES, NOW

TEXT, OPENMETRICS = "text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"


class Instrument:
    """An instrument of prometheus_client with the methods of ours."""

    def __init__(self, made: prometheus_client.Counter | prometheus_client.Gauge) -> None:
        self._made = made

    def expect(self, *labels: str) -> None:
        self._made.labels(*labels)

    def inc(self, *labels: str, by: float = 1) -> None:
        (self._made.labels(*labels) if labels else self._made).inc(by)

    def set(self, value: float, *labels: str) -> None:
        made = self._made.labels(*labels) if labels else self._made
        assert isinstance(made, prometheus_client.Gauge)
        made.set(value)


class Instruments:
    """Has the methods of Series, and makes the instruments of prometheus_client."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=True)

    def counter(self, name: str, text: str, **labels: Iterable[str]) -> Instrument:
        made = Instrument(prometheus_client.Counter(f"{PREFIX}_{name}", text, tuple(labels), registry=self._registry))
        return self._zeroed(made, list(labels.values()))

    def gauge(self, name: str, text: str, **labels: Iterable[str]) -> Instrument:
        made = Instrument(prometheus_client.Gauge(f"{PREFIX}_{name}", text, tuple(labels), registry=self._registry))
        return self._zeroed(made, list(labels.values()))

    def gauge_function(self, name: str, text: str, read: Callable[[], float]) -> None:
        prometheus_client.Gauge(f"{PREFIX}_{name}", text, registry=self._registry).set_function(read)

    def histogram(self, name: str, text: str, buckets: Sequence[float]) -> prometheus_client.Histogram:
        return prometheus_client.Histogram(f"{PREFIX}_{name}", text, buckets=buckets, registry=self._registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    @staticmethod
    def _zeroed(made: Instrument, closed: list[Iterable[str]]) -> Instrument:
        if len(closed) == 1:
            for one in closed[0]:
                made.expect(str(one))
        if len(closed) == 2:
            for one in closed[0]:
                for two in closed[1]:
                    made.expect(str(one), str(two))
        return made


@pytest.fixture(scope="module", autouse=True)
def no_created_series() -> Iterator[None]:
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    yield
    prometheus_client.enable_created_metrics()  # type: ignore[no-untyped-call]


def pages(accept: str, happened: Callable[[Metrics], object]) -> list[tuple[str, str]]:
    """The page and its type after `happened`, of our series and of the library's instruments."""
    found = []
    for series in (Series, Instruments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(metrics, "Series", series)
            made = Metrics(clock=lambda: NOW)
        happened(made)
        page, content_type = made.exposition(accept)
        lines = page.decode().splitlines(keepends=True)
        found.append(("".join(line for line in lines if "process_" not in line), content_type))
    return found


def every_figure(made: Metrics) -> None:
    """What no event changes."""
    made.connections_open(3)
    made.spool({State.QUEUED: 3}, {"wrong_client": 2}, NOW - 60, 123456789, None, corrupt=1, writable=False)
    made.workers(1, 2, 3)
    made.event_loop_lag(lambda: 0.25)
    made.internal_error()
    made.configured(10, 2, ('a "name"', "back\\slash"), ("default", "backup"), {"[::1]:25": math.inf})


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS])
def test_page_of_a_new_daemon_equals_that_of_the_librarys_instruments(accept: str) -> None:
    ours, librarys = pages(accept, lambda made: None)
    assert ours == librarys
    assert ours[0].count("# HELP") > 30


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS])
def test_page_after_every_event_and_figure_equals_that_of_the_librarys_instruments(accept: str) -> None:
    def happened(made: Metrics) -> None:
        every_figure(made)
        for _ in range(3):
            for event, _, _ in CASES:
                Observer(made).observe(event)

    ours, librarys = pages(accept, happened)
    assert ours == librarys


@given(st.lists(st.sampled_from([case[0] for case in CASES]), max_size=30))
def test_page_after_random_events_equals_that_of_the_librarys_instruments(happened: list[events.Event]) -> None:
    ours, librarys = pages(TEXT, lambda made: [Observer(made).observe(event) for event in happened])
    assert ours == librarys


@given(st.lists(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.1, 1, 5, 300.0]))))
def test_a_value_is_in_the_bucket_in_which_the_library_puts_it(values: list[float]) -> None:
    bounds = (0.1, 1, 5, 300)
    ours, librarys = Histogram(bounds), prometheus_client.Histogram("a", "b", buckets=bounds, registry=None)
    for value in values:
        ours.observe(value)
        librarys.observe(value)
    (metric,) = librarys.collect()
    samples = [(sample.labels["le"], sample.value) for sample in metric.samples if sample.name == "a_bucket"]
    assert ours.buckets() == samples
    assert [sample.value for sample in metric.samples if sample.name == "a_sum"] == [ours.sum]


def test_names_of_metrics_are_unique() -> None:
    names = [family.name for family in Metrics().families]
    assert len(names) == len(set(names))


def test_series_expected_keeps_its_value() -> None:
    gauge = Gauge([()])
    gauge.set(5, "a")
    gauge.expect("a")
    gauge.expect("b")
    assert gauge.values == {("a",): 5, ("b",): 0}
