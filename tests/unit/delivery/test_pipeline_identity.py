"""Which records are about the pipeline that runs, and what is said about those that are not."""

from __future__ import annotations

import pytest

from app.delivery.pipeline_identity import Difference, PipelineIdentity, Role, compare, refusal

RUNNING = PipelineIdentity("consumers", "profiles", {Role.SOURCE: "s1", Role.RETRY: "r1", Role.CONSUMERS: "c1"})


def changed(**ids: str) -> PipelineIdentity:
    return PipelineIdentity(
        "consumers", "profiles", {**RUNNING.ids, **{Role(role): given for role, given in ids.items()}}
    )


def test_the_same_topics_are_the_same() -> None:
    comparison = compare(RUNNING, RUNNING)
    assert (comparison.difference, comparison.adopted, comparison.recreated) == (None, False, frozenset())
    assert comparison.identity == RUNNING


@pytest.mark.parametrize(
    ("recorded", "difference"),
    [
        (PipelineIdentity("customers", "profiles", RUNNING.ids), Difference.FLOW),
        (PipelineIdentity("consumers", "others", RUNNING.ids), Difference.TOPIC),
        (PipelineIdentity("consumers", "others"), Difference.TOPIC),
        (changed(source="s0"), Difference.RECREATED),
        (changed(consumers="c0"), Difference.CONSUMERS_LOST),
    ],
)
def test_what_is_another_one_is_refused_with_what_to_do(recorded: PipelineIdentity, difference: Difference) -> None:
    comparison = compare(recorded, RUNNING)
    assert comparison.difference is difference
    text = refusal(difference, recorded, RUNNING, "group")
    assert "KAFKA_GROUP" in text
    assert "\n" not in text


def test_a_retry_topic_that_was_made_anew_is_no_reason_to_stop() -> None:
    comparison = compare(changed(retry="r0"), RUNNING)
    assert comparison.difference is None
    assert comparison.recreated == {Role.RETRY}
    assert comparison.identity == RUNNING


def test_a_record_that_names_no_pipeline_is_adopted() -> None:
    comparison = compare(None, RUNNING)
    assert (comparison.difference, comparison.adopted, comparison.identity) == (None, True, RUNNING)


def test_an_id_that_is_not_known_fits_any_and_is_not_forgotten() -> None:
    without = PipelineIdentity("consumers", "profiles")
    learnt, kept = compare(without, RUNNING), compare(RUNNING, without)
    assert learnt.difference is kept.difference is None
    assert learnt.adopted
    assert kept.adopted
    assert learnt.identity == kept.identity == RUNNING
    assert compare(kept.identity, changed(source="s2")).difference is Difference.RECREATED
