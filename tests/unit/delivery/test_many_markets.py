"""A producer that invents markets: the record stays small, every event is counted once all the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import orjson
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.closed_days import decode_document, encode_document, plan_move
from app.delivery.counts import (
    MARKETS_PER_DAY,
    OTHER_MARKETS,
    Counts,
    FailureCount,
    Settlement,
    added,
    cells,
    fold,
    is_folded,
)
from app.delivery.outcome import Outcome
from app.delivery.partition_record import PartitionState

DAY = "2026-11-21"
FAILURE = (FailureCount("event", "EVENT-SCHEMA"),)


def settled(market: str, day: str = DAY) -> Settlement:
    return Settlement(None, "e", "NEW", market, day, Outcome.INVALID, "EVENT-SCHEMA", failures=FAILURE)


def events(counts: Counts) -> int:
    return sum(cell.numbers[0] for cell in cells([counts]) if cell.kind == "events")


def invented(number: int, first: int = 0) -> Counts:
    counts: Counts = {}
    for market in range(first, first + number):
        fold(counts, settled(f"M{market}"))
    return counts


def test_24_000_invented_markets_do_not_fill_the_record() -> None:
    state = PartitionState()
    for number in range(24_000):
        state.settle(number, settled(f"M{number}"))
    state.advance(23_999)
    assert len(state.encode()) < 40_000
    assert len(state.counts[DAY]) == MARKETS_PER_DAY + 1
    assert events(state.counts) == 24_000
    assert state.counts[DAY][OTHER_MARKETS]["events"] == {"invalid": 24_000 - MARKETS_PER_DAY}


def test_known_markets_go_on_being_counted_by_name_when_there_are_too_many() -> None:
    counts = invented(MARKETS_PER_DAY)
    assert not is_folded(counts[DAY])
    fold(counts, settled("late"))
    fold(counts, settled("M0"))
    assert counts[DAY]["M0"]["events"] == {"invalid": 2}
    assert "late" not in counts[DAY]
    assert is_folded(counts[DAY])
    fold(counts, settled("late", "2026-11-22"))
    assert not is_folded(counts["2026-11-22"]), "another day begins with nothing"


def test_a_market_that_is_called_other_takes_nobodys_place() -> None:
    counts = invented(3)
    fold(counts, settled(OTHER_MARKETS))
    assert not is_folded(counts[DAY])


def test_what_is_taken_out_again_comes_from_where_it_was_counted() -> None:
    counts = invented(MARKETS_PER_DAY + 1)
    fold(counts, settled("late"))
    fold(counts, settled("late"), sign=-1)
    assert events(counts) == MARKETS_PER_DAY + 1


@given(st.integers(0, 450), st.integers(0, 450), st.integers(0, 450))
def test_the_sum_of_a_record_and_its_document_keeps_the_limit_and_every_event(
    closed: int, first: int, still_open: int
) -> None:
    one, other = invented(closed), invented(still_open, first)
    total = added(one, other)
    assert events(total) == closed + still_open
    named = total.get(DAY, {}).keys() - {OTHER_MARKETS}
    assert len(named) <= MARKETS_PER_DAY
    assert is_folded(total.get(DAY, {})) == (
        len(named | {f"M{n}" for n in (*range(closed), *range(first, first + still_open))}) > MARKETS_PER_DAY
    )


def test_records_of_older_programs_with_more_markets_are_read_and_become_small() -> None:
    day = {f"M{number}": {"events": {"invalid": 1}} for number in range(5_000)}
    state = PartitionState(upto=4_999)
    document = orjson.loads(state.encode()) | {"counts": {DAY: day}}
    read = PartitionState.decode(orjson.dumps(document))
    assert events(read.counts) == 5_000
    assert len(read.counts[DAY]) == MARKETS_PER_DAY + 1
    old = decode_document(encode_document({DAY: day}))
    assert (events(old), len(old[DAY])) == (5_000, MARKETS_PER_DAY + 1)


def test_a_closed_day_stays_small_however_often_it_is_added_to() -> None:
    documents: dict[bytes, bytes] = {}
    state = PartitionState()
    for number in range(6):
        for market in range(300):
            fold(state.counts, settled(f"M{number}-{market}"))
        move = plan_move(
            state, partition=0, epoch=1, number=number, read=documents.get, today=date(2026, 11, 28), keep_days=400
        )
        assert move is not None
        documents = dict(move.documents)
        move.apply(state)
        state = replace(state)
    [document] = documents.values()
    counts = decode_document(document)
    assert events(counts) == 1_800
    assert len(counts[DAY]) == MARKETS_PER_DAY + 1
