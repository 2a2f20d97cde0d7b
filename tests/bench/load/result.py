"""What one run found, and the middle of several."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Result:
    """rate: messages a second, first connect to last message whole at the sink; accept_rate: to the last 250.

    Times in ms. cpu, cpu_sender, cpu_sink: ms a message. foreign: cores busy with anything else meanwhile. peak, main:
    MB. missing, doubled, damaged: messages; later: 4xx and broken connections, tried again; refused: given up.
    """

    contender: str
    size: str
    sessions: int
    count: int
    arrived: int = 0
    rate: float = 0.0
    accept_rate: float = 0.0
    accept_p50: float = 0.0
    accept_p99: float = 0.0
    whole_p50: float = 0.0
    whole_p99: float = 0.0
    cpu: float = 0.0
    cpu_sender: float = 0.0
    cpu_sink: float = 0.0
    foreign: float = 0.0
    peak: float = 0.0
    main: float = 0.0
    missing: int = 0
    doubled: int = 0
    damaged: int = 0
    later: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    arrivals: dict[int, float] = field(default_factory=dict, repr=False)

    @property
    def balanced(self) -> bool:
        """Every message accepted once, at the sink once, its documents whole."""
        return not (self.missing or self.doubled or self.damaged or self.refused)


def percentile(values: Sequence[float], part: float) -> float:
    """In ms, of seconds; nan for none."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


def median(results: Sequence[Result]) -> Result:
    """Of several runs of one cell: the median of each time and rate; the worst of the books."""
    first = results[0]
    middle = Result(first.contender, first.size, first.sessions, first.count)
    for name, value in vars(first).items():
        if isinstance(value, float):
            setattr(middle, name, statistics.median(getattr(each, name) for each in results))
    for name in ("missing", "doubled", "damaged"):
        setattr(middle, name, sum(getattr(each, name) for each in results))
    middle.arrived = sum(each.arrived for each in results)
    for each in results:
        for name in ("later", "refused"):
            for why, count in getattr(each, name).items():
                getattr(middle, name)[why] = getattr(middle, name).get(why, 0) + count
    return middle
