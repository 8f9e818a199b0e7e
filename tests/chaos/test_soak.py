"""The verdict of a soak, and that its schedule has all kinds of blows."""

from __future__ import annotations

import pytest

from tests.chaos.schedule import ODD, PASSING, Blow
from tests.chaos.soak import DECK, run_of
from tests.chaos.soak_watch import Sample, SoakWatch, growth, standstills

WHO = (0, 100)


def sample(at: float, settled: int, *, published: int = 1000, said: bool = False, rss: int = 100) -> Sample:
    return Sample(at, {WHO: rss}, published, settled, said)


def test_work_that_goes_on_is_no_standstill() -> None:
    assert standstills([sample(at, settled=int(at)) for at in range(0, 100, 2)]) == []


def test_no_work_is_expected_when_everything_is_settled() -> None:
    assert standstills([sample(at, settled=1000) for at in range(0, 100, 2)]) == []


@pytest.mark.parametrize("said_at", [None, 30])
def test_a_standstill_is_found_with_whether_it_was_announced(said_at: int | None) -> None:
    samples = [sample(at, settled=min(at, 20), said=at == said_at) for at in range(0, 60, 2)]
    samples += [sample(at, settled=at) for at in range(60, 70, 2)]
    assert standstills(samples) == [(20, 60, said_at is not None)]


def test_one_that_lasts_to_the_end_is_found_and_a_short_one_is_not() -> None:
    assert standstills([sample(at, settled=5) for at in range(0, 40, 2)]) == [(0, 38, False)]
    assert standstills([sample(at, settled=5) for at in range(0, 14, 2)]) == []


def test_a_worker_that_lags_behind_another_is_no_standstill() -> None:
    # Whoever is asked first may know less than the one asked before.
    assert standstills([sample(at, settled=at - at % 4) for at in range(0, 100, 2)]) == []


def test_growth_is_the_last_quarter_by_the_second() -> None:
    def at(seconds: int, rss: int) -> Sample:
        return sample(seconds, 0, rss=rss)

    samples = [at(seconds, 50 if seconds < 25 else 100 if seconds < 75 else 125) for seconds in range(100)]
    assert growth(samples) == {0: 1.25}
    again = [Sample(one.at, {(0, int(one.at >= 50)): 100}, 0, 0, False) for one in samples]
    assert growth(again) == {}, "a worker that was started again cannot be compared"
    assert growth([]) == {}


def test_memory_is_told_by_quarters() -> None:
    watch = SoakWatch(dict, lambda: 0, [sample(at, 0, rss=(at // 10 + 1) * 2**20) for at in range(40)])
    assert watch.memory_text() == "Memory in MiB, by quarters of the run: worker 0: 1 2 3 4"


def test_an_hour_has_every_blow_and_every_fault_many_times() -> None:
    schedule = run_of(60, seed=3).schedule()
    blows = schedule.blows()
    assert set(blows) >= set(DECK)
    assert min(blows[blow] for blow in DECK) >= 5
    for rule in (*PASSING, *ODD):
        assert blows[str(rule["kind"])] >= 20
    assert not set(blows) & {Blow.KILL, Blow.TERM, Blow.NO_OFFSETS}
