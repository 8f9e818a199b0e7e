"""The topics of a pipeline as the brokers see them, for the engine's comparison with the state."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping

from app.delivery.pipeline import Pipeline
from app.delivery.pipeline_identity import PipelineIdentity, Role
from app.delivery.record import TopicPartition
from app.engine.flow import RecordDigests, SeenTopics, TopicsUnknown
from app.flows.settled_digests import read_digests
from app.kafka.admin import Admin, KafkaAccessError
from app.kafka.daemon_threads import CallHangs, in_daemon_thread
from app.kafka.topic_ids import topic_id
from app.kafka.topic_specs import TopicState, partition_problems, topic_specs
from app.readmodels import ReadModels, ReadModelUnavailable
from app.settings import KafkaSettings

# The questions of ``_look``, one after another: the topics, where partitions begin, and where they end.
_LOOKS = 3


def topics_by_role(pipeline: Pipeline) -> dict[Role, str]:
    """The topics whose offsets or whose content the state depends on."""
    return {
        Role.SOURCE: pipeline.topic,
        Role.RETRY: pipeline.retry_topic,
        Role.ALERTS: pipeline.alerts_topic,
        Role.CONSUMERS: pipeline.consumers_topic,
    }


class PipelineTopics:
    """``Topics`` of the engine. It keeps its connection, because it asks at every claim and every minute."""

    def __init__(self, kafka: KafkaSettings, pipeline: Pipeline, read_models: ReadModels) -> None:
        self._kafka = kafka
        self._pipeline = pipeline
        self._read_models = read_models
        self._admin: Admin | None = None
        self._one_at_a_time = asyncio.Lock()

    async def look(self) -> SeenTopics:
        """Ask the brokers.

        Raises:
            TopicsUnknown: no answer, or a topic is missing.
        """
        async with self._one_at_a_time:  # a client that is closed must not be in use
            patience = self._kafka.request_seconds
            try:
                return await in_daemon_thread("look at the topics", self._look, _LOOKS * patience)
            except KafkaAccessError as error:
                # Make a new client: this one may go on asking a broker that has fallen silent.
                admin, self._admin = self._admin, None
                if admin is not None and not isinstance(error, CallHangs):
                    with contextlib.suppress(CallHangs):
                        await in_daemon_thread("close the admin client", admin.close, patience)
                raise TopicsUnknown(str(error)) from error

    async def record_digests(self, wanted: Mapping[int, Collection[int]]) -> Mapping[int, RecordDigests]:
        """The digests of the records at these offsets of the main topic.

        Raises:
            TopicsUnknown: no answer.
        """
        kafka, patience = self._kafka, self._kafka.request_seconds
        rounds = max(map(len, wanted.values()), default=0)
        try:
            return await in_daemon_thread(
                f"read topic {self._pipeline.topic} again and close the consumer",
                lambda: read_digests(kafka, self._pipeline, wanted, patience),
                rounds * patience,
            )
        except KafkaAccessError as error:
            raise TopicsUnknown(str(error)) from error

    def recorded(self) -> Collection[PipelineIdentity | None]:
        """The identity in the newest record of every partition, as far as the follower has read."""
        try:
            return [state.identity for state in self._read_models.partitions().values()]
        except ReadModelUnavailable:
            return ()

    def _look(self) -> SeenTopics:
        admin = self._admin = self._admin or Admin(self._kafka, timeout_seconds=self._kafka.request_seconds)
        roles = topics_by_role(self._pipeline)
        state_topic, source = self._pipeline.state_topic, self._pipeline.topic
        found = admin.topics([*roles.values(), state_topic])
        if missing := [name for name in (*roles.values(), state_topic) if name not in found]:
            raise KafkaAccessError(f"no such topic: {', '.join(missing)}")
        ids = {role: known for role, name in roles.items() if (known := topic_id(found[name]))}
        numbers = [partition.id for partition in found[source].partitions]
        begins = _by_number(admin.begins([(source, number) for number in numbers]))
        ends = _by_number(admin.ends([(source, number) for number in numbers]))
        states = {name: TopicState(name, len(topic.partitions), 0, {}) for name, topic in found.items()}
        uneven = [problem.message for problem in partition_problems(topic_specs(self._kafka, self._pipeline), states)]
        return SeenTopics(ids, topic_id(found[state_topic]), begins, ends, uneven)


def _by_number(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {number: offset for (_, number), offset in offsets.items()}
