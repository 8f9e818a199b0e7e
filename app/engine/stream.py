"""The stream of a worker: a Faust app with an agent for each topic, the state table, and what watches both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from faust.types import TP

from app.delivery.record import TopicPartition
from app.engine.arrivals import Arrival, handle_arrivals
from app.engine.consumer import LedgerConsumer
from app.engine.context import EngineContext
from app.engine.faust_app import faust_app
from app.engine.intake import AlertHandler, AlertsTopic, MainTopic, RetryTopic
from app.engine.ownership import Ownership
from app.engine.topic_comparison import compare_topics
from app.engine.watch import Watch

# Between two looks at the worker.
LOOK_SECONDS = 1.0


class Stream:
    """Builds, starts and stops the Faust app.

    Args:
        connection: Faust's broker settings (``broker``, ``broker_credentials``).
        heartbeat_seconds: interval of the group's heartbeats; several must fit into the lease.
        drain_seconds: how long work in progress may take when partitions go away.
        on_alert: handles one record of the alerts topic (key, value, partition); returns when the alert is safe.
        data_dir: where Faust keeps its few files.
        checks: called every second; each raises when something has ended that should run as long as the worker.
    """

    def __init__(
        self,
        context: EngineContext,
        *,
        connection: dict[str, Any],
        heartbeat_seconds: float,
        drain_seconds: float,
        on_alert: AlertHandler,
        data_dir: Path,
        checks: Sequence[Callable[[], None]] = (),
    ) -> None:
        kafka = context.kafka
        self._context = context
        self._watching: list[asyncio.Task[None]] = []
        self._inboxes: dict[str, asyncio.Queue[Arrival]] = {}
        self.app = faust_app(
            context.pipeline.group,
            kafka,
            connection=connection,
            heartbeat_seconds=heartbeat_seconds,
            drain_seconds=drain_seconds,
            data_dir=data_dir,
        )
        # With the type bytes, Faust's serializers are "raw": keys and values are exactly what the log holds.
        table = self.app.Table("partitions", key_type=bytes, value_type=bytes, partitions=kafka.partitions)
        self.ownership = Ownership(context, table.data, drain_seconds)
        self.watch = Watch(context, self.app, self.ownership, checks)
        self.app.transport.Consumer = partial(LedgerConsumer, ownership=self.ownership, inboxes=self._inboxes)
        self._claim_after_recovery()
        self._note_where_records_stood(table)
        self._add_agent(MainTopic(context, self.ownership))
        self._add_agent(RetryTopic(context, self.ownership))
        self._add_agent(AlertsTopic(context, self.ownership, on_alert))

    def _add_agent(self, intake: MainTopic | RetryTopic | AlertsTopic) -> None:
        topic = self.app.topic(
            intake.topic,
            allow_empty=True,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            partitions=self._context.kafka.partitions,
        )
        self.app.agent(topic, name=f"app.engine.{intake.topic}")(self._agent(intake.topic, intake.handle))

    def _agent(self, topic: str, handle: Callable[[Arrival], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        async def agent(stream: Any) -> None:
            inbox = self._inboxes[topic] = stream.channel.queue
            try:
                await handle_arrivals(inbox, handle)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - Faust would go on without the event; end the worker instead
                self._context.crash(error)

        return agent

    def _note_where_records_stood(self, table: Any) -> None:
        # The table keeps keys and values only. To remove a record, the worker needs its offset.
        apply = table.apply_changelog_batch

        def noted_and_applied(batch: Iterable[Any]) -> None:
            events = list(batch)
            self.ownership.records.note(events)
            apply(events)

        table.apply_changelog_batch = noted_and_applied

    def _claim_after_recovery(self) -> None:
        # Recovery ends with this method, once per generation. ``perform_seek`` would not do: it has a second caller.
        recovery = self.app.tables.recovery
        completed = recovery.on_recovery_completed

        async def completed_and_taken_over(generation_id: int = 0) -> None:
            await completed(generation_id)
            try:
                await self.app.consumer.take_over(generation_id)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - without a claim nothing may run
                self._context.crash(error)

        recovery.on_recovery_completed = completed_and_taken_over

    async def start(self) -> None:
        """Join the group; returns when the state has been recovered for the first time."""
        self.app.finalize()
        self._watching = [
            asyncio.create_task(self._look(), name="look after the worker"),
            asyncio.create_task(compare_topics(self.ownership, self._fetched_upto, self._context.crash), name="topics"),
        ]
        await self.app.start()

    async def stop(self) -> None:
        """Drain, commit, leave the group."""
        for task in self._watching:
            task.cancel()
        if self._watching:
            await asyncio.wait(self._watching)
        try:
            if self.app._consumer is not None:
                await self.app.consumer.leave()
        finally:
            await self.app.stop()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self.watch.look()
                self.ownership.look(self._read_to_end)
            except Exception as error:  # noqa: BLE001 - a bug; a worker that does not watch itself must not go on
                self._context.crash(error)
                return

    def _fetched_upto(self, tp: TopicPartition) -> int:
        consumer = self.app._consumer
        return -1 if consumer is None else int(consumer.fetched_upto(TP(*tp)))

    def _read_to_end(self, tp: TopicPartition) -> bool:
        """Whether everything that can be read of a partition has been fetched."""
        consumer = self.app._consumer
        end = consumer.ends.latest(TP(*tp)) if consumer is not None else None
        return end is not None and consumer.fetched_upto(TP(*tp)) >= end.stable

    def lag(self) -> dict[int, float]:
        """Records of the main topic without an outcome, per owned partition.

        The end is the one that the broker names, not that of the last fetch. Offsets that a reader never receives
        (aborted transactions, their markers) count until they are passed over.
        """
        consumer, topic, lag = self.app._consumer, self._context.pipeline.topic, {}
        for number in list(self.ownership.partitions) if consumer is not None else ():
            end = consumer.ends.known.get(TP(topic, number))
            done = self._context.ledger.settled_upto((topic, number))
            begin = consumer.fetched_upto(TP(topic, number))
            if done is not None and done < self._context.ledger.high((topic, number)):
                begin = done + 1
            if end is not None and begin >= 0:
                lag[number] = float(max(0, end.stable - begin))
        return lag
