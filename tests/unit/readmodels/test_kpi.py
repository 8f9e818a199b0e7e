"""The KPI rows: what is shown is the sum of all partitions."""

from __future__ import annotations

import pytest

from app.delivery.counts import MARKETS_PER_DAY, FailureCount, fold
from app.delivery.outcome import Outcome, RecordCount
from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.profile.entities import EntityType
from app.readmodels import kpi
from tests.support.records import partition_state, settlement

ALL = kpi.Filter()
NONE = dict.fromkeys(kpi.OUTCOMES, 0)


def _states() -> dict[int, PartitionState]:
    parked = ParkedEvent("C-9", "e-9", 1, 0)
    return {
        0: partition_state(
            settlement("a"),
            settlement("b", outcome=Outcome.FAILED, failures=(FailureCount("consumer", "CMT-TIMEOUT"),)),
            settlement("c", day="2026-11-20", market="FR"),
            parked={7: parked, 8: parked},
        ),
        3: partition_state(
            settlement("d"),
            settlement(
                "e",
                outcome=Outcome.PARTIAL,
                operation="UPDATE",
                records=(RecordCount(EntityType.CONSUMER, 1, 0), RecordCount(EntityType.PET, 2, 1)),
                failures=(FailureCount("pet", "CMT-ROW-INVALID"),),
            ),
            settlement("f", outcome=Outcome.INVALID, market="-", failures=(FailureCount("event", "EVENT-NOT-JSON"),)),
            parked={2: parked},
        ),
    }


def test_daily_rows_are_sums_over_the_partitions_sorted_by_day_and_market() -> None:
    assert kpi.daily(_states(), ALL) == [
        {"day": "2026-11-20", "market": "FR", **NONE, "synced": 1},
        {"day": "2026-11-21", "market": "-", **NONE, "invalid": 1},
        {"day": "2026-11-21", "market": "DE", **NONE, "synced": 2, "failed": 1, "partial": 1},
    ]


def test_totals_count_every_event_once_and_the_parked_apart() -> None:
    assert kpi.totals(_states()) == {
        **NONE,
        "synced": 3,
        "partial": 1,
        "failed": 1,
        "invalid": 1,
        "events": 6,
        "parked": 3,
    }


def test_the_day_rows_add_up_to_the_totals() -> None:
    totals = kpi.totals(_states())
    for outcome in kpi.OUTCOMES:
        assert sum(int(row[outcome]) for row in kpi.daily(_states(), ALL)) == totals[outcome]


def test_records_are_counted_by_entity_and_operation() -> None:
    rows = kpi.records(_states(), kpi.Filter(market="DE"))
    assert rows == [
        {"day": "2026-11-21", "market": "DE", "entity": "consumer", "operation": "NEW", "synced": 3, "failed": 0},
        {"day": "2026-11-21", "market": "DE", "entity": "consumer", "operation": "UPDATE", "synced": 1, "failed": 0},
        {"day": "2026-11-21", "market": "DE", "entity": "pet", "operation": "UPDATE", "synced": 2, "failed": 1},
    ]


def test_failures_are_counted_by_reason() -> None:
    rows = kpi.failures(_states(), ALL)
    assert [(row["market"], row["entity"], row["operation"], row["reason"], row["count"]) for row in rows] == [
        ("-", "event", "NEW", "EVENT-NOT-JSON", 1),
        ("DE", "consumer", "NEW", "CMT-TIMEOUT", 1),
        ("DE", "pet", "UPDATE", "CMT-ROW-INVALID", 1),
    ]


@pytest.mark.parametrize(
    ("chosen", "days"),
    [
        (kpi.Filter(first="2026-11-20"), {"2026-11-20", "2026-11-21"}),
        (kpi.Filter(first="2026-11-21"), {"2026-11-21"}),
        (kpi.Filter(last="2026-11-20"), {"2026-11-20"}),
        (kpi.Filter(first="2026-11-20", last="2026-11-20"), {"2026-11-20"}),
        (kpi.Filter(market="FR"), {"2026-11-20"}),
        (kpi.Filter(first="2026-11-22"), set()),
    ],
)
def test_first_and_last_day_are_included(chosen: kpi.Filter, days: set[str]) -> None:
    assert {row["day"] for row in kpi.daily(_states(), chosen)} == days


def test_what_a_redrive_took_back_leaves_no_empty_row() -> None:
    failed = settlement("a", outcome=Outcome.FAILED, failures=(FailureCount("consumer", "CMT-TIMEOUT"),))
    state = partition_state(failed)
    fold(state.counts, failed, sign=-1)
    assert kpi.daily({0: state}, ALL) == []
    assert kpi.records({0: state}, ALL) == []
    assert kpi.failures({0: state}, ALL) == []
    assert kpi.totals({0: state})["events"] == 0


@pytest.mark.parametrize(
    "day", ["2026-13-01", "2026-02-30", "21.11.2026", "20261121", "yesterday", "", "2026-1-1", "²026-01-01"]
)
@pytest.mark.parametrize("name", ["from", "to"])
def test_a_day_that_is_none_is_refused_by_name(name: str, day: str) -> None:
    with pytest.raises(kpi.FilterError, match=name):
        kpi.Filter.parse(day if name == "from" else None, day if name == "to" else None)


def test_days_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(kpi.FilterError, match="after"):
        kpi.Filter.parse("2026-11-22", "2026-11-21")


@pytest.mark.parametrize("market", ["", "D E", "x" * 17, "ann@example.com"])
def test_a_market_that_is_none_is_refused_without_being_repeated(market: str) -> None:
    with pytest.raises(kpi.FilterError) as refused:
        kpi.Filter.parse(None, None, market)
    assert not market or market not in str(refused.value)


@pytest.mark.parametrize(
    ("dimensions", "rows"),
    [
        (
            ["market"],
            [
                {"market": "-", "invalid": 1},
                {"market": "DE", "synced": 2, "partial": 1, "failed": 1},
                {"market": "FR", "synced": 1},
            ],
        ),
        (
            ["day"],
            [
                {"day": "2026-11-20", "synced": 1},
                {"day": "2026-11-21", "synced": 2, "partial": 1, "failed": 1, "invalid": 1},
            ],
        ),
    ],
)
def test_rows_can_be_summed_by_day_or_market(dimensions: list[str], rows: list[dict[str, object]]) -> None:
    assert kpi.summed(kpi.daily(_states(), ALL), dimensions) == [{**NONE, **row} for row in rows]


def test_rows_can_be_summed_by_outcome() -> None:
    assert kpi.summed(kpi.daily(_states(), ALL), ["day", "outcome"]) == [
        {"day": "2026-11-20", "outcome": "synced", "events": 1},
        {"day": "2026-11-21", "outcome": "synced", "events": 2},
        {"day": "2026-11-21", "outcome": "partial", "events": 1},
        {"day": "2026-11-21", "outcome": "failed", "events": 1},
        {"day": "2026-11-21", "outcome": "invalid", "events": 1},
    ]


def test_an_answer_says_when_a_day_has_too_many_markets_to_name_them_all() -> None:
    states = _states()
    for number in range(MARKETS_PER_DAY + 1):
        fold(states[3].counts, settlement("m", day="2026-11-22", market=f"M{number}"))
    assert kpi.folded(states, ALL)
    assert kpi.folded(states, kpi.Filter(market="DE")), "events of any market may count as other on such a day"
    assert not kpi.folded(states, kpi.Filter(last="2026-11-21"))
    assert kpi.totals(states)["events"] == 6 + MARKETS_PER_DAY + 1
