"""aiokafka's own tasks: whether all of them still run.

They end without a word, or hold an error until it is asked for, which Faust never does. ``faust_tasks.py`` checks
Faust's tasks. Written against aiokafka 0.14.0, pinned.
"""

from __future__ import annotations

from typing import Any

import structlog
from aiokafka.errors import KafkaError

from app.engine.context import EngineStopped
from app.engine.rights import REFUSALS, Rights

log = structlog.get_logger(__name__)


def check_client_tasks(consumer: Any, rights: Rights) -> None:
    """See that every task of aiokafka's consumer runs, and take from the group coordinator the error that it holds.

    Raises:
        EngineStopped: a task has ended.
    """
    coordinator = consumer._coordinator
    for name, task in (
        ("fetcher", consumer._fetcher._fetch_task),
        ("group coordinator", coordinator._coordination_task),
        ("metadata", consumer._client._sync_task),
    ):
        if task is not None and task.done():
            cause = None if task.cancelled() else task.exception()
            raise EngineStopped(
                f"the {name} task of the Kafka client has ended ({cause!r}): nothing more would be read. "
                "Start the worker again; if it comes back, report it with the log"
            ) from cause
    try:
        coordinator.check_errors()
    except REFUSALS as error:
        rights.note(error)
    except KafkaError as error:
        log.warning("the consumer group refused something; joining it again", error=repr(error))
    else:
        return
    # The error has ended its heartbeats. The next join starts them again.
    coordinator.request_rejoin()


def unseen_topics(consumer: Any, rights: Rights) -> list[str]:
    """The subscribed topics that the brokers do not show; each is noted as a missing right or a missing topic."""
    client, wanted = consumer._client, consumer._subscription.topics
    if client._md_update_fut is not None:
        return []  # a request for metadata is in progress
    unseen = sorted(topic for topic in wanted if not client.cluster.partitions_for_topic(topic))
    for topic in unseen:
        if topic in client.cluster.unauthorized_topics:
            rights.refused("DESCRIBE", f"topic {topic}")
        else:
            rights.absent(topic)
    return unseen
