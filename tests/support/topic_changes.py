"""Changes of topics and offsets, as operators and retention make them."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from app.kafka import topics
from tests.support.deployment import Deployment
from tests.support.worker_process import wait_for


class TopicChanges:
    """Changes the topics and offsets of one installation."""

    def __init__(self, deployment: Deployment) -> None:
        self._kafka, self._pipeline = deployment.kafka, deployment.pipeline
        self._admin = AdminClient({"bootstrap.servers": self._kafka.bootstrap_servers})

    def names(self) -> set[str]:
        """The names of all topics."""
        return set(self._admin.list_topics(timeout=10).topics)

    def delete(self, *names: str) -> None:
        """Delete topics and wait until they are gone."""
        for answer in self._admin.delete_topics(list(names), operation_timeout=30).values():
            answer.result(30)
        wait_for(lambda: not set(names) & self._admin.list_topics(timeout=10).topics.keys(), lambda: "deleted", 20)

    def recreate(self, *names: str) -> None:
        """Delete topics and create them again, empty."""
        self.delete(*names)
        report = topics.create(self._kafka, self._pipeline)
        assert set(names) <= set(report.created)

    def add_partitions(self, topic: str, partitions: int) -> None:
        """Give a topic this number of partitions."""
        for answer in self._admin.create_partitions([NewPartitions(topic, partitions)]).values():
            answer.result(20)

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Delete all records below these offsets, as retention does."""
        wanted = [TopicPartition(topic, number, offset) for number, offset in before.items()]
        for answer in self._admin.delete_records(wanted).values():
            answer.result(20)

    def forget_offsets(self) -> None:
        """Delete the group's offsets, as a broker does after a long absence."""
        for answer in self._admin.delete_consumer_groups([self._pipeline.group]).values():
            answer.result(20)

    def place(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Set the group's offsets, as ``kafka-consumer-groups.sh --reset-offsets`` does."""
        wanted = [TopicPartition(topic, number, offset) for number, offset in offsets.items()]
        request = ConsumerGroupTopicPartitions(self._pipeline.group, wanted)
        for answer in self._admin.alter_consumer_group_offsets([request]).values():
            answer.result(20)
