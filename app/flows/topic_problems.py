"""Everything that is wrong with the topics of a pipeline: their settings, our rights, and what the state is about."""

from __future__ import annotations

from app.delivery.pipeline import Pipeline
from app.flows.identity import identity_problems
from app.kafka import topics
from app.kafka.topic_specs import Problem
from app.settings import KafkaSettings


def topic_and_state_problems(settings: KafkaSettings, pipeline: Pipeline) -> list[Problem]:
    """All problems; an empty list = all is well. Nothing is written or created, and no group is joined.

    Raises:
        KafkaAccessError: the broker cannot be reached, or refused; or a record that counts cannot be read.
        ConfigurationError: the settings name no usable broker or TLS files.
    """
    topic, state = topics.check(settings, pipeline), identity_problems(settings, pipeline)
    if state and any(problem.topic == pipeline.topic and problem.setting == "topic" for problem in topic):
        # The main topic is missing. It is listed once, with the remedy that the state demands.
        topic = [problem for problem in topic if problem.topic != pipeline.topic]
    return topic + state
