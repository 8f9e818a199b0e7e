"""Which rows the demo expects after which outcomes, and what it says of those that differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from json import dumps
from typing import Any

import pytest

from app.bundled import schema_path
from app.delivery.outcome import Outcome
from app.demo.outcomes import published_events
from app.demo.rows import ExpectedRows, compare, expect
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog, EntityType
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.holdings.projection import TextRow
from app.profile.samples.samples import sample_events, to_json

CONSUMER, PET = EntityType.CONSUMER, EntityType.PET
SYNCED, PARTIAL, FAILED = Outcome.SYNCED, Outcome.PARTIAL, Outcome.FAILED


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return parse_catalog(schema_path("data-extensions.json").read_bytes())


def event(operation: Operation, *pet_ids: str, **changes: Any) -> ProfileEvent:
    pets = {PET: tuple({"PetId": pet_id} for pet_id in pet_ids)} if pet_ids else {}
    values: dict[str, Any] = {
        "event_id": "e",
        "operation": operation,
        "consumer_id": "c",
        "market": "DE",
        "occurred_at": "2026-01-01T00:00:00Z",
        "consumer": None if operation is Operation.DELETE else {"ConsumerId": "c", "FirstName": "A"},
        "entities": pets,
    }
    return ProfileEvent(**{**values, **changes})


NEW, UPDATE = event(Operation.NEW, "1", "2"), event(Operation.UPDATE, "2")
DELETE = event(Operation.DELETE)
DELETE_ROWS = event(Operation.DELETE, "2", delete_scope=DeleteScope.ENTITIES)
# Says nothing of the first name, which may be there from before.
UPDATE_OF_LESS = event(Operation.UPDATE, "2", consumer={"ConsumerId": "c"})
After = Callable[..., ExpectedRows]


@pytest.fixture
def after(catalog: Catalog) -> After:
    """What is expected after pairs of event and outcome."""

    def expected(*history: tuple[ProfileEvent, Outcome | None]) -> ExpectedRows:
        events = [one.model_copy(update={"event_id": str(n)}) for n, (one, _) in enumerate(history)]
        outcomes = {str(n): outcome for n, (_, outcome) in enumerate(history)}
        return expect(events, outcomes.get, catalog)

    return expected


def pets(expected: ExpectedRows) -> list[str]:
    return sorted(key[1] for key in expected.rows[PET])


def test_events_that_were_all_synced_say_what_is_there(after: After) -> None:
    expected = after((NEW, SYNCED), (DELETE_ROWS, SYNCED))
    assert expected.consumers == {"c"}
    assert pets(expected) == ["1"]


@pytest.mark.parametrize("outcome", [PARTIAL, FAILED, None])
def test_after_another_outcome_nothing_is_known(after: After, outcome: Outcome | None) -> None:
    expected = after((NEW, SYNCED), (UPDATE, outcome))
    assert (expected.consumers, expected.left_out) == (frozenset(), 1)
    assert not any(expected.rows.values())


@pytest.mark.parametrize("outcome", [PARTIAL, FAILED])
def test_a_synced_update_says_everything_again(after: After, outcome: Outcome) -> None:
    expected = after((NEW, outcome), (UPDATE, SYNCED))
    assert expected.consumers == {"c"}
    assert pets(expected) == ["2"]


def test_a_synced_deletion_of_the_profile_does_too(after: After) -> None:
    expected = after((NEW, FAILED), (DELETE, SYNCED))
    assert expected.consumers == {"c"}
    assert not any(expected.rows.values())


@pytest.mark.parametrize("later", [NEW, DELETE_ROWS, UPDATE_OF_LESS], ids=["new", "delete rows", "update of less"])
def test_other_events_leave_unknown_what_was_unknown(after: After, later: ProfileEvent) -> None:
    assert after((NEW, PARTIAL), (later, SYNCED)).left_out == 1


def held(**tables: Sequence[Mapping[str, str | None]]) -> dict[EntityType, Sequence[TextRow]]:
    return {EntityType(name): rows for name, rows in tables.items()}


PARENT = {"ConsumerId": "c", "FirstName": "A"}


def test_equal_rows_are_counted_and_nothing_said(after: After, catalog: Catalog) -> None:
    expected = after((UPDATE, SYNCED))
    check = compare(expected, held(consumer=[PARENT], pet=[{"ConsumerId": "c", "PetId": "2"}]), catalog)
    assert (check.checked, check.differing, check.examples) == (2, 0, ())


def test_missing_changed_and_left_over_rows_are_named(after: After, catalog: Catalog) -> None:
    expected = after((UPDATE, SYNCED))
    changed = held(consumer=[{**PARENT, "FirstName": "B"}], pet=[{"ConsumerId": "c", "PetId": "9"}])
    check = compare(expected, changed, catalog)
    assert (check.checked, check.differing) == (3, 3)
    assert check.examples == (
        "CMT_Consumer c: differs in FirstName",
        "CMT_Pet c/2: is missing",
        "CMT_Pet c/9: should be gone",
    )


def test_rows_of_consumers_of_whom_nothing_is_known_are_not_looked_at(after: After, catalog: Catalog) -> None:
    check = compare(after((NEW, FAILED)), held(consumer=[PARENT]), catalog)
    assert check.checked == 0


def test_numbers_of_the_sample_events_look_as_they_do_in_their_json(catalog: Catalog) -> None:
    events = list(published_events(200, 0, catalog))
    expected = expect(events, lambda event_id: SYNCED, catalog).rows[PET].values()
    weights = {row["WeightKg"] for row in expected if row.get("WeightKg")}
    spelled = {text for one in sample_events(200) for text in re.findall(r'"WeightKg": ([\d.]+)', dumps(to_json(one)))}
    assert weights
    assert weights <= spelled
