"""The thread in which Faust's consumer speaks to the brokers.

Written against faust-streaming 0.15.3 and aiokafka 0.14.0, both pinned; what is overridden here is internal to them.
Why each override is there:

* heartbeats (``heartbeat.py``): an acknowledged heartbeat renews the lease, once a commit has proven membership.
* ``_fetch_records`` (``fetching.py``): fetching is fair, and leaves out what a transaction aborted. A right that is
  missing for one partition neither loses the records of another nor ends Faust's fetcher.
* ``_proc_fetch_request`` of the fetcher (``batches.py``): a partition whose next batch cannot be read waits.
* ``_update_fetch_positions`` of the fetcher (``resets.py``): positions that the topic does not have are noted.
* ``_commit``: waits for a missing right and for the coordinator, but not forever, because a rebalance waits for the
  last commit. In Faust the first ends the consumer, and the second blocks everything.
* ``_watch`` (``client_tasks.py``): aiokafka's own tasks end without a word.
* ``on_thread_stop`` (``leaving.py``): a stop amid a rebalance, or without a broker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, ensure_aiokafka_TP
from faust.types import TP
from mode import Service

from app.engine.client_tasks import check_client_tasks, unseen_topics
from app.engine.context import EngineContext
from app.engine.fetching import Fetching
from app.engine.heartbeat import Heartbeat
from app.engine.leaving import leave_soon
from app.engine.partition_ends import ASK_SECONDS, PartitionEnds
from app.engine.resets import note_resets
from app.engine.rights import ASK_AGAIN_SECONDS, REFUSALS, Rights
from app.kafka.broker_calls import COMMIT_SECONDS, make_impatient

log = structlog.get_logger(__name__)

# A join waits for all members. The broker gives them the rebalance timeout, and this client a little more.
JOIN_SLACK_SECONDS = 30.0

# Between two looks at aiokafka's tasks.
WATCH_SECONDS = 0.5


class LedgerConsumerThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread of ``LedgerConsumer``.

    Args:
        consumer: whose thread this is.
        context: its lease, rights and unreadable partitions are told what the brokers say and send.

    ``was_reset``: partitions whose position was not there, or not known yet -> their new position.
    """

    rights: Rights
    request_seconds: float
    heartbeat: Heartbeat
    fetching: Fetching
    ends: PartitionEnds
    was_reset: dict[TP, int]

    def __init__(self, consumer: Any, context: EngineContext, **kwargs: Any) -> None:
        kafka = context.kafka
        self.rights, self.request_seconds = context.rights, kafka.request_seconds
        self.heartbeat = Heartbeat(context.lease, consumer.committed_again, kafka.session_timeout_seconds)
        self.fetching = Fetching(context.rights, context.unreadable, consumer._is_changelog_tp)
        self.ends = PartitionEnds()
        self.was_reset = {}
        super().__init__(consumer, **kwargs)

    def _create_consumer(self, loop: asyncio.AbstractEventLoop) -> Any:
        consumer = super()._create_consumer(loop)
        # Without this, Faust also reads what a transactional producer aborted (KIP-98).
        consumer._isolation_level = "read_committed"
        join_seconds = self.app.conf.broker_rebalance_timeout + JOIN_SLACK_SECONDS
        make_impatient(consumer._client, self.request_seconds, join_seconds)
        return consumer

    async def on_start(self) -> None:
        """Connect, then attach what follows aiokafka's fetcher and group coordinator."""
        await super().on_start()
        consumer = self._ensure_consumer()
        self.fetching.attach(consumer._fetcher)
        note_resets(consumer._fetcher, self.was_reset)
        self.heartbeat.attach(consumer)

    @Service.task  # type: ignore[untyped-decorator]
    async def _watch(self) -> None:
        asked = metadata = time.monotonic()
        while not self.should_stop:
            await self.sleep(WATCH_SECONDS)
            consumer, now = self._consumer, time.monotonic()
            if consumer is None or self.should_stop:
                continue
            if self.heartbeat.failure is not None:
                raise self.heartbeat.failure
            check_client_tasks(consumer, self.rights)
            if self.unseen() and now - metadata >= ASK_AGAIN_SECONDS:
                metadata = now
                consumer._client.force_metadata_update()
            if now - asked >= ASK_SECONDS:
                asked = now
                self.ends.ask(consumer)

    def unseen(self) -> list[str]:
        """The subscribed topics that the brokers do not show."""
        return unseen_topics(self._ensure_consumer(), self.rights)

    def next_offset(self, tp: TP) -> int:
        """The next offset to fetch; -1: not known yet, or not assigned. Called from the event loop's thread."""
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        state = assignment.state_value(tp) if assignment is not None else None
        return int(state.position) if state is not None and state.has_valid_position else -1

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109
        max_records: int | None = None,
    ) -> dict[TP, list[Any]]:
        if not self.consumer.flow_active:
            return {}
        wait_for_any = partial(super()._fetch_records, consumer, timeout=timeout, max_records=max_records)
        return await self.fetching.fetch(consumer, active_partitions, timeout, wait_for_any)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit; False: not accepted. What is safe is committed with the next offsets, or by the next owner."""
        consumer, assigned = self._ensure_consumer(), self.assignment()
        wanted = {
            ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items() if tp in assigned
        }
        try:
            async with asyncio.timeout(self.request_seconds + COMMIT_SECONDS):
                await consumer.commit(wanted)
        except REFUSALS as error:
            self.rights.note(error)
        except TimeoutError:
            log.warning("offsets could not be committed: the group's coordinator does not answer; trying again")
        except (CommitFailedError, IllegalStateError) as error:
            log.info("offsets were not committed: the group has gone on meanwhile", error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - ``FaustTasks`` sees the crash and ends the worker
            await self.crash(error)
        else:
            return True
        return False

    async def on_thread_stop(self) -> None:
        """Leave the group within seconds."""
        if self._consumer is None:
            await super().on_thread_stop()
        else:
            await leave_soon(self._consumer, super().on_thread_stop())
