"""What a run's figures are taken from."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bench.measured import Look, NotDone, cpu_seconds, resident_mb, steady, stolen_seconds

TOTAL = 1_000


def test_the_start_and_the_end_of_a_run_do_not_count() -> None:
    slow_start = [Look(0.0, 0, 1.0), Look(50.0, 99, 40.0)]
    swing = [Look(51.0, 100, 41.0, 7.0), Look(52.0, 500, 41.2, 7.4), Look(53.0, 900, 41.4, 7.5)]
    slow_end = [Look(90.0, 951, 60.0, 9.0), Look(99.0, 1000, 70.0, 9.9)]

    measured = steady([*slow_start, *swing, *slow_end], TOTAL)

    assert measured.events_per_second == pytest.approx(800 / 2)
    assert measured.cpu_ms_per_event == pytest.approx(0.4 / 800 * 1000)
    assert measured.stolen == pytest.approx(0.5 / 2)


@pytest.mark.parametrize(
    "looks",
    [
        [Look(0.0, 0, 0.0), Look(1.0, 1000, 1.0)],
        [Look(0.0, 0, 0.0), Look(1.0, 500, 1.0), Look(2.0, 1000, 2.0)],
        [Look(0.0, 0, 0.0), Look(1.0, 500, 1.0), Look(2.0, 500, 2.0), Look(3.0, 1000, 3.0)],
    ],
    ids=["over at once", "one look in between", "nothing done in between"],
)
def test_a_run_that_was_over_too_soon_has_no_figures(looks: list[Look]) -> None:
    with pytest.raises(NotDone, match="give more"):
        steady(looks, TOTAL)


def test_processor_time_of_this_process_is_that_of_the_clock() -> None:
    deadline = time.process_time() + 0.1
    while time.process_time() < deadline:
        pass

    assert cpu_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.1)


def test_stolen_time_is_no_more_than_there_was() -> None:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert 0 <= stolen_seconds() <= uptime * (os.cpu_count() or 1)


def test_the_peak_of_memory_is_not_below_what_is_resident() -> None:
    assert 1 < resident_mb(os.getpid()) <= resident_mb(os.getpid(), "VmHWM")
