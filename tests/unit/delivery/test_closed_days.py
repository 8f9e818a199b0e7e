"""Closed days leave the record: nothing is counted twice or lost, and what is too old is dropped."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.closed_days import (
    decode_document,
    document_key,
    document_keys,
    encode_document,
    parse_document_key,
    plan_move,
)
from app.delivery.counts import Counts, Settlement, added, fold
from app.delivery.outcome import Outcome
from app.delivery.partition_record import PartitionState
from app.delivery.record_format import StateError, parse_partition_key, partition_key

TODAY = date(2026, 11, 21)
KEEP = 60


def day(age: int) -> str:
    return (TODAY - timedelta(days=age)).isoformat()


def counted(*ages: int, market: str = "DE") -> Counts:
    counts: Counts = {}
    for age in ages:
        fold(counts, Settlement("c", "e", "NEW", market, day(age), Outcome.SYNCED))
    return counts


class Log:
    """The state topic of one partition: the record, and documents by key."""

    def __init__(self, counts: Counts) -> None:
        self.state = PartitionState(counts=counts)
        self.documents: dict[bytes, bytes] = {}
        self.number = 0

    def move(self, today: date = TODAY) -> bool:
        """Whether anything was moved."""
        self.number += 1
        move = plan_move(
            self.state,
            partition=3,
            epoch=7,
            number=self.number,
            read=self.documents.get,
            today=today,
            keep_days=KEEP,
        )
        if move is None:
            return False
        assert not self.documents.keys() & move.documents.keys(), "a document is never changed"
        self.documents |= move.documents
        move.apply(self.state)
        self.state = PartitionState.decode(self.state.encode())
        for key in move.outdated:
            del self.documents[key]
        assert set(self.documents) == document_keys(3, self.state)
        return True

    def counts(self) -> Counts:
        total = self.state.counts
        for value in self.documents.values():
            total = added(total, decode_document(value))
        return total


def test_today_and_yesterday_stay_and_older_days_go_by_month() -> None:
    log = Log(counted(0, 1, 2, 30))
    assert log.move()
    assert set(log.state.counts) == {day(0), day(1)}
    assert {
        month: set(decode_document(log.documents[document_key(3, 7, month, 1)])) for month in log.state.closed_months
    } == {
        "2026-11": {day(2)},
        "2026-10": {day(30)},
    }
    assert log.counts() == counted(0, 1, 2, 30)
    assert not log.move(), "nothing more to do"


def test_a_late_event_of_a_closed_day_is_added_to_it_with_the_next_move() -> None:
    log = Log(counted(5))
    log.move()
    fold(log.state.counts, Settlement("c", "e2", "NEW", "FR", day(5), Outcome.FAILED, "CMT-TIMEOUT"))
    expected = log.counts()
    assert log.move()
    assert log.state.counts == {}
    assert log.counts() == expected
    assert expected[day(5)]["FR"]["events"] == {"failed": 1}


def test_days_with_a_wrong_clock_leave_the_record_too_and_are_kept() -> None:
    log = Log(counted(-4_000))
    log.move()
    assert (log.state.counts, log.counts()) == ({}, counted(-4_000))


def test_the_last_days_are_kept_and_older_ones_dropped_wherever_they_are() -> None:
    log = Log(counted(3, KEEP - 1, KEEP))
    log.move()
    assert set(log.counts()) == {day(3), day(KEEP - 1)}
    assert log.move(TODAY + timedelta(days=1))
    assert set(log.counts()) == {day(3)}
    assert log.move(TODAY + timedelta(days=KEEP))
    assert (log.documents, log.state.closed_months) == ({}, {})


def test_a_month_whose_document_cannot_be_read_is_left_alone() -> None:
    log = Log(counted(2, 30))
    log.move()
    lost = log.documents.pop(document_key(3, 7, "2026-11", 1))
    fold(log.state.counts, Settlement("c", "e2", "NEW", "DE", day(2), Outcome.SYNCED))
    assert not plan_move(log.state, partition=3, epoch=7, number=9, read=log.documents.get, today=TODAY, keep_days=KEEP)
    log.documents[document_key(3, 7, "2026-11", 1)] = lost
    assert log.move()
    assert log.counts()[day(2)]["DE"]["events"] == {"synced": 2}


_ages = st.lists(st.integers(0, KEEP - 10), max_size=6)


@given(st.lists(st.tuples(_ages, st.booleans()), min_size=1, max_size=6))
def test_whenever_days_move_the_sum_is_the_same(steps: list[tuple[list[int], bool]]) -> None:
    log, expected = Log({}), Log({})
    for ages, move in steps:
        for age in ages:
            one = Settlement("c", "e", "UPDATE", "DE", day(age), Outcome.PARTIAL, "CMT-TIMEOUT")
            fold(log.state.counts, one)
            fold(expected.state.counts, one)
        if move:
            log.move()
        assert log.counts() == expected.state.counts


def test_keys_of_records_and_documents_are_told_apart() -> None:
    assert parse_document_key(document_key(3, 7, "2026-11", 4)) == (3, 7, "2026-11", 4)
    assert parse_document_key(partition_key(3, 7)) is None
    with pytest.raises(StateError):
        parse_partition_key(document_key(3, 7, "2026-11", 4))


@pytest.mark.parametrize("value", [None, b"", b"[]", b'{"v": 99, "counts": {}}', b'{"v": 1}', b"\xff"])
def test_a_document_that_cannot_be_read_is_an_error(value: bytes | None) -> None:
    with pytest.raises(StateError):
        decode_document(value)
    assert decode_document(encode_document(counted(3))) == counted(3)


def test_added_changes_neither_side_and_sums_pairs() -> None:
    one: Counts = {"d": {"DE": {"records": {"pet|NEW": [1, 2]}, "events": {"synced": 1}}}}
    other: Counts = {
        "d": {"DE": {"records": {"pet|NEW": [3, 0], "child|NEW": [1, 0]}}, "FR": {"events": {"failed": 4}}}
    }
    assert added(one, other) == {
        "d": {
            "DE": {"records": {"pet|NEW": [4, 2], "child|NEW": [1, 0]}, "events": {"synced": 1}},
            "FR": {"events": {"failed": 4}},
        }
    }
    assert one["d"]["DE"]["records"] == {"pet|NEW": [1, 2]}
    assert other["d"]["DE"]["records"] == {"pet|NEW": [3, 0], "child|NEW": [1, 0]}


def test_counts_that_are_kept_for_ever_are_moved_too() -> None:
    state = PartitionState(counts={"2026-01-01": {"DE": {"events": {"synced": 1}}}})
    move = plan_move(
        state, partition=0, epoch=1, number=1, read=lambda _: None, today=date(2026, 11, 28), keep_days=1_000_000
    )
    assert move is not None
    assert move.days == {"2026-01-01"}
