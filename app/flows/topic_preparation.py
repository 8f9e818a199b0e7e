"""What is done with the topics before a worker starts.

Missing topics are created, unless the group's state forbids it; those that exist are checked. A group without offsets
is placed where KAFKA_START says. The Kafka clients block, so they run in threads; one that hangs is left alone.
"""

from __future__ import annotations

import structlog

from app.delivery.pipeline import Pipeline
from app.flows.identity import GONE, creation_problems, state_gone
from app.flows.worker_end import WorkerFailed
from app.kafka import topics
from app.kafka.admin import TIMEOUT_SECONDS, Admin
from app.kafka.daemon_threads import in_daemon_thread
from app.kafka.start_offsets import place_group
from app.kafka.topic_specs import Problem, in_words
from app.settings import KafkaSettings

log = structlog.get_logger(__name__)

# Each step asks the broker up to a dozen questions one after another; each may take TIMEOUT_SECONDS.
STEP_SECONDS = 12 * TIMEOUT_SECONDS


async def prepare_topics(kafka: KafkaSettings, pipeline: Pipeline) -> None:
    """Create the missing topics, check the others, and place a new group; log what was done and what is wrong.

    Raises:
        WorkerFailed: a worker cannot run with these topics.
        KafkaAccessError: the broker cannot be reached, or refused; or a client hangs (``CallHangs``).
    """
    # First: an empty state topic would look like that of a new group.
    await in_daemon_thread(
        "compare the topics with the state", lambda: _see_state_allows(kafka, pipeline), STEP_SECONDS
    )
    report = await in_daemon_thread("create and check the topics", lambda: topics.create(kafka, pipeline), STEP_SECONDS)
    placed = await in_daemon_thread("place the group", lambda: place_group(kafka, pipeline), STEP_SECONDS)
    if report.created:
        log.info("created topics", topics=list(report.created))
    if placed:
        log.info("a new group starts", start=kafka.start, offsets=placed)
    fatal = [problem for problem in report.problems if _is_fatal(problem, pipeline)]
    for text in in_words([problem for problem in report.problems if problem not in fatal]):
        log.warning("a topic is not as it must be", problem=text)
    if fatal:
        raise WorkerFailed(" ".join(in_words(fatal)))


def _see_state_allows(kafka: KafkaSettings, pipeline: Pipeline) -> None:
    """Raise ``WorkerFailed`` if missing topics must not be created."""
    with Admin(kafka) as admin:
        if gone := state_gone(kafka, pipeline, admin):
            raise WorkerFailed(gone.message)
        for problem in creation_problems(kafka, pipeline, admin):
            raise WorkerFailed(problem.remedy, configuration=problem.found != GONE)


def _is_fatal(problem: Problem, pipeline: Pipeline) -> bool:
    """Whether a worker cannot run with a topic like this.

    The size limit of the main topic is its owner's affair: an event that does not fit into our topics becomes a dead
    letter without its value. Our own topics must take what we write (see ``DurableProducer``).
    """
    if problem.topic == pipeline.status_topic:
        return False  # events matter more
    too_small = problem.setting == "max.message.bytes" and problem.topic != pipeline.topic
    return too_small or problem.setting in ("topic", "partitions", "cleanup.policy", "compression.type")
