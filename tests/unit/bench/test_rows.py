"""Which rows are run."""

from __future__ import annotations

import pytest

from bench.rows import ROWS, selected


def test_all_without_a_name() -> None:
    assert selected([]) == list(ROWS)


def test_a_letter_means_all_latencies_and_a_name_one() -> None:
    assert [row.name for row in selected(["b", "d50"])] == ["b5", "b50", "d50"]


def test_no_two_rows_have_the_same_name() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_an_unknown_row_is_refused() -> None:
    with pytest.raises(ValueError, match="no row z9"):
        selected(["b", "z9"])
