"""What a worker says of itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from app.delivery.outcome import Outcome
from app.delivery.pipeline import Pipeline
from app.flows.own_status import OwnStatus
from app.flows.recipe import Recipe
from app.observe.health import Readiness
from app.settings import WorkerSettings
from tests.unit.delivery.test_partition_record import settled


class Accounts(list[object]):
    warnings: tuple[str, ...] = ()


@pytest.mark.parametrize("outcome", [Outcome.SYNCED, Outcome.PARTIAL, Outcome.INVALID, Outcome.DISCARDED])
def test_an_event_that_a_redrive_wrote_is_a_success_and_one_that_fails_again_is_no_new_failure(
    outcome: Outcome,
) -> None:
    kafka, sync = SimpleNamespace(instance_id="w"), SimpleNamespace(strategy="replace", dry_run=False)
    settings = cast(WorkerSettings, SimpleNamespace(kafka=kafka, sync=sync))
    pipeline = Pipeline("consumers", "main", "group")
    recipe = cast(Recipe, SimpleNamespace(pipeline=pipeline, target="cmt", accounts=Accounts()))
    status = OwnStatus(settings, recipe, lambda: cast(Readiness, SimpleNamespace(ready=True, reasons=())))
    assert status.describe().last_success is None
    status.handled(settled(outcome=outcome, reason="EVENT-NOT-JSON"))
    told = status.describe()
    assert (told.last_success is not None) == (outcome in (Outcome.SYNCED, Outcome.PARTIAL))
    assert told.invalid == {}
