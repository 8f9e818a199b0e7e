"""``check`` of Kafka: the broker, the topics, our rights. It writes nothing and joins no group."""

from __future__ import annotations

from app.delivery.installation import CheckLine, Part, PartState, not_checked
from app.delivery.pipeline import Pipeline
from app.flows.topic_preparation import STEP_SECONDS
from app.flows.topic_problems import topic_and_state_problems
from app.kafka.admin import TIMEOUT_SECONDS, Admin, KafkaAccessError
from app.kafka.daemon_threads import in_daemon_thread
from app.kafka.rights import RIGHTS
from app.kafka.topic_specs import Problem, joined, topic_specs
from app.settings import ConfigurationError, KafkaSettings


async def kafka_lines(kafka: KafkaSettings, pipeline: Pipeline) -> list[CheckLine]:
    """One line for the broker, then one for each kind of problem with topics and rights, or one that there is none."""
    try:
        brokers = await in_daemon_thread("list the brokers", lambda: _brokers(kafka), 2 * TIMEOUT_SECONDS)
    except (KafkaAccessError, ConfigurationError) as error:
        broker = CheckLine(Part.BROKER, PartState.WRONG, str(error))
        return [broker, *(not_checked(part, "no broker") for part in (Part.TOPICS, Part.RIGHTS))]
    broker = CheckLine(Part.BROKER, PartState.OK, ", ".join(brokers))
    try:
        problems = await in_daemon_thread(
            "check the topics", lambda: topic_and_state_problems(kafka, pipeline), STEP_SECONDS
        )
    except KafkaAccessError as error:
        topics = CheckLine(Part.TOPICS, PartState.WRONG, str(error))
        return [broker, topics, not_checked(Part.RIGHTS, "the topics could not be checked")]
    names = [spec.name for spec in topic_specs(kafka, pipeline)]
    return [broker, *problem_lines(problems, f"all {len(names)}, from {names[0]} to {names[-1]}")]


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


def _brokers(kafka: KafkaSettings) -> list[str]:
    with Admin(kafka, timeout_seconds=TIMEOUT_SECONDS) as admin:
        return admin.brokers()
