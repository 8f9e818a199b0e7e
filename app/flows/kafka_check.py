"""``check`` of Kafka: the broker, the topics, our rights, the group. It writes nothing and joins no group."""

from __future__ import annotations

from collections.abc import Iterable

from app.delivery.dry_run import refusal
from app.delivery.installation import CheckLine, Part, PartState, not_checked
from app.delivery.partition_record import PartitionState
from app.delivery.pipeline import Pipeline
from app.flows.topic_preparation import STEP_SECONDS
from app.flows.topic_problems import topic_and_state_problems
from app.kafka.admin import TIMEOUT_SECONDS, Admin, KafkaAccessError
from app.kafka.daemon_threads import in_daemon_thread
from app.kafka.rights import RIGHTS
from app.kafka.topic_specs import Problem, joined, topic_specs
from app.readmodels.partition_records import read_partition_records
from app.settings import ConfigurationError, KafkaSettings


async def kafka_lines(kafka: KafkaSettings, pipeline: Pipeline, *, dry_run: bool) -> list[CheckLine]:
    """One line for the broker, one for each kind of problem with topics and rights or that there is none, the group's.

    ``dry_run``: whether the workers of the group are to do dry runs.
    """
    try:
        brokers = await in_daemon_thread("list the brokers", lambda: _brokers(kafka), 2 * TIMEOUT_SECONDS)
    except (KafkaAccessError, ConfigurationError) as error:
        broker = CheckLine(Part.BROKER, PartState.WRONG, str(error))
        return [broker, *(not_checked(part, "no broker") for part in (Part.TOPICS, Part.RIGHTS, Part.GROUP))]
    broker = CheckLine(Part.BROKER, PartState.OK, ", ".join(brokers))
    try:
        problems, states = await in_daemon_thread("check the topics", lambda: _look(kafka, pipeline), STEP_SECONDS)
    except KafkaAccessError as error:
        topics = CheckLine(Part.TOPICS, PartState.WRONG, str(error))
        why = "the topics could not be checked"
        return [broker, topics, *(not_checked(part, why) for part in (Part.RIGHTS, Part.GROUP))]
    names = [spec.name for spec in topic_specs(kafka, pipeline)]
    fine = f"all {len(names)}, from {names[0]} to {names[-1]}"
    return [broker, *problem_lines(problems, fine), group_line(states, dry_run=dry_run, group=pipeline.group)]


def problem_lines(problems: list[Problem], fine: str) -> list[CheckLine]:
    """The lines about topics and rights. ``fine``: what to say of the topics if nothing is wrong with them."""
    rights = [
        CheckLine(Part.RIGHTS, PartState.WRONG, f"{one.topic}: {one.found}; needed: {one.wanted}.", one.remedy)
        for one in joined(problems)
        if one.setting == RIGHTS
    ]
    topics = [
        CheckLine(Part.TOPICS, PartState.WRONG, one.what, one.remedy)
        for one in joined(problems)
        if one.setting != RIGHTS
    ]
    # The broker does not say what is allowed on a topic that does not exist.
    missing = any(problem.setting == "topic" for problem in problems)
    allowed = f"on group, cluster and {'the topics that exist' if missing else 'all topics'}"
    return [
        *(topics or [CheckLine(Part.TOPICS, PartState.OK, fine)]),
        *(rights or [CheckLine(Part.RIGHTS, PartState.OK, allowed)]),
    ]


def group_line(states: Iterable[PartitionState], *, dry_run: bool, group: str) -> CheckLine:
    """Whether the group's records let workers of this kind go on with them."""
    for state in states:
        if (why := refusal(state, dry_run=dry_run, group=group)) is not None:
            return CheckLine(Part.GROUP, PartState.WRONG, why)
    return CheckLine(Part.GROUP, PartState.OK, f"{group} can be used for {'dry runs' if dry_run else 'real runs'}")


def _brokers(kafka: KafkaSettings) -> list[str]:
    with Admin(kafka, timeout_seconds=TIMEOUT_SECONDS) as admin:
        return admin.brokers()


def _look(kafka: KafkaSettings, pipeline: Pipeline) -> tuple[list[Problem], list[PartitionState]]:
    problems = topic_and_state_problems(kafka, pipeline)
    with Admin(kafka) as admin:
        return problems, [state for _, state in read_partition_records(kafka, pipeline, admin).values()]
