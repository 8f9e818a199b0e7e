"""Which of our rights are missing. It only asks: nothing is written, created or joined.

Topics: the broker lists the authorized operations (KIP-430). Group: the heartbeat of a member that does not exist,
which needs the same right as joining and committing. Idempotent writes: a producer ID, which a broker gives to every
client that may write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import ClusterAuthorizationFailedError, GroupAuthorizationFailedError, KafkaError, for_code
from aiokafka.protocol.group import HeartbeatRequest
from confluent_kafka.admin import AclOperation

from app.delivery.pipeline import Pipeline
from app.kafka.clients import aiokafka_config, aiokafka_producer_config
from app.kafka.topic_specs import Problem, topic_specs
from app.settings import KafkaSettings

RIGHTS = "rights"

_NAMES = {
    AclOperation.READ: "Read",
    AclOperation.WRITE: "Write",
    AclOperation.DESCRIBE: "Describe",
    AclOperation.DESCRIBE_CONFIGS: "DescribeConfigs",
    AclOperation.CREATE: "Create",
    AclOperation.IDEMPOTENT_WRITE: "IdempotentWrite",
}
_READ = (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS, AclOperation.READ)
_WRITE = (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS, AclOperation.WRITE)
_BOTH = (*_READ, AclOperation.WRITE)


def needed(settings: KafkaSettings, pipeline: Pipeline) -> dict[str, tuple[AclOperation, ...]]:
    """The operations that a worker needs, by topic."""
    ours = dict.fromkeys((spec.name for spec in topic_specs(settings, pipeline)), _BOTH)
    return ours | {pipeline.topic: _READ, pipeline.dlq_topic: _WRITE}


def topic_problems(
    settings: KafkaSettings, pipeline: Pipeline, allowed: Mapping[str, Iterable[AclOperation] | None]
) -> list[Problem]:
    """What is missing on topics.

    Args:
        allowed: topic -> the operations that the broker lets us do; None: it does not say.
    """
    problems = []
    for topic, wanted in needed(settings, pipeline).items():
        given = allowed.get(topic)
        if given is None:
            continue
        held = set(given)
        if lacking := [operation for operation in wanted if operation not in held]:
            problems.append(_problem(settings, "topic", topic, wanted, lacking))
    return problems


def create_problem(settings: KafkaSettings, topic: str) -> Problem:
    """The problem of a missing topic that we may not create."""
    return _problem(settings, "topic", topic, (AclOperation.CREATE,), [AclOperation.CREATE])


def other_problems(settings: KafkaSettings, pipeline: Pipeline, timeout_seconds: float) -> list[Problem]:
    """What is missing on the group and on the cluster.

    Raises:
        KafkaError: the broker cannot be reached (aiokafka's).
        TimeoutError: it does not answer.
    """

    async def ask() -> list[Problem]:
        async with asyncio.timeout(timeout_seconds):
            problems = []
            if not await _may_use_group(settings, pipeline.group):
                wanted = (AclOperation.READ,)
                problems.append(_problem(settings, "group", pipeline.group, wanted, list(wanted)))
            if not await _may_write_idempotently(settings):
                wanted = (AclOperation.IDEMPOTENT_WRITE,)
                problems.append(_problem(settings, "cluster", "cluster", wanted, list(wanted)))
            return problems

    return asyncio.run(ask())


async def _may_use_group(settings: KafkaSettings, group: str) -> bool:
    client = AIOKafkaClient(**_client_options(settings))
    try:
        await client.bootstrap()
        while True:
            try:
                node = await client.coordinator_lookup(CoordinationType.GROUP, group)
                answer = await client.send(node, HeartbeatRequest(group, -1, "nobody"))
            except GroupAuthorizationFailedError:
                return False
            except KafkaError as error:
                if not error.retriable:
                    raise
                await asyncio.sleep(0.2)
                continue
            return for_code(answer.error_code) is not GroupAuthorizationFailedError
    finally:
        await client.close()


async def _may_write_idempotently(settings: KafkaSettings) -> bool:
    producer = AIOKafkaProducer(**aiokafka_producer_config(settings))
    try:
        await producer.start()
    except ClusterAuthorizationFailedError:
        return False
    finally:
        await producer.stop()
    return True


def _client_options(settings: KafkaSettings) -> dict[str, Any]:
    return dict(aiokafka_config(settings))


def _problem(
    settings: KafkaSettings, kind: str, name: str, wanted: Iterable[AclOperation], lacking: list[AclOperation]
) -> Problem:
    wanted, missing = list(wanted), [_NAMES[operation] for operation in lacking]
    held = [_NAMES[operation] for operation in wanted if operation not in lacking]
    who = settings.sasl_username or "<the certificate's name>"
    on = "--cluster" if kind == "cluster" else f"--{kind} {name}"
    operations = " ".join(f"--operation {one}" for one in missing)
    remedy = (
        f"Missing: {', '.join(missing)} on {kind} {name}. Give it: kafka-acls.sh --add --allow-principal User:{who} "
        f"{operations} {on}"
    )
    return Problem(name, RIGHTS, ", ".join(held) or "none", ", ".join(_NAMES[one] for one in wanted), remedy)
