"""Edits of a dead letter's value: what is shown, and what may not be written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bundled import schema_path
from app.delivery.consumer_record import ConsumerState
from app.delivery.record import SourceRecord
from app.profile.catalog_file import parse_catalog
from app.profile.edited_value import EditRefused, checked_edit, difference, editable_text

CATALOG = parse_catalog(schema_path("data-extensions.json").read_bytes())
BROKEN = SourceRecord("main", 0, 5, 0, b"C-1", b"Ann")


def event(**changes: Any) -> bytes:
    document = {
        "eventId": "e-1",
        "operation": "NEW",
        "consumerId": "C-1",
        "market": "DE",
        "occurredAt": "2026-11-21T10:00:00Z",
        "consumer": {"ConsumerId": "C-1"},
    }
    return json.dumps(document | changes).encode()


def check(value: bytes, record: SourceRecord = BROKEN, largest: int = 10_000) -> str:
    return checked_edit(record, value, ConsumerState(1, "DE"), CATALOG, largest=largest).event_id


def test_a_valid_event_of_the_same_consumer_may_replace_what_was_no_event() -> None:
    assert check(event()) == "e-1"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b" \n", "empty"),
        (b"Ann", "nothing was changed"),
        (b"{", "EVENT-NOT-JSON"),
        (event(operation="OTHER"), "EVENT-SCHEMA"),
        (event(consumerId="C-2", consumer={"ConsumerId": "C-2"}), "EVENT-KEY-MISMATCH"),
        (event(consumer={"ConsumerId": "C-1", "NoColumn": "x"}), "EVENT-UNKNOWN-COLUMN"),
        (event(consumer={"ConsumerId": "C-1", "FirstName": "x" * 10_000}), "EVENT-TOO-LARGE"),
    ],
)
def test_anything_else_is_refused_before_it_is_written(value: bytes, problem: str) -> None:
    with pytest.raises(EditRefused, match=problem):
        check(value)


def test_a_difference_names_the_lines_that_change() -> None:
    lines = list(difference(event(), event(market="FR")))
    assert [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")] == [
        '-  "market": "DE",',
        '+  "market": "FR",',
    ]
    assert list(difference(event(), event().replace(b": ", b":"))) == []
    assert list(difference(None, b"{}"))[-1] == "+{}"


@pytest.mark.parametrize("text", ['{"a": 1.10}', '{"a": 1, "a": 2}', '{"a": 1E2}', '{"a": -0}', "[[", "Zoë"])
def test_what_would_be_written_in_another_way_is_shown_as_it_is(text: str) -> None:
    assert editable_text(text.encode()) == text


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_an_editor_changes_nothing_by_itself(content: Any) -> None:
    assert json.loads(editable_text(json.dumps({"a": content}).encode())) == {"a": content}
