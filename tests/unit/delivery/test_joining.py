"""Whose records a worker may go on with is decided before it joins the group."""

from __future__ import annotations

from app.delivery.dry_run import refusal_of_group
from app.delivery.partition_record import PartitionState
from app.delivery.pipeline_identity import PipelineIdentity, Role

OURS = PipelineIdentity("consumers", "profiles", {Role.SOURCE: "one"})


def refused(*records: PartitionState, running: PipelineIdentity = OURS, dry_run: bool = False) -> str:
    return refusal_of_group(records, running, dry_run=dry_run, group="g") or ""


def worked(**fields: object) -> PartitionState:
    return PartitionState(decided_above={5}, **fields)  # type: ignore[arg-type]


def test_a_new_group_and_its_own_may_be_joined() -> None:
    assert refused() == ""
    assert refused(PartitionState()) == ""
    assert refused(worked(identity=OURS, dry_run=False), PartitionState(dry_run=True)) == ""


def test_a_dry_run_and_a_live_group_refuse_each_other() -> None:
    assert "For the dry run, use another KAFKA_GROUP" in refused(worked(dry_run=False), dry_run=True)
    assert "set SYNC_DRY_RUN=true" in refused(PartitionState(), worked(dry_run=True))


def test_another_topic_and_one_that_was_made_anew_are_refused() -> None:
    other = PipelineIdentity("consumers", "others", {Role.SOURCE: "two"})
    assert "KAFKA_TOPIC=profiles" in refused(worked(identity=OURS), running=other)
    anew = PipelineIdentity("consumers", "profiles", {Role.SOURCE: "two"})
    assert "is not the one" in refused(worked(identity=OURS), running=anew)
