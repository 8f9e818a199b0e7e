"""Medians, ratios and targets of the side-by-side table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.report import Target, summarise, targets
from bench.rows import selected
from bench.side_by_side import Run


def run(row: str, speed: float, cpu: float = 1.0, *, round_number: int = 1, trouble: str = "") -> Run:
    return Run(row, round_number, 1_000, 0.5, speed, 1.0, cpu, 100.0, 52.0, trouble=trouble)


def test_the_median_of_the_rounds_counts() -> None:
    runs = [run("b5", speed, cpu) for speed, cpu in ((100.0, 9.0), (900.0, 1.0), (800.0, 2.0))]

    [summary] = summarise(selected(["b5"]), runs)

    assert (summary.events_per_second, summary.cpu_ms_per_event, summary.good) == (800.0, 2.0, 3)
    assert (summary.slowest_per_second, summary.fastest_per_second) == (100.0, 900.0)


def test_stolen_time_of_the_worst_run_is_told() -> None:
    runs = [replace(run("b5", 800.0), stolen=stolen) for stolen in (0.01, 0.35, 0.0)]

    assert summarise(selected(["b5"]), runs)[0].stolen == 0.35


def test_a_run_without_figures_is_told_and_not_averaged() -> None:
    [summary] = summarise(selected(["d5"]), [run("d5", 0.0, trouble="skipped: no Maven"), run("d5", 500.0)])

    assert (summary.events_per_second, summary.good) == (500.0, 1)
    assert summary.troubles == ("skipped: no Maven",)


def test_ratios_of_the_engine() -> None:
    rows = selected(["a5", "b5", "c5", "d5", "e5", "b50", "g50"])
    runs = [
        run("a5", 4_000.0, 0.1),
        run("b5", 2_000.0, 0.5),
        run("c5", 160.0),
        run("d5", 1_000.0),
        run("e5", 800.0),
        run("b50", 1_216.0),
        run("g50", 576.0),  # of 32 in flight
    ]

    found = targets(summarise(rows, runs))

    assert [target.value for target in found] == [
        pytest.approx(2.0),
        pytest.approx(12.5),
        pytest.approx(0.2),
        pytest.approx(0.95),
        pytest.approx(0.988),  # 1,216 calls of 52 ms in a second: 63.2 of 64 were under way
        None,
        None,
        None,
        None,
        pytest.approx(0.9),
        pytest.approx(0.936),
        pytest.approx(0.8),
        None,
    ]
    assert [target.reached for target in found] == [True, True, False, True, True, *[False] * 6, True, False]


def test_a_ratio_without_its_row_is_not_reached() -> None:
    found = targets(summarise(selected(["b5"]), [run("b5", 9_999.0)]))

    assert not any(target.reached or target.value for target in found)


@pytest.mark.parametrize(("value", "reached"), [(1.0, True), (0.999, False), (None, False)])
def test_a_target_is_reached_from_its_value_on(value: float | None, reached: bool) -> None:
    assert Target("a ratio", value, 1.0).reached is reached
