"""What counts as a refusal of a topic that was created again, and how this verdict joins that of the run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.delivery.pipeline_identity import Difference, PipelineIdentity, Role, refusal
from tests.chaos.made_up import CATALOG, evidence
from tests.chaos.recreated_topic import concerning, refusal_problem
from tests.chaos.verdict import judge, together
from tests.support.simulator_probe import Call

TOPIC = "profiles-1"
BEFORE, NOW = (PipelineIdentity("consumers", TOPIC, {Role.SOURCE: one}) for one in ("a", "b"))
WHY = refusal(Difference.RECREATED, BEFORE, NOW, "sync-1")
SAID = f'{{"event": "cannot go on", "reason": "{WHY}", "level": "error"}}'
LOG = f'{{"event": "{WHY}", "level": "error"}}'


def test_a_worker_that_ends_and_says_which_topic_and_how_to_go_on_has_refused() -> None:
    assert refusal_problem(1, f"{LOG}\n{SAID}\n", TOPIC) is None


@pytest.mark.parametrize(
    ("exit_code", "log"),
    [
        (None, SAID),
        (0, SAID),
        (-9, SAID),
        (1, ""),
        (1, LOG),
        (1, "Traceback (most recent call last):\nValueError: profiles-1"),
        (1, SAID.replace(TOPIC, "another")),
        (1, SAID.replace("KAFKA_GROUP", "")),
    ],
    ids=[
        "goes on",
        "ends well",
        "was killed",
        "silent",
        "said of something else",
        "an error",
        "other topic",
        "no way out",
    ],
)
def test_any_other_end_is_no_refusal(exit_code: int | None, log: str) -> None:
    assert refusal_problem(exit_code, log, TOPIC)


def test_calls_for_events_are_told_from_questions() -> None:
    asks = [Call(1, "", "Retrieve", "CMT_Pet", one, "ok", ()) for one in (None, "", "profile-sync-probe")]
    writes = [Call(2, "", "Update", "CMT_Pet", "c10000022-7", "ok", ())]
    assert concerning([*asks, *writes]) == writes


def test_a_violation_in_the_new_topic_is_one_of_the_run() -> None:
    good = judge(evidence(), CATALOG)
    wrong = judge(replace(evidence(), dead_letters=[], remarks=["worker 0 went on"]), CATALOG)
    both = together(good, wrong)
    assert {violation.what for violation in both.violations} == {"lost", "count", "worker"}
    assert all("recreated" in violation.detail for violation in both.violations)
    assert (both.figures.events, both.figures.lost) == (16, wrong.figures.lost)
    assert both.figures.outcomes["synced"] == 2 * good.figures.outcomes["synced"]
    assert together(good, good).violations == ()
