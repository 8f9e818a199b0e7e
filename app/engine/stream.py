"""The Faust app of a worker: topics, the state table, and agents that hand records to the engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import faust
import structlog
from faust.types import TP

from app.delivery.headers import NotOurCopy
from app.delivery.record import TopicPartition
from app.engine.arrivals import Arrival
from app.engine.consumer import LedgerConsumer
from app.engine.context import EngineContext
from app.engine.flow import TopicsUnknown
from app.engine.ownership import Ownership
from app.engine.watch import Watch
from app.observe.reminder import Reminder

log = structlog.get_logger(__name__)

# Between two looks for offsets that nobody works on.
LOOK_SECONDS = 1.0

# Between two comparisons of the topics with what the state is about; the first one comes soon, because two workers that
# began at the same time may work on two topics.
COMPARE_SECONDS = 60.0
FIRST_COMPARISON_SECONDS = 5.0
# After a partition got another leader: the others of that leader come soon, and share the comparison.
SOON_SECONDS = 1.0

# Records that an agent takes before others may run.
TAKEN_AT_A_TIME = 100

# Between two lines about records of the retry topic that are not ours.
TELL_SECONDS = 60.0

WEEK_SECONDS = 7 * 24 * 3600.0

AlertHandler = Callable[[bytes | None, bytes | None, int], Awaitable[None]]


class Strangers:
    """Records of the retry topic that are no copies of ours. There may be a topic full of them, of another group or of
    a topic that was deleted since: told about once a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = float("-inf")
        self._untold = 0

    def met(self, partition: int, offset: int, why: str) -> None:
        self._untold += 1
        if self._clock() >= self._next:
            self._next = self._clock() + TELL_SECONDS
            log.warning(
                "records of the retry topic are not ours; they are passed over",
                records=self._untold,
                partition=partition,
                offset=offset,
                why=why,
            )
            self._untold = 0


class Stream:
    """Builds, starts and stops the Faust app.

    Args:
        connection: Faust's broker settings (``broker``, ``broker_credentials``).
        heartbeat_seconds: interval of the group's heartbeats; several must fit into the lease.
        drain_seconds: what work under way gets when partitions go away.
        on_alert: handles one record of the alerts topic (key, value, partition); returns when it is safe.
        data_dir: where Faust keeps its (few) files.
        checks: what else is looked at every second; each raises when something has ended that must not.
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
        kafka, pipeline = context.kafka, context.pipeline
        self._context = context
        self._on_alert = on_alert
        self._watching: list[asyncio.Task[None]] = []
        self._inboxes: dict[str, asyncio.Queue[Arrival]] = {}
        self._strangers = Strangers()
        self.app = app = faust.App(
            pipeline.group,
            **connection,
            # Faust would put what it finds in the environment (WEB_PORT, PROCESSING_GUARANTEE) above what is said here.
            env={},
            store="memory://",
            datadir=str(data_dir),
            web_enabled=False,
            autodiscover=False,
            topic_partitions=kafka.partitions,
            topic_replication_factor=kafka.replication,
            topic_disable_leader=True,
            # Topics are made by `topics create`, with more settings than Faust knows.
            topic_allow_declare=False,
            table_standby_replicas=0,
            consumer_group_instance_id=kafka.instance_id,
            consumer_auto_offset_reset="earliest",
            broker_session_timeout=kafka.session_timeout_seconds,
            # How long a recovery may wait for Kafka: Faust's task would end without a word. What a broker gets for
            # one answer is in broker_calls.py.
            broker_request_timeout=WEEK_SECONDS,
            broker_rebalance_timeout=max(60.0, drain_seconds + 30.0),
            broker_heartbeat_interval=heartbeat_seconds,
            # During an outage nothing is fetched for hours; that must not look like a stuck worker.
            broker_max_poll_interval=WEEK_SECONDS,
            broker_commit_interval=1.0,
            broker_commit_livelock_soft_timeout=WEEK_SECONDS,
            stream_processing_timeout=WEEK_SECONDS,
            broker_max_poll_records=500,
            # The drain is ours, see LedgerConsumer.
            stream_wait_empty=False,
        )
        raw: dict[str, Any] = {
            "key_type": bytes,
            "value_type": bytes,
            "key_serializer": "raw",
            "value_serializer": "raw",
            "partitions": kafka.partitions,
        }
        # The type bytes makes Faust's serializers "raw": keys and values are ours, as they stand in the log.
        table = app.Table("partitions", key_type=bytes, value_type=bytes, partitions=kafka.partitions)
        self.ownership = Ownership(context, table.data, drain_seconds)
        self.watch = Watch(context, app, self.ownership, checks)
        app.transport.Consumer = partial(LedgerConsumer, ownership=self.ownership, inboxes=self._inboxes)
        self._claim_after_recovery()
        self._note_where_records_stood(table)
        for topic, handler in (
            (pipeline.topic, self._main),
            (pipeline.retry_topic, self._retry),
            (pipeline.alerts_topic, self._alerts),
        ):
            app.agent(app.topic(topic, allow_empty=True, **raw), name=f"app.engine.{topic}")(self._guarded(handler))

    def _note_where_records_stood(self, table: Any) -> None:
        # The table keeps keys and values only; who has to remove a record needs its offset.
        apply = table.apply_changelog_batch

        def noted_and_applied(batch: Iterable[Any]) -> None:
            events = list(batch)
            self.ownership.records.note(events)
            apply(events)

        table.apply_changelog_batch = noted_and_applied

    def _claim_after_recovery(self) -> None:
        # Not in perform_seek: that has a second caller. Recovery ends with this method, once per generation.
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
        """Join the group; returns when the state was recovered for the first time."""
        self.app.finalize()
        self._watching = [
            asyncio.create_task(self._look(), name="look after the worker"),
            asyncio.create_task(self._compare_topics(), name="topics"),
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

    async def _compare_topics(self) -> None:
        wait, reminder = FIRST_COMPARISON_SECONDS, Reminder()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.ownership.comparison_due.wait()
                    await asyncio.sleep(SOON_SECONDS)
            wait = COMPARE_SECONDS
            if not self.ownership.ready:
                wait = FIRST_COMPARISON_SECONDS
                continue
            try:
                await self.ownership.check(self._fetched_upto)
                reminder.over()
            except TopicsUnknown as error:
                wait = FIRST_COMPARISON_SECONDS if self.ownership.pinned else COMPARE_SECONDS
                if reminder.due():
                    log.warning("cannot compare the topics with the state, trying on", reason=str(error))
            except Exception as error:  # noqa: BLE001 - other topics, or a bug: nothing may be skipped unseen
                self._context.crash(error)
                return

    def _read_to_end(self, tp: TopicPartition) -> bool:
        """Whether everything that can be read of a partition has been fetched."""
        consumer = self.app._consumer
        end = consumer.ends.latest(TP(*tp)) if consumer is not None else None
        return end is not None and consumer.fetched_upto(TP(*tp)) >= end.stable

    def lag(self) -> dict[int, float]:
        """Records of the main topic without an outcome, per owned partition: up to the end that the broker names, not
        that of the last fetch. What nobody will receive (aborted transactions, their markers) stops counting when it
        is passed over."""
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

    # Agents. An exception must never leave one: Faust would go on without the event.

    def _guarded(self, handler: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        async def guarded(stream: Any) -> None:
            try:
                await handler(stream)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - a bug; stop loudly rather than lose the event
                self._context.crash(error)

        return guarded

    async def _arrivals(self, topic: str, stream: Any) -> AsyncIterator[Arrival]:
        """What comes for an agent. Straight from the queue: a stream's own iteration acknowledges, counts and tracks
        each event, which is the ledger's work here, and costs as much as all the rest of the way through Faust."""
        queue = self._inboxes[topic] = stream.channel.queue
        try:
            while True:
                yield await queue.get()
                for _ in range(TAKEN_AT_A_TIME):
                    if queue.empty():
                        break
                    yield queue.get_nowait()
                else:
                    await asyncio.sleep(0)
        except StopAsyncIteration:
            return  # thrown into the queue by Faust when the agent is to end

    async def _main(self, stream: Any) -> None:
        context, ownership, topic = self._context, self.ownership, self._context.pipeline.topic
        async for record, generation, _ in self._arrivals(topic, stream):
            number, offset = record.partition, record.offset
            partition = ownership.current(number, generation)
            if partition is not None and not partition.catching_up:
                await context.room.free()
                partition = ownership.current(number, generation)
            if partition is None or ownership.healing.overtakes((topic, number), offset):
                continue
            if offset in partition.copies.wanted:
                partition.copies.wanted.discard(offset)
                partition.copies.read_back(record, None)
            if not context.ledger.claim((topic, number), offset):
                partition.copies.wanted.read_again(offset)
            else:
                if partition.journal.state.decided(offset):
                    context.ledger.close((topic, number), offset)
                else:
                    try:
                        partition.take(record)
                    except Exception as error:  # noqa: BLE001 - a bug; stop loudly rather than lose the event
                        context.crash(error)
            partition.saw(offset)

    async def _retry(self, stream: Any) -> None:
        context, ownership, topic = self._context, self.ownership, self._context.pipeline.retry_topic
        async for record, generation, log_number in self._arrivals(topic, stream):
            number, offset = record.partition, record.offset
            partition = ownership.current(number, generation)
            if partition is None:
                continue
            gone = log_number != context.ledger.log((topic, number))
            if not gone:
                if ownership.healing.overtakes((topic, number), offset):
                    continue
                if not context.ledger.claim((topic, number), offset):
                    continue
            try:
                meant = partition.copies.take(record, gone=gone)
            except NotOurCopy as error:
                self._strangers.met(number, offset, str(error))
                meant = False
            if not (meant or gone):
                context.ledger.close((topic, number), offset)

    async def _alerts(self, stream: Any) -> None:
        context, ownership, topic = self._context, self.ownership, self._context.pipeline.alerts_topic
        ledger = context.ledger
        async for record, _, log_number in self._arrivals(topic, stream):
            number, offset = record.partition, record.offset
            if (topic, number) not in ownership.gate:
                continue
            # An alert of a log that was lost since is not in the topic: it is handled now or never.
            if log_number == ledger.log((topic, number)):
                if ownership.healing.overtakes((topic, number), offset):
                    continue
                if not ledger.claim((topic, number), offset):
                    continue
            try:
                await self._on_alert(record.key, record.value, number)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - a bug; the alert stays open and is read again after a restart
                context.crash(error)
                continue
            if log_number == ledger.log((topic, number)):
                ledger.close((topic, number), offset)
