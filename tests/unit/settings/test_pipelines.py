"""What a pipeline is called comes from the environment, else from the pipeline's own defaults."""

from __future__ import annotations

import pytest

from app.delivery.pipeline import Pipeline
from app.settings import ConfigurationError, KafkaSettings
from app.settings.pipelines import CONSUMERS, PIPELINES, pipeline_of


def kafka(**names: str) -> KafkaSettings:
    return KafkaSettings.model_validate({"bootstrap_servers": "127.0.0.1:9", **names})


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_has_names_of_its_own_unless_the_environment_gives_others(name: str) -> None:
    assert pipeline_of(kafka(), name) == PIPELINES[name]
    assert pipeline_of(kafka(topic="t"), name) == Pipeline(name, "t", PIPELINES[name].group)
    assert pipeline_of(kafka(topic="t", group="g"), name) == Pipeline(name, "t", "g")


def test_the_names_of_the_consumers_are_those_of_the_manual() -> None:
    assert pipeline_of(kafka()) == Pipeline(CONSUMERS, "consumer-profiles", "profile-sync")


@pytest.mark.parametrize("own", Pipeline(CONSUMERS, "t", "g").own_topics)
def test_a_topic_of_the_groups_own_is_not_taken_for_the_main_topic(own: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        pipeline_of(kafka(topic=own, group="g"))
    assert "KAFKA_TOPIC is one of the group's own topics" in str(refused.value)
    assert own in str(refused.value)
