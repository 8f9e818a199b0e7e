"""What is remembered of an incident survives a restart; what is not ours is refused."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.alert import Severity
from app.incidents.memory import Remembered, UnreadableMemory
from app.incidents.open_letters import Told
from app.incidents.tickets import Incident

_NAMES = st.sampled_from(
    ["v", "sysId", "number", "severity", "partition", "opened", "since", "seen", "waiting", "over", "told"]
)
DOCUMENTS = st.dictionaries(_NAMES, st.none() | st.integers(0, 2) | st.text(max_size=3) | st.lists(st.none()))
MOMENTS = st.integers(0, 4_000_000_000_000)
REMEMBERED = Remembered(Incident("a" * 32, "INC1"), Severity.OUTAGE, 3, 1, 2, 3, 4)


@given(st.sampled_from(Severity), MOMENTS, MOMENTS, st.none() | MOMENTS, st.none() | st.builds(Told, *[MOMENTS] * 3))
def test_it_is_read_as_it_was_written(
    severity: Severity, opened: int, seen: int, over: int | None, told: Told | None
) -> None:
    remembered = Remembered(Incident("0a" * 16, "INC0010001"), severity, 7, opened, opened, seen, 12, over, told)
    assert Remembered.from_bytes(remembered.to_bytes()) == remembered


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"[" * 100_000,
        REMEMBERED.to_bytes().replace(b'"v":1', b'"v":2'),
        REMEMBERED.to_bytes().replace(b'"outage"', b'"odd"'),
        REMEMBERED.to_bytes().replace(b'"INC1"', b"[]"),
        REMEMBERED.to_bytes().replace(b'"opened":1', b'"opened":-1'),
        REMEMBERED.to_bytes().replace(b'"seen":3', b'"seen":true'),
        REMEMBERED.to_bytes().replace(b'"over":null', b'"over":"soon"'),
        REMEMBERED.to_bytes().replace(b'"told":null', b'"told":[1,2]'),
        REMEMBERED.to_bytes().replace(b'"told":null', b'"told":[1,2,-3]'),
    ],
)
def test_what_is_not_ours_is_refused(value: bytes) -> None:
    with pytest.raises(UnreadableMemory):
        Remembered.from_bytes(value)


@given(st.binary(max_size=200) | DOCUMENTS.map(json.dumps).map(str.encode))
def test_no_bytes_raise_anything_else(value: bytes) -> None:
    with contextlib.suppress(UnreadableMemory):
        Remembered.from_bytes(value)


def test_a_record_of_a_program_that_did_not_count_dead_letters_is_read() -> None:
    assert Remembered.from_bytes(REMEMBERED.to_bytes().replace(b',"told":null', b"")) == REMEMBERED
