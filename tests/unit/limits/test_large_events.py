"""A valid event may hold tens of thousands of rows: what is made of it takes work in proportion to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from app.bundled import schema_path
from app.profile.catalog_file import parse_catalog
from app.profile.diff import diff
from app.profile.entities import EntityType, Row
from app.profile.event import Operation, ProfileEvent
from app.profile.holdings.row_digests import Digests
from app.profile.holdings.row_list import row_list
from app.profile.plan import narrow, plan_reconcile, plan_replace
from app.profile.samples.samples import to_json
from app.profile.supersedes import deleted_rows
from tests.support.growth import LINEAR_AT_MOST, growth

CATALOG = parse_catalog(schema_path("data-extensions.json").read_bytes())
DIGESTS = Digests(CATALOG)


def pets(number: int, name: str = "Rex") -> list[dict[str, Any]]:
    return [{"PetId": f"p-{index}", "Name": f"{name} {index}"} for index in range(number)]


def event(number: int, operation: Operation = Operation.UPDATE, **changes: Any) -> ProfileEvent:
    return ProfileEvent.model_validate(
        {
            "event_id": "e-1",
            "operation": operation,
            "consumer_id": "c-1",
            "market": "DE",
            "occurred_at": "2026-11-21T10:00:00Z",
            "consumer": {"ConsumerId": "c-1"},
            "entities": {"pet": pets(number)},
            **changes,
        }
    )


def deletion(number: int) -> ProfileEvent:
    return event(number, Operation.DELETE, consumer=None, delete_scope="ENTITIES")


def held(given: ProfileEvent, name: str = "Rex") -> Mapping[EntityType, list[Row]]:
    rows: list[Row] = [{"ConsumerId": "c-1", **row} for row in pets(len(given.rows()), name)]
    return {EntityType.CONSUMER: [], EntityType.PET: rows}


STEPS: dict[str, Callable[[ProfileEvent], object]] = {
    "rows": lambda given: given.rows(),
    "plan, replace": lambda given: plan_replace(given, CATALOG, replace_parent=True),
    "plan, reconcile": lambda given: narrow(plan_reconcile(given, CATALOG), held(given, "Max"), CATALOG),
    "same": lambda given: diff(held(given), given.rows(), CATALOG, clear_unnamed=True),
    "different": lambda given: diff(held(given, "Max"), given.rows(), CATALOG),
    "all extra": lambda given: diff(held(given), [], CATALOG),
    "digests": lambda given: row_list(DIGESTS.of_event(given), DIGESTS.head),
    "JSON": to_json,
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
def test_what_is_made_of_an_event_is_linear_in_its_rows(step: Callable[[ProfileEvent], object]) -> None:
    assert growth(event, step, 250) < LINEAR_AT_MOST
    step(event(20_000))


def test_rows_to_delete_are_listed_in_linear_time() -> None:
    assert growth(deletion, lambda given: deleted_rows(given, CATALOG), 250) < LINEAR_AT_MOST
