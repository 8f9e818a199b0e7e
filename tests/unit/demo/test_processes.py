"""How the end of a worker is judged and told."""

from __future__ import annotations

import signal

import pytest

from app.demo.processes import ended_from_outside, how_it_ended


@pytest.mark.parametrize("code", [0, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT])
def test_what_people_do_to_a_worker_is_no_fault_of_its_own(code: int) -> None:
    assert ended_from_outside(code)


@pytest.mark.parametrize("code", [1, 2, -signal.SIGSEGV, -signal.SIGABRT])
def test_a_worker_that_fails_is_a_problem(code: int) -> None:
    assert not ended_from_outside(code)


def test_a_clean_end_is_told_as_such() -> None:
    assert how_it_ended(0) == "ended by itself with exit code 0"
