"""`profile-sync errors` helps with a code that is spelled wrong."""

from __future__ import annotations

import doctest
import importlib

import pytest

from app.delivery.known_names import no_such_code


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("CMT-RATE-LIMIT", "CMT-RATE-LIMITED"),
        ("cmt-token-refuse", "CMT-TOKEN-REFUSED"),
        ("EVENT_SCHEMA", "EVENT-SCHEMA"),
        ("contention", "CMT-ROW-CONTENTION"),
    ],
)
def test_the_nearest_codes_are_offered(given: str, meant: str) -> None:
    assert "did you mean" in no_such_code(given)
    assert meant in no_such_code(given)


def test_what_is_near_to_nothing_gets_no_offer() -> None:
    assert "did you mean" not in no_such_code("x")


def test_the_examples_are_true() -> None:
    found = doctest.testmod(importlib.import_module("app.delivery.known_names"))
    assert (found.failed, found.attempted > 0) == (0, True)
