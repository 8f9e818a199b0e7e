"""From an event to its calls."""

from __future__ import annotations

from typing import Any

import pytest

from app.delivery.outcome import Phase
from app.profile.entities import CHILD_TYPES, Catalog, DataExtension, EntityType
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.plan import Action, Step, contradiction, deletes_of, narrow, plan_reconcile, plan_replace
from app.profile.samples.samples import sample_events

CONSUMER, CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN = EntityType


def event(operation: Operation, **changes: Any) -> ProfileEvent:
    values: dict[str, Any] = {
        "event_id": "e",
        "operation": operation,
        "consumer_id": "c",
        "market": "DE",
        "occurred_at": "2026-01-01T00:00:00Z",
        "consumer": {"ConsumerId": "c", "FirstName": "Jana"},
        "entities": {OPT_IN: ({"OptInId": "o1"},), CONTACT: ({"ContactId": "k1"}, {"ContactId": "k2", "Type": None})},
    }
    return ProfileEvent(**{**values, **changes})


POSTS = (
    Step(Action.UPSERT, CONSUMER, Phase.PARENT, {"ConsumerId": "c", "FirstName": "Jana"}),
    Step(Action.UPSERT, CONTACT, Phase.CHILD, {"ConsumerId": "c", "ContactId": "k1"}),
    Step(Action.UPSERT, CONTACT, Phase.CHILD, {"ConsumerId": "c", "ContactId": "k2", "Type": None}),
    Step(Action.UPSERT, OPT_IN, Phase.CHILD, {"ConsumerId": "c", "OptInId": "o1"}),
)


def clearing(phase: Phase, *also_read: EntityType) -> tuple[Step, ...]:
    return (
        *(Step(Action.RETRIEVE, entity, phase) for entity in (*CHILD_TYPES, *also_read)),
        *(Step(Action.DELETE, entity, phase) for entity in CHILD_TYPES),
    )


def test_new_is_the_parent_then_the_rows_in_the_order_of_the_entity_types(catalog: Catalog) -> None:
    assert plan_replace(event(Operation.NEW), catalog) == POSTS


def test_update_clears_every_entity_type_also_those_that_it_does_not_list_then_posts(catalog: Catalog) -> None:
    assert plan_replace(event(Operation.UPDATE), catalog) == (*clearing(Phase.BEFORE_PARENT), *POSTS)


def test_update_may_replace_the_parent_too(catalog: Catalog) -> None:
    parent = Step(Action.DELETE, CONSUMER, Phase.BEFORE_PARENT, {"ConsumerId": "c"})
    plan = plan_replace(event(Operation.UPDATE), catalog, replace_parent=True)
    assert plan == (*clearing(Phase.BEFORE_PARENT, CONSUMER), parent, *POSTS)


@pytest.mark.parametrize("scope", [DeleteScope.PROFILE, None])
@pytest.mark.parametrize("replace_parent", [False, True])
def test_delete_profile_reads_all_clears_the_entities_then_deletes_the_parent(
    catalog: Catalog, scope: DeleteScope | None, replace_parent: bool
) -> None:
    profile = event(Operation.DELETE, consumer=None, entities={}, delete_scope=scope)
    parent = Step(Action.DELETE, CONSUMER, Phase.DELETE, {"ConsumerId": "c"})
    assert plan_replace(profile, catalog, replace_parent=replace_parent) == (
        *clearing(Phase.DELETE, CONSUMER),
        parent,
    )


def test_delete_profile_pays_no_heed_to_rows_that_the_event_lists(catalog: Catalog) -> None:
    listed = event(Operation.DELETE, delete_scope=DeleteScope.PROFILE)
    bare = event(Operation.DELETE, delete_scope=DeleteScope.PROFILE, consumer=None, entities={})
    assert plan_replace(listed, catalog) == plan_replace(bare, catalog)


def test_delete_entities_deletes_the_listed_rows_by_key_and_leaves_the_parent(catalog: Catalog) -> None:
    listed = event(Operation.DELETE, consumer=None, delete_scope=DeleteScope.ENTITIES)
    assert plan_replace(listed, catalog) == (
        Step(Action.DELETE, CONTACT, Phase.DELETE, {"ConsumerId": "c", "ContactId": "k1"}),
        Step(Action.DELETE, CONTACT, Phase.DELETE, {"ConsumerId": "c", "ContactId": "k2"}),
        Step(Action.DELETE, OPT_IN, Phase.DELETE, {"ConsumerId": "c", "OptInId": "o1"}),
    )


def test_found_rows_are_deleted_by_their_keys_as_found(catalog: Catalog) -> None:
    found = [{"PetId": "P1", "Name": "x", "ConsumerId": "C"}]
    step = Step(Action.DELETE, PET, Phase.DELETE, {"ConsumerId": "C", "PetId": "P1"})
    assert deletes_of(PET, Phase.DELETE, found, catalog) == (step,)
    assert deletes_of(PET, Phase.DELETE, [], catalog) == ()


def test_parent_with_another_key_is_addressed_by_the_events_own_row_else_by_the_consumer_id(catalog: Catalog) -> None:
    table = DataExtension("Kunden", ("Market", "Number"), ("ConsumerId", "Market", "Number"))
    other = Catalog({**catalog.data_extensions, CONSUMER: table})
    row = {"ConsumerId": "c", "Market": "DE", "Number": "7"}
    known = plan_replace(event(Operation.UPDATE, consumer=row), other, replace_parent=True)
    assert next(step.row for step in known if step.action is Action.DELETE and step.row) == {
        "Market": "DE",
        "Number": "7",
    }


def test_all_reads_come_before_the_first_write(catalog: Catalog) -> None:
    for one in sample_events(200, seed=1):
        actions = [step.action for step in plan_replace(one, catalog, replace_parent=True)]
        reads = actions.count(Action.RETRIEVE)
        assert set(actions[:reads]) <= {Action.RETRIEVE}


# Strategy reconcile


def reads(*entities: EntityType) -> tuple[Step, ...]:
    return tuple(Step(Action.RETRIEVE, entity, Phase.BEFORE_PARENT) for entity in entities)


def test_reconciling_update_reads_all_posts_and_then_deletes_what_is_not_listed(catalog: Catalog) -> None:
    assert plan_reconcile(event(Operation.UPDATE), catalog) == (
        *reads(*EntityType),
        *POSTS,
        *(Step(Action.DELETE, entity, Phase.CHILD) for entity in CHILD_TYPES),
    )


def test_reconciling_new_reads_the_types_that_it_lists_and_deletes_nothing(catalog: Catalog) -> None:
    assert plan_reconcile(event(Operation.NEW), catalog) == (*reads(CONSUMER, CONTACT, OPT_IN), *POSTS)
    bare = event(Operation.NEW, entities={PET: ()})
    assert plan_reconcile(bare, catalog) == (*reads(CONSUMER), POSTS[0])


@pytest.mark.parametrize("scope", [DeleteScope.PROFILE, DeleteScope.ENTITIES])
def test_a_delete_is_planned_alike_by_both_strategies(catalog: Catalog, scope: DeleteScope) -> None:
    delete = event(Operation.DELETE, consumer=None, delete_scope=scope)
    assert plan_reconcile(delete, catalog) == plan_replace(delete, catalog)


def held(*contacts: str, parent: bool = True) -> dict[EntityType, list[dict[str, str]]]:
    """What the retrieves found: contacts without further columns, and nothing of the other types."""
    return {
        **{entity: [] for entity in EntityType},
        CONSUMER: [{"ConsumerId": "c", "FirstName": "Jana"}] if parent else [],
        CONTACT: [{"ConsumerId": "c", "ContactId": name} for name in contacts],
    }


def gone(contact: str, phase: Phase) -> Step:
    return Step(Action.DELETE, CONTACT, phase, {"ConsumerId": "c", "ContactId": contact})


def kept(step: Step) -> Step:
    return Step(Action.KEEP, step.entity, step.phase, step.row)


def test_only_what_differs_is_written_and_the_deletes_come_last(catalog: Catalog) -> None:
    steps = plan_reconcile(event(Operation.UPDATE), catalog)
    parent, k1, k2, opt_in = POSTS
    assert narrow(steps, held("k1", "k2", "k9"), catalog) == (
        kept(parent),
        kept(k1),
        kept(k2),
        opt_in,
        gone("k9", Phase.CHILD),
    )
    assert narrow(steps, held("k2", parent=False), catalog) == (parent, kept(k2), k1, opt_in)


def test_of_a_parent_that_was_not_read_the_post_is_needed(catalog: Catalog) -> None:
    found = held("k1", "k2")
    del found[CONSUMER]
    assert narrow(plan_reconcile(event(Operation.UPDATE), catalog), found, catalog)[0] == POSTS[0]


def test_a_row_that_may_be_a_wanted_one_is_deleted_before_the_parent_is_written(catalog: Catalog) -> None:
    writes = narrow(plan_reconcile(event(Operation.UPDATE), catalog), held(" k1", "k2"), catalog)
    assert writes[0] == gone(" k1", Phase.BEFORE_PARENT)
    assert POSTS[1] in writes


def test_a_row_under_its_key_in_another_case_is_kept(catalog: Catalog) -> None:
    writes = narrow(plan_reconcile(event(Operation.UPDATE), catalog), held("K1 ", "k2"), catalog)
    assert [step.action for step in writes if step.entity is CONTACT] == [Action.KEEP, Action.KEEP]


def test_a_new_deletes_nothing_whatever_is_there(catalog: Catalog) -> None:
    writes = narrow(plan_reconcile(event(Operation.NEW), catalog), held("K1", "k9"), catalog)
    assert {step.action for step in writes} == {Action.UPSERT, Action.KEEP}


def test_the_parent_cannot_be_replaced_by_a_strategy_that_replaces_nothing() -> None:
    assert contradiction("replace", replace_parent=True) is None
    assert contradiction("reconcile", replace_parent=False) is None
    assert "SYNC_REPLACE_PARENT=true needs SYNC_STRATEGY=replace" in str(
        contradiction("reconcile", replace_parent=True)
    )
