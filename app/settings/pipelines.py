"""The pipelines that this program has, and what the environment calls their topic and group."""

from __future__ import annotations

from collections.abc import Mapping

from app.delivery.pipeline import Pipeline
from app.settings.kafka import KafkaSettings
from app.settings.loading import ConfigurationError

CONSUMERS = "consumers"

# By name, with the topic and the group that it has unless the environment says otherwise.
PIPELINES: Mapping[str, Pipeline] = {
    default.name: default for default in (Pipeline(CONSUMERS, "consumer-profiles", "profile-sync"),)
}


def pipeline_of(kafka: KafkaSettings, name: str = CONSUMERS) -> Pipeline:
    """The pipeline of that name, called as ``KAFKA_TOPIC`` and ``KAFKA_GROUP`` say.

    Raises:
        ConfigurationError: its main topic is one that it writes itself.
    """
    default = PIPELINES[name]
    pipeline = Pipeline(name, kafka.topic or default.topic, kafka.group or default.group)
    if pipeline.topic in pipeline.own_topics:
        raise ConfigurationError(
            [f"KAFKA_TOPIC is one of the group's own topics ({pipeline.topic}): name the topic that the events are in"]
        )
    return pipeline
