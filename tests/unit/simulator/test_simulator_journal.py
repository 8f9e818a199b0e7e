"""The journal keeps the last calls, finds a consumer's without looking at all, and stays small."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from app.simulator.journal import KEPT_CALLS, CallJournal


def record(journal: CallJournal, consumer: str | None) -> None:
    journal.record(0.0, "Update", "DE", consumer, "ok")


def test_a_million_calls_are_kept() -> None:
    assert KEPT_CALLS >= 1_000_000


@given(
    st.lists(st.sampled_from(["a", "b", None]), max_size=12),
    st.integers(1, 8),
    st.sampled_from([None, "a", "b", "c"]),
    st.integers(0, 14),
    st.none() | st.integers(0, 5),
)
def test_the_last_calls_are_kept_and_selected(
    consumers: list[str | None], kept: int, consumer: str | None, since: int, limit: int | None
) -> None:
    journal = CallJournal(kept)
    for name in consumers:
        record(journal, name)
    expected = [
        seq
        for seq, name in list(enumerate(consumers, 1))[-kept:]
        if seq > since and (consumer is None or name == consumer)
    ]
    assert [call.seq for call in journal.calls(consumer, since, limit)] == expected[:limit]
    assert (journal.total, len(journal)) == (len(consumers), min(kept, len(consumers)))


def test_settling_corrects_status_and_counts() -> None:
    journal = CallJournal()
    call = journal.record(0.0, "Update", "DE", "c", "ok")
    journal.settle([call], 12.5, "dropped")
    assert (call.ms, call.status) == (12.5, "dropped")
    assert +journal.by_status == {"dropped": 1}


def test_clearing_starts_again_at_one() -> None:
    journal = CallJournal()
    record(journal, "a")
    journal.clear()
    record(journal, "a")
    assert [call.seq for call in journal.calls("a")] == [1]
    assert journal.by_operation == {"Update": 1}


def test_rows_take_no_more_memory_than_their_text() -> None:
    """A million calls must fit: the buffer behind what a JSON writer returns can be ten times the text."""
    journal = CallJournal()
    call = journal.record(0.0, "Update", "DE", "c", "ok", [{"ConsumerId": "c", "Value": "v" * 50}])
    assert sys.getsizeof(call.rows) < 150
    assert b'"rows":[{"ConsumerId":"c","Value":"' in call.as_json(with_rows=True)
    assert b"rows" not in call.as_json(with_rows=False)
