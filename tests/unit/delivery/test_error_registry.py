"""The registry of error codes is a public surface: stable names, and something to do for each."""

from __future__ import annotations

import re

import pytest

from app.delivery.errors import REGISTRY, ErrorClass, ErrorEntry, lookup


@pytest.mark.parametrize("entry", REGISTRY.values(), ids=REGISTRY)
def test_entry_says_what_it_means_and_what_to_do(entry: ErrorEntry) -> None:
    assert re.fullmatch(r"(EVENT|CMT|SYNC)(-[A-Z]+)+", entry.code)
    assert entry.meaning.endswith((".", ")."))
    assert entry.remedy.endswith(".")
    assert REGISTRY[entry.code] is lookup(entry.code) is entry


def test_only_what_may_pass_says_something_of_the_targets_health_or_its_credentials() -> None:
    transport = {entry.error_class for entry in REGISTRY.values() if entry.transport}
    assert ErrorClass.INVALID not in transport
    assert not [code for code in REGISTRY if code.startswith("EVENT-") and REGISTRY[code].transport]
    assert not [code for code in REGISTRY if code.startswith("CMT-ROW-") and REGISTRY[code].transport]


def test_all_that_is_wrong_with_an_event_itself_is_invalid() -> None:
    events = {entry.error_class for code, entry in REGISTRY.items() if code.startswith("EVENT-")}
    assert events == {ErrorClass.INVALID}


def test_unknown_code_is_an_error() -> None:
    with pytest.raises(KeyError):
        lookup("CMT-NO-SUCH")
