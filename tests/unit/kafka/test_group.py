"""Members of a group can be told apart, and offsets are named without ambiguity."""

from __future__ import annotations

import doctest

from app.cli.output import COLUMNS
from app.cli.topics import OFFSETS_EXPLAINED
from app.kafka import group


def test_the_examples_are_true() -> None:
    found = doctest.testmod(group)
    assert (found.failed, found.attempted > 0) == (0, True)


def test_each_offset_of_an_adoption_says_whether_it_is_included() -> None:
    text = " ".join(OFFSETS_EXPLAINED)
    assert [word for word in ("begin", "end", "upto") if f"{word}: " not in text] == []
    assert "up to and including this offset" in text
    assert max(map(len, OFFSETS_EXPLAINED)) <= COLUMNS
