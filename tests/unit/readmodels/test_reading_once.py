"""How long a command waits for the read models."""

from __future__ import annotations

from itertools import count
from typing import cast

import pytest

from app.readmodels import ReadModels, ReadModelUnavailable
from app.readmodels.reading_once import wait_until_caught_up


class Advancing:
    """Read models that come further with every look, and never end."""

    def __init__(self) -> None:
        self._read = count(1)

    def caught_up(self) -> bool:
        return False

    def reading(self) -> tuple[int, int]:
        return next(self._read), 1_000_000

    def trouble(self) -> str | None:
        return None


def test_a_command_with_little_patience_gives_up_although_it_comes_further_and_says_how_far() -> None:
    with pytest.raises(ReadModelUnavailable, match=r"^read [0-9]+ of 1,000,000 records in 0.001 s$"):
        wait_until_caught_up(cast(ReadModels, Advancing()), patience_seconds=0.001)
