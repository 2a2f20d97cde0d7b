"""Counters, gauges and histograms as plain numbers, which Prometheus's client reads at each scrape.

The client's own instruments take a lock and several calls for each increment. These are increased by the thread of the
event loop, which also renders the page.
"""

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

PREFIX = "agiris_relay"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as it is exposed."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


class Numbers:
    """One number for each tuple of label values, in the order in which the labels were declared. Given the closed set
    of values of each label, all are there from the start, at 0."""

    def __init__(self, closed: Iterable[Iterable[str]] = ()) -> None:
        series = product(*(map(str, values) for values in closed))
        self.values: dict[tuple[str, ...], float] = dict.fromkeys(series, 0)

    def expect(self, *labels: str) -> None:
        """Expose these label values from now on, at 0 if nothing was counted."""
        self.values.setdefault(labels, 0)


class Counter(Numbers):
    """Numbers that only grow. Not for two threads at once, unless they hold a lock: an increment may be lost."""

    def inc(self, *labels: str, by: float = 1) -> None:
        """Count one, or `by`, of these label values."""
        try:
            self.values[labels] += by
        except KeyError:
            self.values[labels] = by


class Gauge(Numbers):
    """Numbers that go up and down."""

    def set(self, value: float, *labels: str) -> None:
        """The number of these label values is `value`."""
        self.values[labels] = value


class Histogram:
    """How many values came, and their sum. bounds: the upper bound of each bucket, ascending; +Inf is added."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.sum = 0.0
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """Count `value` in the first bucket whose bound is not below it."""
        self.sum += value
        self._counts[bisect_left(self._bounds, value)] += 1

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound as Prometheus writes it, and how many values are not above it."""
        return [*zip(map(floatToGoString, (*self._bounds, math.inf)), accumulate(self._counts), strict=True)]


class Process(ProcessCollector):
    """process_*: memory, descriptors, CPU. Works under ProcSubset=pid, which hides the /proc/stat the library asks."""

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


class Series:
    """The metrics of one daemon: a collector of prometheus_client. A label is given with its closed set of values, or
    with () when the configuration names them; series of closed sets start at 0, so that `rate` sees the first event."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._collect: dict[Family, Callable[[], Metric]] = {}
        Process(registry=self._registry)
        self._registry.register(self)

    def counter(self, name: str, text: str, **labels: Iterable[str]) -> Counter:
        """A counter `<PREFIX>_<name>_total`."""
        counter = Counter(labels.values())
        family = Family(f"{PREFIX}_{name}_total", "counter", tuple(labels), text)
        self._collect[family] = lambda: _collected(
            CounterMetricFamily(family.name, text, labels=family.labels), counter
        )
        return counter

    def gauge(self, name: str, text: str, **labels: Iterable[str]) -> Gauge:
        """A gauge `<PREFIX>_<name>`."""
        gauge = Gauge(labels.values())
        family = Family(f"{PREFIX}_{name}", "gauge", tuple(labels), text)
        self._collect[family] = lambda: _collected(GaugeMetricFamily(family.name, text, labels=family.labels), gauge)
        return gauge

    def gauge_function(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A gauge `<PREFIX>_<name>` without labels, which is what `read` returns at each scrape."""
        family = Family(f"{PREFIX}_{name}", "gauge", (), text)
        self._collect[family] = lambda: GaugeMetricFamily(family.name, text, read())

    def histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        """A histogram `<PREFIX>_<name>` with these upper bounds."""
        histogram = Histogram(buckets)
        family = Family(f"{PREFIX}_{name}", "histogram", (), text)
        self._collect[family] = lambda: HistogramMetricFamily(family.name, text, histogram.buckets(), histogram.sum)
        return histogram

    @property
    def families(self) -> tuple[Family, ...]:
        return tuple(self._collect)

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks for at each scrape."""
        for metric in self._collect.values():
            yield metric()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The page and its Content-Type, of the kind that the Accept header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def value(self, name: str, labels: dict[str, str]) -> float | None:
        return self._registry.get_sample_value(name, labels)


_M = TypeVar("_M", CounterMetricFamily, GaugeMetricFamily)


def _collected(metric: _M, numbers: Numbers) -> _M:
    for labels, value in tuple(numbers.values.items()):
        metric.add_metric(labels, value)
    return metric
