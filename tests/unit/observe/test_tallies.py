"""The cheap counters and histograms say the same as the library's own."""

from __future__ import annotations

import random

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.observe.tallies import Durations, Tally

BOUNDS = (0.01, 0.5, 1, 30)


def samples(registry: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
        if not s.name.endswith("_created")  # the start of a series, which is not needed
    }


def test_counts_are_those_of_the_librarys_counter() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("calls", "Calls.", ("operation", "result"), ours)
    counter = Counter("calls", "Calls.", ("operation", "result"), registry=theirs)
    chance = random.Random(1)

    for _ in range(200):
        labels = chance.choice(("upsert", 'a "quoted" one')), chance.choice(("ok", "CMT-TIMEOUT"))
        tally.counts[labels] += 1
        counter.labels(*labels).inc()

    assert samples(ours) == samples(theirs)
    assert sum(samples(ours).values()) == 200


def test_durations_are_those_of_the_librarys_histogram() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    durations = Durations("call_seconds", "Time.", BOUNDS, ours)
    histogram = Histogram("call_seconds", "Time.", buckets=BOUNDS, registry=theirs)
    chance = random.Random(2)

    for seconds in (0.0, *BOUNDS, *(chance.expovariate(0.5) for _ in range(200))):
        durations.observe(seconds)
        histogram.observe(seconds)

    assert samples(ours) == pytest.approx(samples(theirs))
    assert samples(ours)["call_seconds_count", ()] == 205


def test_a_clock_that_was_set_back_counts_but_takes_nothing_away() -> None:
    registry = CollectorRegistry()
    durations = Durations("seconds", "Time.", BOUNDS, registry)

    for seconds in (-3.0, 2.0):
        durations.observe(seconds)

    found = samples(registry)
    assert (found["seconds_sum", ()], found["seconds_count", ()]) == (2.0, 2)
    assert found["seconds_bucket", (("le", "0.01"),)] == 1


def test_a_tally_of_nothing_has_no_series_and_durations_of_nothing_are_zero() -> None:
    registry = CollectorRegistry()
    Tally("calls", "Calls.", ("result",), registry)
    Durations("seconds", "Time.", BOUNDS, registry)

    assert {name for name, _ in samples(registry)} == {"seconds_bucket", "seconds_count", "seconds_sum"}
    assert set(samples(registry).values()) == {0.0}
