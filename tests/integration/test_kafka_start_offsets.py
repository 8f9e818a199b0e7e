"""KAFKA_START: where a group without committed offsets begins."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from app.delivery.pipeline import Pipeline
from app.kafka import start_offsets
from app.kafka.start_offsets import place_group
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.kafka_probe import KafkaProbe, MakeKafkaSettings

SECOND = 1_700_000_000  # 2023-11-14T22:13:20Z


def _fill(kafka: KafkaProbe, topic: str) -> None:
    for number in range(5):
        kafka.produce(topic, [("c", f"{number}")], partition=0, timestamp=(SECOND + number) * 1000)


@pytest.mark.parametrize("start", ["earliest", "latest", "2023-11-14T22:13:22Z"])
def test_a_new_group_ignores_the_alerts_of_another_one(
    kafka: KafkaProbe, make_kafka_settings: MakeKafkaSettings, start: str
) -> None:
    settings = make_kafka_settings(start=start)
    pipeline = pipeline_of(settings)
    _fill(kafka, pipeline.topic)
    _fill(kafka, pipeline.alerts_topic)
    place_group(settings, pipeline)
    assert kafka.committed(pipeline.group, pipeline.alerts_topic) == {0: 5, 1: 0, 2: 0, 3: 0}
    # Later events are processed, even if the worker ends before it has read any.
    _fill(kafka, pipeline.alerts_topic)
    place_group(settings, pipeline)
    assert kafka.committed(pipeline.group, pipeline.alerts_topic)[0] == 5


def test_earliest_commits_nothing_of_the_main_topic(kafka: KafkaProbe, make_kafka_settings: MakeKafkaSettings) -> None:
    settings = make_kafka_settings()
    pipeline = pipeline_of(settings)
    _fill(kafka, pipeline.topic)
    assert place_group(settings, pipeline) == {}
    assert kafka.committed(pipeline.group, pipeline.topic) == {}


def test_latest_skips_what_stands_there(kafka: KafkaProbe, make_kafka_settings: MakeKafkaSettings) -> None:
    settings = make_kafka_settings(start="latest")
    pipeline = pipeline_of(settings)
    _fill(kafka, pipeline.topic)
    assert place_group(settings, pipeline) == {0: 5, 1: 0, 2: 0, 3: 0}
    assert kafka.committed(pipeline.group, pipeline.topic) == {0: 5, 1: 0, 2: 0, 3: 0}


def test_a_time_starts_at_the_first_record_at_or_after_it(
    kafka: KafkaProbe, make_kafka_settings: MakeKafkaSettings
) -> None:
    settings = make_kafka_settings(start="2023-11-14T22:13:22Z")
    pipeline = pipeline_of(settings)
    _fill(kafka, pipeline.topic)
    assert place_group(settings, pipeline) == {0: 2, 1: 0, 2: 0, 3: 0}


def test_a_time_after_the_last_record_starts_at_the_end(
    kafka: KafkaProbe, make_kafka_settings: MakeKafkaSettings
) -> None:
    settings = make_kafka_settings(start="2030-01-01T00:00:00+01:00")
    pipeline = pipeline_of(settings)
    _fill(kafka, pipeline.topic)
    assert place_group(settings, pipeline) == {0: 5, 1: 0, 2: 0, 3: 0}


def test_a_group_that_has_an_offset_is_left_alone(kafka: KafkaProbe, make_kafka_settings: MakeKafkaSettings) -> None:
    settings = make_kafka_settings(start="latest")
    pipeline = pipeline_of(settings)
    place_group(settings, pipeline)
    _fill(kafka, pipeline.topic)
    assert place_group(settings, pipeline) == {}
    assert kafka.committed(pipeline.group, pipeline.topic)[0] == 0


def test_a_coordinator_that_is_just_coming_up_is_waited_for(
    make_kafka_settings: MakeKafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS])
    place = start_offsets._place

    def not_yet(consumer: Consumer, settings: KafkaSettings, pipeline: Pipeline) -> dict[int, int]:
        if (code := next(answers, None)) is not None:
            raise KafkaException(KafkaError(code))
        return place(consumer, settings, pipeline)

    monkeypatch.setattr(start_offsets, "_place", not_yet)
    settings = make_kafka_settings(start="latest")
    assert place_group(settings, pipeline_of(settings)) == {0: 0, 1: 0, 2: 0, 3: 0}
