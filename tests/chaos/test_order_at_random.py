"""The explainer accepts workers that are interrupted at random, and finds what a worker must not do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from app.delivery.outcome import InvalidEvent
from app.delivery.record import SourceRecord
from app.profile.event import ProfileEvent
from app.profile.event_reader import read_event
from app.profile.holdings.projection import Rows
from tests.chaos.event_calls import STRATEGIES, Strategy
from tests.chaos.events import HOT_CONSUMERS, consumer_ids, drafts
from tests.chaos.made_up import CATALOG, attempt_of, numbered
from tests.chaos.order import Explanation, Stamped, explain
from tests.support.simulator_probe import Call

SEEDS = range(4)
# Of all consumers together.
EVENTS = 100


@dataclass
class History:
    """``settling``: places among the calls of writes by the attempt that settled their event."""

    events: list[ProfileEvent]
    calls: list[Call] = field(default_factory=list)
    settling: list[int] = field(default_factory=list)


def history(seed: int, strategy: Strategy, *, bad_answers: bool = True, knows_types: bool = True) -> History:
    """The events of one consumer, some attempts of which end early, some with a call whose answer was bad.

    ``knows_types``: else the workers of half of the attempts do not.
    """
    rng = random.Random(seed)
    made = History(events_of_one(seed))
    held: Rows = {}

    def attempt_at(event: ProfileEvent) -> list[Call]:
        return attempt_of(event, held, strategy, knows_types=knows_types or rng.random() < 0.5)

    for event in made.events:
        while rng.random() < 0.3:
            attempt = attempt_at(event)
            cut = rng.randrange(len(attempt) + 1)
            for call in attempt[:cut]:
                held = effect(held, call)
            made.calls += attempt[:cut]
            if bad_answers and cut < len(attempt) and rng.random() < 0.5:
                made.calls.append(replace(attempt[cut], status="fault"))
                held = effect(held, attempt[cut]) if rng.random() < 0.5 else held
        attempt = attempt_at(event)
        for call in attempt:
            if effect(held, call) != held:
                made.settling.append(len(made.calls))
            made.calls.append(call)
            held = effect(held, call)
    return made


def events_of_one(seed: int) -> list[ProfileEvent]:
    found = []
    one = consumer_ids(seed, HOT_CONSUMERS)[0].encode()
    for offset, draft in enumerate(drafts(seed, EVENTS, HOT_CONSUMERS)):
        if draft.key != one:
            continue
        try:
            found.append(read_event(SourceRecord("t", 0, offset, 0, draft.key, draft.value), CATALOG))
        except InvalidEvent:
            continue
    return found


def effect(held: Rows, call: Call) -> Rows:
    """The rows after a call that went well."""
    if call.operation == "Retrieve":
        return held
    [entity] = [
        entity for entity, table in CATALOG.data_extensions.items() if table.customer_key == call.data_extension
    ]
    [row] = call.rows
    key = tuple(str(row[column]) for column in CATALOG[entity].primary_key)
    rows = {one: row for one, row in held.get(entity, {}).items() if one != key or call.operation != "Delete"}
    if call.operation == "Update":
        rows[key] = {**rows.get(key, {}), **row}
    return {**held, entity: rows}


def explained(made: History, calls: Sequence[Call], strategy: Strategy) -> Explanation:
    return explain(made.events, [Stamped(call) for call in numbered(calls)], CATALOG, strategy)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_attempts_that_are_broken_off_anywhere_break_nothing(seed: int, strategy: Strategy) -> None:
    made = history(seed, strategy)
    found = explained(made, made.calls, strategy)
    assert (found.violations, found.lost) == ((), ())
    assert found.repeated, "nothing was broken off"


def test_workers_that_do_not_know_types_write_equal_dates_again_and_break_nothing() -> None:
    equal = 0
    for seed in SEEDS:
        made = history(seed, "reconcile", knows_types=False)
        found = explained(made, made.calls, "reconcile")
        assert (found.violations, found.lost) == ((), ()), seed
        equal += found.equal
    assert equal, "nothing was written again"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_write_that_is_left_out_is_found_wherever_it_was(seed: int, strategy: Strategy) -> None:
    # After a bad answer it may have been made, unseen.
    made = history(seed, strategy, bad_answers=False)
    for place in random.Random(seed).sample(made.settling, 3):
        found = explained(made, [*made.calls[:place], *made.calls[place + 1 :]], strategy)
        assert found.violations or found.lost, made.calls[place]


@pytest.mark.parametrize(
    ("strategy", "knows_types"), [*((strategy, True) for strategy in STRATEGIES), ("reconcile", False)]
)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_post_that_comes_too_late_is_found_wherever_it_was(seed: int, strategy: Strategy, knows_types: bool) -> None:
    made = history(seed, strategy, knows_types=knows_types)
    rng = random.Random(seed)
    # A late delete may look like one of a later event.
    posts = [place for place in made.settling if made.calls[place].operation == "Update"]
    for place in rng.sample(posts, 3):
        later = [at for at in made.settling if at > place]
        if later:
            after = rng.choice(later) + 1
            calls = [*made.calls[:after], made.calls[place], *made.calls[after:]]
            found = explained(made, calls, strategy)
            assert found.violations or found.lost, (made.calls[place], after)
