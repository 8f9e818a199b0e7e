"""The topics of a pipeline are named after its group."""

from __future__ import annotations

from app.delivery.pipeline import Pipeline


def test_two_groups_share_nothing_but_the_source_topic() -> None:
    real, dry_run = Pipeline("consumers", "profiles", "sync"), Pipeline("consumers", "profiles", "sync-dry-run")
    assert real.topic == dry_run.topic
    assert not {*real.own_topics} & {*dry_run.own_topics}
    assert real.topic not in real.own_topics


def test_topics_are_called_as_the_manual_says() -> None:
    assert Pipeline("consumers", "profiles", "sync").own_topics == (
        "sync.retry",
        "sync.dlq",
        "sync.alerts",
        "sync.status",
        "sync.tasks",
        "sync-partitions-changelog",
        "sync-consumers-changelog",
        "sync-dead-letters-changelog",
    )
