"""The Prometheus metrics, with the prefix ``profile_sync_``.

The event loop's thread writes counters and histograms as things happen. Gauges fetch their value when they are read.
Metrics of partitions cover only the partitions that this worker owns, so that the sum over all workers is right. No
label holds a consumer ID.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from app import __version__
from app.observe.tallies import Durations, Tally

PREFIX = "profile_sync_"

# Every market adds a time series per outcome. Further markets count as "other", so that a producer with wrong markets
# does not flood the monitoring system.
MARKETS_SHOWN = 50
OTHER_MARKETS = "other"

# A SOAP call takes between tens of milliseconds and a few seconds; the default timeout is 30 s.
_CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
# An event is a chain of calls, and may wait for minutes in the retry topic between two attempts.
_EVENT_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


def _zero() -> float:
    return 0.0


def _nothing() -> Mapping[str, float]:
    return {}


def _no_partitions() -> Mapping[int, float]:
    return {}


@dataclass(frozen=True, slots=True)
class Gauges:
    """The functions that return the gauges' values. They are called by the thread that serves ``/metrics``.

    ``oldest_parked``: seconds since the first failure of the longest-parked event. ``commit_stall``: seconds for which
    an offset has been open without a task that works on it; nothing behind it is committed. ``breaker_open`` and
    ``throttled`` (0 or 1) and ``calls_allowed`` are per account.
    """

    parked_consumers: Callable[[], float] = _zero
    oldest_parked: Callable[[], float] = _zero
    in_flight: Callable[[], float] = _zero
    commit_stall: Callable[[], float] = _zero
    consumer_lag: Callable[[], Mapping[int, float]] = _no_partitions
    breaker_open: Callable[[], Mapping[str, float]] = _nothing
    dead_letters_open: Callable[[], Mapping[str, float]] = _nothing
    readmodel_behind: Callable[[], float] = _zero
    calls_allowed: Callable[[], Mapping[str, float]] = _nothing
    throttled: Callable[[], Mapping[str, float]] = _nothing


class Metrics:
    """All metrics of a worker, in a registry of their own, so that each test can have a new one."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self.registry = CollectorRegistry()
        self._gauges = Gauges()
        self._markets: set[str] = set()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=self.registry)

        def tally(name: str, text: str, *labels: str) -> Tally:
            return Tally(PREFIX + name, text, labels, self.registry)

        self._events = tally("events_settled", "Events that reached their final outcome.", "outcome", "market")
        self._calls = tally("cmt_calls", "SOAP calls to Marketing Cloud.", "operation", "entity", "result")
        self._tokens = counter("token_refreshes", "Token requests to Marketing Cloud.", "result")
        self._account_calls = tally("account_calls", "SOAP calls, by account.", "account", "result")
        self._account_tokens = counter("account_token_refreshes", "Token requests, by account.", "account", "result")
        self._incidents = counter("incidents", "Requests to the ticket system.", "result")
        self._handled = counter(
            "dead_letters_handled", "Dead letters redriven, discarded or erased.", "handling", "outcome"
        )
        self._foreign = counter("foreign_dead_letters", "Records of other programs in the dead-letter topic.")
        self._unreadable = counter("state_records_unreadable", "Skipped records of the state topics.", "topic")
        self._cut_off = counter("events_cut_off", "Events that retention deleted before they were read.", "partition")
        Gauge(PREFIX + "dry_run", "1 while nothing is written to Marketing Cloud.", registry=self.registry).set(dry_run)
        build = Gauge(PREFIX + "build_info", "The version that runs.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        self._call_seconds = Durations(
            PREFIX + "cmt_call_duration_seconds", "Time of a SOAP call.", _CALL_SECONDS, self.registry
        )
        self._event_seconds = Durations(
            PREFIX + "event_duration_seconds",
            "From taking an event to its final outcome, waits between attempts included.",
            _EVENT_SECONDS,
            self.registry,
        )
        self.registry.register(_GaugeCollector(lambda: self._gauges))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def watch(self, gauges: Gauges) -> None:
        """Set the functions that the gauges call."""
        self._gauges = gauges

    def event_settled(self, outcome: str, market: str, seconds: float | None = None) -> None:
        """Count an event under its outcome. ``seconds``: the time it took, if known."""
        self._events.counts[outcome, self._market(market)] += 1
        if seconds is not None:
            self._event_seconds.observe(seconds)

    def call(self, operation: str, entity: str, result: str, seconds: float, account: str) -> None:
        """Count a SOAP call; ``result`` is ``ok`` or a registry code."""
        self._account_calls.counts[account, result] += 1
        self._calls.counts[operation, entity, result] += 1
        self._call_seconds.observe(seconds)

    def token(self, result: str, account: str) -> None:
        """Count a token request; ``result`` is ``ok`` or a registry code."""
        self._account_tokens.labels(account, result).inc()
        self._tokens.labels(result).inc()

    def incident(self, result: str) -> None:
        """Count a request to the ticket system."""
        self._incidents.labels(result).inc()

    def letter_handled(self, handling: str, outcome: str) -> None:
        """Count a dead letter that was redriven, discarded or erased, by the outcome that its event has now."""
        self._handled.labels(handling, outcome).inc()

    def foreign_letter(self) -> None:
        """Count a record of another program in the dead-letter topic."""
        self._foreign.inc()

    def unreadable_state_record(self, topic: str) -> None:
        """Count a record of a state topic that could not be read and was skipped."""
        self._unreadable.labels(topic).inc()

    def cut_off(self, partition: int, events: int) -> None:
        """Count events that retention deleted before they were read."""
        self._cut_off.labels(str(partition)).inc(events)

    def render(self) -> bytes:
        """The text that Prometheus reads (``CONTENT_TYPE``)."""
        return generate_latest(self.registry)

    def _market(self, market: str) -> str:
        if market not in self._markets:
            if len(self._markets) >= MARKETS_SHOWN:
                return OTHER_MARKETS
            self._markets.add(market)
        return market


CONTENT_TYPE = CONTENT_TYPE_LATEST


class _GaugeCollector(Collector):
    def __init__(self, gauges: Callable[[], Gauges]) -> None:
        self._gauges = gauges

    def describe(self) -> Iterable[Metric]:
        return ()  # registering must not call the gauges before the worker runs

    def collect(self) -> Iterable[Metric]:
        gauges = self._gauges()
        plain = (
            ("parked_consumers", "Consumers whose events wait in the retry topic.", gauges.parked_consumers),
            (
                "oldest_parked_seconds",
                "Time since the first failure of the longest-parked event.",
                gauges.oldest_parked,
            ),
            ("in_flight", "Events in progress.", gauges.in_flight),
            (
                "commit_stall_seconds",
                "Time for which an offset has been open without a task that works on it.",
                gauges.commit_stall,
            ),
            ("readmodel_behind_seconds", "Age of what the web API answers from.", gauges.readmodel_behind),
        )
        for name, text, read in plain:
            yield GaugeMetricFamily(PREFIX + name, text, value=float(read()))
        labelled: tuple[tuple[str, str, str, Mapping[str, float]], ...] = (
            (
                "consumer_lag",
                "Records of the main topic without an outcome, as its brokers count.",
                "partition",
                {str(partition): lag for partition, lag in gauges.consumer_lag().items()},
            ),
            ("breaker_open", "1 while the circuit breaker of an account is open.", "account", gauges.breaker_open()),
            (
                "cmt_calls_allowed",
                "SOAP calls that may be under way in an account; fewer while throttled.",
                "account",
                gauges.calls_allowed(),
            ),
            (
                "throttled",
                "1 while an account is throttled: calls wait, or one was throttled within the last minute.",
                "account",
                gauges.throttled(),
            ),
            ("dead_letters_open", "Dead letters that are still open.", "reason", gauges.dead_letters_open()),
        )
        for name, text, label, values in labelled:
            family = GaugeMetricFamily(PREFIX + name, text, labels=[label])
            for key, value in sorted(values.items()):
                family.add_metric([key], float(value))
            yield family
