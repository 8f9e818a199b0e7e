"""What Marketing Cloud must hold after given events."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from app.profile.entities import Catalog, EntityType
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.holdings.projection import apply, expected_rows
from app.profile.samples.samples import sample_events

CONSUMER, CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN = EntityType


def event(operation: Operation, consumer_id: str = "c", **changes: Any) -> ProfileEvent:
    values: dict[str, Any] = {
        "event_id": "e",
        "operation": operation,
        "consumer_id": consumer_id,
        "market": "DE",
        "occurred_at": "2026-01-01T00:00:00Z",
        "consumer": {"ConsumerId": consumer_id},
    }
    return ProfileEvent(**{**values, **changes})


def pets(*ids: str, **columns: Any) -> dict[EntityType, tuple[dict[str, Any], ...]]:
    return {PET: tuple({"PetId": pet_id, **columns} for pet_id in ids)}


NEW = event(Operation.NEW, consumer={"ConsumerId": "c", "FirstName": "A", "LastName": "B"}, entities=pets("1", "2"))
Held = Callable[..., list[str]]


@pytest.fixture
def held_pets(catalog: Catalog) -> Held:
    return lambda *events, **options: sorted(key[1] for key in expected_rows(events, catalog, **options)[PET])


def test_new_puts_in_the_parent_and_the_rows_as_text(catalog: Catalog) -> None:
    rows = expected_rows([event(Operation.NEW, entities=pets("1", Name=None, WeightKg=Decimal("4.50")))], catalog)
    assert rows == {
        **{entity: {} for entity in EntityType},
        CONSUMER: {("c",): {"ConsumerId": "c"}},
        PET: {("c", "1"): {"ConsumerId": "c", "PetId": "1", "Name": None, "WeightKg": "4.50"}},
    }


def test_new_on_top_of_what_is_there_removes_nothing(held_pets: Held) -> None:
    assert held_pets(NEW, event(Operation.NEW, entities=pets("3"))) == ["1", "2", "3"]


def test_update_removes_rows_that_it_does_not_list_also_of_types_that_it_does_not_name(held_pets: Held) -> None:
    assert held_pets(NEW, event(Operation.UPDATE, entities=pets("2", "3"))) == ["2", "3"]
    assert held_pets(NEW, event(Operation.UPDATE)) == []


def test_update_keeps_columns_of_the_parent_but_none_of_a_row(catalog: Catalog) -> None:
    first = event(Operation.NEW, consumer={"ConsumerId": "c", "FirstName": "A"}, entities=pets("1", Name="x"))
    later = event(Operation.UPDATE, consumer={"ConsumerId": "c", "LastName": "B"}, entities=pets("1", Breed="y"))
    rows = expected_rows([first, later], catalog)
    assert rows[CONSUMER]["c",] == {"ConsumerId": "c", "FirstName": "A", "LastName": "B"}
    assert rows[PET]["c", "1"] == {"ConsumerId": "c", "PetId": "1", "Breed": "y"}
    replaced = expected_rows([first, later], catalog, replace_parent=True)
    assert replaced[CONSUMER]["c",] == {"ConsumerId": "c", "LastName": "B"}


def test_delete_entities_removes_the_listed_rows_only(held_pets: Held, catalog: Catalog) -> None:
    some = event(Operation.DELETE, consumer=None, delete_scope=DeleteScope.ENTITIES, entities=pets("1", "9"))
    assert held_pets(NEW, some) == ["2"]
    assert list(expected_rows([NEW, some], catalog)[CONSUMER]) == [("c",)]


@pytest.mark.parametrize("scope", [DeleteScope.PROFILE, None])
def test_delete_profile_leaves_nothing_of_this_consumer(catalog: Catalog, scope: DeleteScope | None) -> None:
    profile = event(Operation.DELETE, consumer=None, delete_scope=scope)
    rows = expected_rows([event(Operation.NEW, "other", entities=pets("1")), NEW, profile], catalog)
    assert {key for table in rows.values() for key in table} == {("other",), ("other", "1")}


def test_the_state_before_is_left_as_it_was(catalog: Catalog) -> None:
    before = apply({}, NEW, catalog)
    copied = {entity: {key: dict(row) for key, row in rows.items()} for entity, rows in before.items()}
    for later in sample_events(60, seed=1, consumers=1):
        apply(before, later.model_copy(update={"consumer_id": "c"}), catalog)
    apply(before, event(Operation.NEW, consumer={"ConsumerId": "c", "FirstName": "Z"}, entities=pets("1")), catalog)
    assert before == copied


def test_doing_an_event_twice_is_doing_it_once(catalog: Catalog) -> None:
    events = list(sample_events(300, seed=3, consumers=20))
    twice = [one for event in events for one in (event, event)]
    assert expected_rows(twice, catalog) == expected_rows(events, catalog)
