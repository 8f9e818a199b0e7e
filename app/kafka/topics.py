"""Creates and checks our topics on a broker. ``topic_specs`` says what they must be like."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka.errors import KafkaError as AioKafkaError
from confluent_kafka import KafkaError
from confluent_kafka.admin import (
    AclOperation,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from app.delivery.pipeline import Pipeline
from app.kafka.admin import TIMEOUT_SECONDS, Admin, KafkaAccessError
from app.kafka.codecs import readable_codecs
from app.kafka.rights import create_problem, other_problems, topic_problems
from app.kafka.topic_specs import (
    UNLIMITED,
    Problem,
    TopicSpec,
    TopicState,
    compare_all,
    old_name_problems,
    old_names,
    partition_problems,
    topic_specs,
)
from app.settings import KafkaSettings

_LOOK_AGAIN_SECONDS = 0.05
# What a broker answers for a partition that it does not serve yet, and what the library raises then.
_TAKING_OVER = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError._UNKNOWN_PARTITION,
    }
)


@dataclass(frozen=True, slots=True)
class CreateReport:
    """What ``create`` did: the new topics, the existing topics, and what is wrong with the existing ones."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    problems: tuple[Problem, ...]


def check(settings: KafkaSettings, pipeline: Pipeline, *, timeout_seconds: float = TIMEOUT_SECONDS) -> list[Problem]:
    """What is missing or wrong among our topics and our rights; an empty list = all is well.

    Raises:
        KafkaAccessError: the broker cannot be reached.
        ConfigurationError: the settings name no usable broker or TLS files.
    """
    with Admin(settings, timeout_seconds=timeout_seconds) as admin:
        look = _look(admin, settings, pipeline)
        return [
            *_problems(settings, pipeline, look),
            *_create_problems(admin, settings, pipeline, look),
            *_other_rights(admin, settings, pipeline),
            *old_name_problems(pipeline, admin.look_at_topics(old_names(pipeline))[0]),
        ]


def create(settings: KafkaSettings, pipeline: Pipeline, *, timeout_seconds: float = TIMEOUT_SECONDS) -> CreateReport:
    """Create the topics that are missing; those that exist are left as they are and checked.

    Creates nothing when an existing topic has another number of partitions: the new ones would not match it. Returns
    when the leader of every new partition serves it.

    Raises:
        KafkaAccessError: the broker cannot be reached, or refused a topic.
        ConfigurationError: the settings name no usable broker or TLS files.
    """
    with Admin(settings, timeout_seconds=timeout_seconds) as admin:
        return _create_missing(admin, settings, pipeline)


def retentions(admin: Admin, names: Collection[str]) -> dict[str, int]:
    """How long, in ms, each topic keeps its records; ``UNLIMITED`` if it deletes none because of their age. Left out:
    topics that do not exist.

    Raises:
        KafkaAccessError: the broker cannot be reached, or refused.
    """
    return {name: retention_ms(config) for name, config in _configs(admin, admin.topics(list(names))).items()}


def retention_ms(config: Mapping[str, str]) -> int:
    """How long a topic keeps its records; ``UNLIMITED`` if it deletes none because of their age.

    >>> retention_ms({"cleanup.policy": "delete", "retention.ms": "5"}), retention_ms({"cleanup.policy": "compact"})
    (5, -1)
    """
    deletes = "delete" in config.get("cleanup.policy", "delete").split(",")
    return int(config.get("retention.ms", UNLIMITED)) if deletes else UNLIMITED


def _create_missing(admin: Admin, settings: KafkaSettings, pipeline: Pipeline) -> CreateReport:
    look = _look(admin, settings, pipeline)
    for topic, denied in look.denied.items():
        # Dead letters wait for their topic, and all other work goes on without it.
        if topic != pipeline.dlq_topic:
            raise denied
    before = look.states
    specs = topic_specs(settings, pipeline, before.get(pipeline.topic))
    existing = tuple(spec.name for spec in specs if spec.name in before)
    if unequal := partition_problems(specs, before):
        return CreateReport(created=(), existing=existing, problems=tuple(unequal))
    missing = [spec for spec in specs if spec.name not in before and spec.name not in look.denied]
    created = tuple(_create(admin, missing)) if missing else ()
    if missing:
        _wait_until_served(admin, missing)
    problems = tuple(_problems(settings, pipeline, _look(admin, settings, pipeline)))
    return CreateReport(
        created=created, existing=tuple(s.name for s in specs if s.name not in created), problems=problems
    )


def _create(admin: Admin, specs: Iterable[TopicSpec]) -> list[str]:
    wanted = [NewTopic(s.name, s.partitions, s.replication, config=dict(s.created_with)) for s in specs]
    with admin.named_errors("create topics"):
        answers = admin.client.create_topics(
            wanted, operation_timeout=admin.timeout_seconds, request_timeout=admin.timeout_seconds
        )
    created, refused = [], []
    for name, answer in answers.items():
        try:
            admin.result(answer, "create topic", name)
        except KafkaAccessError as error:
            # Another program may create the topics at the same time. That is no failure.
            if error.code != KafkaError.TOPIC_ALREADY_EXISTS:
                refused.append(str(error))
        else:
            created.append(name)
    if refused:
        done = f" Created before that: {', '.join(created)}." if created else ""
        raise KafkaAccessError("\n".join(dict.fromkeys(refused)) + done)
    return created


@dataclass(frozen=True, slots=True)
class _Look:
    """What the broker says about our topics.

    ``allowed``: the operations that we may do; None: it does not say. ``denied``: topics that we may not even describe.
    """

    states: Mapping[str, TopicState]
    allowed: Mapping[str, Iterable[AclOperation] | None]
    denied: Mapping[str, KafkaAccessError]


def _look(admin: Admin, settings: KafkaSettings, pipeline: Pipeline) -> _Look:
    found, denied = admin.look_at_topics([spec.name for spec in topic_specs(settings, pipeline)])
    allowed = {name: topic.authorized_operations for name, topic in found.items()} | dict.fromkeys(denied, ())
    # If the broker does not list what we may do, the configuration is asked for, and the broker may refuse.
    hidden = {
        name for name, given in allowed.items() if given is not None and AclOperation.DESCRIBE_CONFIGS not in given
    }
    configs = _configs(admin, found.keys() - hidden)
    states = {
        name: TopicState(
            name=name,
            partitions=len(topic.partitions),
            replication=min((len(partition.replicas) for partition in topic.partitions), default=0),
            config=configs.get(name, {}),
        )
        for name, topic in found.items()
    }
    return _Look(states, allowed, denied)


def _problems(settings: KafkaSettings, pipeline: Pipeline, look: _Look) -> list[Problem]:
    rights = topic_problems(settings, pipeline, look.allowed)
    compared = compare_all(settings, pipeline, look.states, readable_codecs())
    return rights + [problem for problem in compared if problem.topic not in look.denied]


def _create_problems(admin: Admin, settings: KafkaSettings, pipeline: Pipeline, look: _Look) -> list[Problem]:
    """Missing topics that we may not create; nothing is created."""
    specs = topic_specs(settings, pipeline, look.states.get(pipeline.topic))
    wanted = [
        NewTopic(spec.name, spec.partitions, spec.replication)
        for spec in specs
        if spec.name not in look.states and spec.name not in look.denied
    ]
    if not wanted:
        return []
    with admin.named_errors("ask whether topics may be created"):
        answers = admin.client.create_topics(wanted, validate_only=True, request_timeout=admin.timeout_seconds)
    refused = []
    for name, answer in answers.items():
        try:
            admin.result(answer, "create topic", name)
        except KafkaAccessError as error:
            if error.code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
                refused.append(create_problem(settings, name))
    return refused


def _other_rights(admin: Admin, settings: KafkaSettings, pipeline: Pipeline) -> list[Problem]:
    try:
        return other_problems(settings, pipeline, admin.timeout_seconds)
    except (AioKafkaError, TimeoutError) as error:
        raise KafkaAccessError(f"cannot ask for rights on group and cluster: {error or 'no answer in time'}") from error


def _configs(admin: Admin, names: Iterable[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in sorted(names)]
    if not resources:
        return {}
    with admin.named_errors("read the configuration of the topics"):
        answers = admin.client.describe_configs(resources, request_timeout=admin.timeout_seconds)
    return {
        resource.name: {
            entry.name: entry.value
            for entry in admin.result(answer, "read the configuration of topic", resource.name).values()
            if entry.value is not None
        }
        for resource, answer in answers.items()
    }


def _wait_until_served(admin: Admin, specs: Iterable[TopicSpec]) -> None:
    wanted = list(specs)
    deadline = time.monotonic() + admin.timeout_seconds
    while late := _not_served(admin, wanted):
        if time.monotonic() > deadline:
            raise KafkaAccessError(
                f"Created, but after {admin.timeout_seconds:g} s a partition is still not served in: "
                f"{', '.join(late)}. Are all brokers up? Then run profile-sync topics check."
            )
        time.sleep(_LOOK_AGAIN_SECONDS)


def _not_served(admin: Admin, specs: Sequence[TopicSpec]) -> list[str]:
    """The topics with a partition whose leader does not serve it yet.

    A leader in the metadata is not enough: a broker announces the leader a moment before it takes the partition over,
    and refuses reads and writes until then.
    """
    topics = admin.topics([spec.name for spec in specs])
    late = [spec.name for spec in specs if not _led(topics, spec)]
    if late:
        return late
    for spec in specs:
        try:
            admin.ends([(spec.name, number) for number in range(spec.partitions)])
        except KafkaAccessError as error:
            if error.code not in _TAKING_OVER:
                raise
            late.append(spec.name)
    return late


def _led(topics: Mapping[str, TopicDescription], spec: TopicSpec) -> bool:
    topic = topics.get(spec.name)
    if topic is None or len(topic.partitions) < spec.partitions:
        return False
    return all(partition.leader is not None for partition in topic.partitions)
