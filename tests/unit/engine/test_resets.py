"""Batches that were fetched before a position was reset, and those after it."""

from __future__ import annotations

import pytest

from app.engine.resets import NOT_KNOWN_YET, from_before


@pytest.mark.parametrize(
    ("first", "position", "target", "before"),
    [
        (8, 8, 11, True),  # the thread has fetched ahead: 9 and 10 are gone, and the batch at 8 was still on its way
        (8, 8, NOT_KNOWN_YET, True),
        (8, 8, 0, True),  # the topic was cut back
        (9, 8, 11, True),  # a marker of a transaction stood at 8
        (11, 9, 11, False),
        (12, 9, 11, False),
        (0, 9, 0, False),
        (9, 9, 9, False),
        (11, None, 9, False),  # nothing was read yet in this generation
    ],
)
def test_a_batch_from_before_a_reset_says_nothing_about_it(
    first: int, position: int | None, target: int, before: bool
) -> None:
    assert from_before(first, position, target) is before
