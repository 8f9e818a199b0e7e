"""The consumer records for the engine, from the read models."""

from __future__ import annotations

import asyncio

import structlog

from app.delivery.consumer_record import ConsumerState
from app.delivery.pipeline import Pipeline
from app.engine.context import EngineStopped
from app.engine.flow import StatesUnavailable
from app.readmodels import Followed, ReadModels, ReadModelUnavailable

log = structlog.get_logger(__name__)

# If a take-over waits longer than this for the read model, it is logged.
PATIENCE_SECONDS = 10.0
# If the read model cannot be written for this long (the disk is full or read-only), the worker ends. Its partitions go
# to other workers, which have their own disks.
BROKEN_SECONDS = 30.0
# The follower's thread needs this long to notice that its file is damaged, and to delete it.
NOTICE_SECONDS = 0.5


async def followed(read_models: ReadModels, topic: str, partition: int, end: int) -> None:
    """Return when the follower has read everything below ``end`` of a topic's partition.

    Raises:
        EngineStopped: it cannot, because its file cannot be written.
    """
    waited = 0.0
    while not await read_models.wait_until(topic, partition, end, PATIENCE_SECONDS):
        waited += PATIENCE_SECONDS
        log.warning("waiting for the read model", topic=topic, partition=partition, reason=read_models.trouble())
        if waited >= BROKEN_SECONDS and (why := read_models.broken()) is not None:
            raise EngineStopped(
                f"the read model in DATA_DIR cannot be kept: {why}. Give DATA_DIR space, or another folder; it is "
                "built again from Kafka"
            )


class ReadModelStates:
    """``ConsumerStates`` of the engine, answered by the follower of the consumers' topic."""

    def __init__(self, pipeline: Pipeline, read_models: ReadModels) -> None:
        self._pipeline = pipeline
        self._read_models = read_models

    async def catch_up(self, partition: int, end: int) -> None:
        """Return when the follower has read everything below ``end`` of the topic's partition.

        Raises:
            EngineStopped: it cannot, because its file cannot be written.
        """
        await followed(self._read_models, self._pipeline.consumers_topic, partition, end)

    def get(self, partition: int, consumer_id: str) -> tuple[int, ConsumerState] | None:
        """(epoch, state) of a consumer.

        Raises:
            StatesUnavailable: the read model is being rebuilt.
        """
        try:
            return self._read_models.consumer_record(partition, consumer_id)
        except ReadModelUnavailable as error:
            raise StatesUnavailable(str(error)) from error

    def erased(self, consumer_id: str) -> bool:
        """Whether the profile of a consumer was ever deleted.

        Raises:
            StatesUnavailable: the read model is being rebuilt.
        """
        try:
            if self._read_models.caught_up(Followed.CONSUMERS):
                return self._read_models.was_erased(consumer_id)
        except ReadModelUnavailable as error:
            raise StatesUnavailable(str(error)) from error
        raise StatesUnavailable("consumer records are being read in")

    async def available(self, partition: int) -> None:
        """Return when the read model can answer again. Its file was lost and is rebuilt from the topic."""
        log.warning("work waits for the read model, which is built again", partition=partition)
        await asyncio.sleep(NOTICE_SECONDS)
        await self.catch_up(partition, 0)

    def applied(self, partition: int) -> int:
        """Everything below this offset of the topic's partition has been read."""
        return self._read_models.position(self._pipeline.consumers_topic, partition)
