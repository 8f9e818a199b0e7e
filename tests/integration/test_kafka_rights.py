"""`topics check` checks every right that a worker needs, names the missing ones, and leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AclOperation, AdminClient, ResourceType

from app.kafka import topics
from app.kafka.topic_specs import topic_specs
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.kafka_probe import KafkaProbe
from tests.support.rights import USER, GuardedBroker, guarded_broker


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    with guarded_broker(tmp_path_factory.mktemp("rights")) as broker:
        yield broker


def settings_of(guarded: GuardedBroker) -> KafkaSettings:
    """Settings of the user whose rights the tests change."""
    given = {name.removeprefix("KAFKA_").lower(): value for name, value in guarded.login().items()}
    return KafkaSettings.model_validate({"topic": "guarded", "group": "guards", "partitions": 2} | given)


def missing(settings: KafkaSettings) -> dict[str, str]:
    """Topic, group or cluster -> the missing rights, in the words of the remedy."""
    problems = topics.check(settings, pipeline_of(settings))
    assert {problem.setting for problem in problems} <= {"rights"}, problems
    assert all(f"User:{USER}" in problem.remedy for problem in problems)
    return {problem.topic: problem.remedy.removeprefix("Missing: ").partition(" on ")[0] for problem in problems}


def test_every_missing_right_is_named_and_nothing_is_left_behind(guarded: GuardedBroker) -> None:
    settings = settings_of(guarded)
    pipeline = pipeline_of(settings)
    denied = [
        (pipeline.topic, (AclOperation.READ,), ResourceType.TOPIC),
        (pipeline.retry_topic, (AclOperation.READ, AclOperation.WRITE), ResourceType.TOPIC),
        (pipeline.dlq_topic, (AclOperation.WRITE,), ResourceType.TOPIC),
        (pipeline.alerts_topic, (AclOperation.DESCRIBE_CONFIGS,), ResourceType.TOPIC),
        (pipeline.state_topic, (), ResourceType.TOPIC),  # all of them
        (pipeline.group, (AclOperation.READ,), ResourceType.GROUP),
    ]
    guarded.deny("kafka-cluster", AclOperation.CREATE, kind=ResourceType.BROKER)
    guarded.deny(pipeline.state_topic, AclOperation.CREATE)
    assert missing_topics(settings)[pipeline.state_topic] == "Create"
    guarded.permit("kafka-cluster", kind=ResourceType.BROKER)
    guarded.permit(pipeline.state_topic)

    topics.create(settings, pipeline)
    assert missing(settings) == {}
    for name, operations, kind in denied:
        guarded.deny(name, *operations, kind=kind)
    assert missing(settings) == {
        pipeline.topic: "Read",
        pipeline.retry_topic: "Read, Write",
        pipeline.dlq_topic: "Write",
        pipeline.alerts_topic: "DescribeConfigs",
        pipeline.state_topic: "Describe, DescribeConfigs, Read, Write",
        pipeline.group: "Read",
    }
    for name, _, kind in denied:
        guarded.permit(name, kind=kind)

    guarded.deny("*", AclOperation.WRITE)
    guarded.deny("kafka-cluster", AclOperation.IDEMPOTENT_WRITE, kind=ResourceType.BROKER)
    assert missing(settings)["cluster"] == "IdempotentWrite"
    guarded.permit("*")
    guarded.permit("kafka-cluster", kind=ResourceType.BROKER)
    assert missing(settings) == {}

    probe = KafkaProbe(guarded.bootstrap_servers)
    assert [record for spec in topic_specs(settings, pipeline) for record in probe.read_all(spec.name)] == []
    admin = AdminClient({"bootstrap.servers": guarded.bootstrap_servers})
    assert pipeline.group not in {group.group_id for group in admin.list_consumer_groups().result(20).valid}
    assert probe.committed(pipeline.group, pipeline.topic) == {}


def missing_topics(settings: KafkaSettings) -> dict[str, str]:
    """The same as ``missing`` when no topics exist."""
    rights = [problem for problem in topics.check(settings, pipeline_of(settings)) if problem.setting == "rights"]
    return {problem.topic: problem.remedy.removeprefix("Missing: ").partition(" on ")[0] for problem in rights}
