"""A private registry and how a metric is declared in it. Wraps prometheus-client, whose types go no further."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder

PREFIX = "agiris_relay"

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside each one, which nobody asks for

_M = TypeVar("_M", Counter, Gauge)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as it is exposed."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


class Process(ProcessCollector):
    """process_*: memory, descriptors, CPU. Works under ProcSubset=pid, which hides the /proc/stat the library asks."""

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


class Series:
    """The metrics of one daemon. A label is given with its closed set of values, or with () when the configuration
    names them; series of closed sets start at 0, so that `rate` sees the first event."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self._families: list[Family] = []
        Process(registry=self._registry)

    def counter(self, name: str, text: str, **labels: Iterable[str]) -> Counter:
        """A counter `<PREFIX>_<name>_total`."""
        counter = Counter(f"{PREFIX}_{name}", text, tuple(labels), registry=self._registry)
        self._families.append(Family(f"{PREFIX}_{name}_total", "counter", tuple(labels), text))
        return _zeroed(counter, tuple(labels.values()))

    def gauge(self, name: str, text: str, **labels: Iterable[str]) -> Gauge:
        """A gauge `<PREFIX>_<name>`."""
        gauge = Gauge(f"{PREFIX}_{name}", text, tuple(labels), registry=self._registry)
        self._families.append(Family(f"{PREFIX}_{name}", "gauge", tuple(labels), text))
        return _zeroed(gauge, tuple(labels.values()))

    def histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        """A histogram `<PREFIX>_<name>` with these upper bounds."""
        self._families.append(Family(f"{PREFIX}_{name}", "histogram", (), text))
        return Histogram(f"{PREFIX}_{name}", text, buckets=buckets, registry=self._registry)

    @property
    def families(self) -> tuple[Family, ...]:
        return tuple(self._families)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The page and its Content-Type, of the kind that the Accept header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def value(self, name: str, labels: dict[str, str]) -> float | None:
        return self._registry.get_sample_value(name, labels)


def _zeroed(metric: _M, values: Sequence[Iterable[str]]) -> _M:
    """`metric` with every series of its closed sets at 0; an empty set stands for an open one: nothing is known yet."""
    metric.labels = cache(metric.labels)  # type: ignore[method-assign]  # else a lock and a list of strings each time
    closed = [[str(value) for value in each] for each in values]
    if closed and all(closed):
        for labels in product(*closed):
            metric.labels(*labels)
    return metric
