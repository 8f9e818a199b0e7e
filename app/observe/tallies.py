"""Cheap counters and histograms, for what is counted with every event and call.

The library's ``Counter`` and ``Histogram`` check, lock and look up with every count, which took a twentieth of a
worker's processor time. These are written by one thread only. When another thread reads them, the library renders them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Tally(Collector):
    """A counter with labels: ``tally.counts[labels] += 1``, the labels in the order of their names."""

    def __init__(self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self.counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
        self._name, self._text, self._labels = name, text, labels
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The counts so far."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, count in self.counts.copy().items():  # a copy is made in one step, whatever the writer does
            family.add_metric(labels, count)
        yield family


class Durations(Collector):
    """A histogram of seconds, without labels. ``bounds``: ascending upper bounds of all buckets but the last."""

    def __init__(self, name: str, text: str, bounds: Sequence[float], registry: CollectorRegistry) -> None:
        self._bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._name, self._text = name, text
        registry.register(self)

    def observe(self, seconds: float) -> None:
        """Count one duration. A negative one, from a clock that was set back, does not reduce the sum."""
        self._buckets[bisect_left(self._bounds, seconds)] += 1
        if seconds > 0:
            self._sum += seconds

    def collect(self) -> Iterable[Metric]:
        """The counts so far; each bucket includes all buckets below it."""
        buckets, total = [], 0
        for bound, count in zip((*self._bounds, float("inf")), self._buckets.copy(), strict=True):
            total += count
            buckets.append((floatToGoString(bound), float(total)))  # type: ignore[no-untyped-call]
        family = HistogramMetricFamily(self._name, self._text)
        family.add_metric([], buckets=buckets, sum_value=self._sum)
        yield family
