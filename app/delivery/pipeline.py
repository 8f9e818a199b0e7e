"""A pipeline: a flow that reads a main topic as a consumer group, and the topics that follow from the group."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The names that make up a pipeline. Two groups share only the main topic, which belongs to its producers.

    ``name``: the flow's name. ``topic``: the main topic.
    """

    name: str
    topic: str
    group: str

    @property
    def retry_topic(self) -> str:
        """Where events wait for their next attempt."""
        return f"{self.group}.retry"

    @property
    def dlq_topic(self) -> str:
        """Dead letters."""
        return f"{self.group}.dlq"

    @property
    def alerts_topic(self) -> str:
        """Alerts, which become incidents."""
        return f"{self.group}.alerts"

    @property
    def status_topic(self) -> str:
        """Workers' reports about themselves, and what a restart must remember; one partition."""
        return f"{self.group}.status"

    @property
    def state_topic(self) -> str:
        """Changelog of the partition records (Faust names it after the group and the table)."""
        return f"{self.group}-partitions-changelog"

    @property
    def consumers_topic(self) -> str:
        """Changelog of the consumer records."""
        return f"{self.group}-consumers-changelog"

    @property
    def letters_topic(self) -> str:
        """Changelog of the dead-letter records."""
        return f"{self.group}-dead-letters-changelog"

    @property
    def tasks_topic(self) -> str:
        """What operators wish; one partition."""
        return f"{self.group}.tasks"

    @property
    def own_topics(self) -> tuple[str, ...]:
        """The topics that only this pipeline writes."""
        return (
            self.retry_topic,
            self.dlq_topic,
            self.alerts_topic,
            self.status_topic,
            self.tasks_topic,
            self.state_topic,
            self.consumers_topic,
            self.letters_topic,
        )
