"""The thread in which Faust's consumer speaks to the brokers.

Written against faust-streaming 0.15.3 and aiokafka 0.14.0, both pinned; what is overridden here is internal to them.
Why each override is there:

* heartbeats: every acknowledged one renews the lease with the time it was sent, once a commit has shown that heartbeats
  may be believed.
* ``_fetch_records``: fetching is fair, and leaves out what a transaction aborted.
* ``_update_fetch_positions`` of the fetcher: positions that the topic does not have are noted, because aiokafka goes on
  at its beginning without a word.
* ``on_thread_stop``: a stop amid a rebalance, or without a broker.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import structlog
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, for_code
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from app.engine.lease import Lease

log = structlog.get_logger(__name__)

# Records of one partition in one round of fetching.
FAIR_SHARE = 100

# How long a stop waits for the group to let us go. It need not: the session of a member that did not say goodbye ends.
GOODBYE_SECONDS = 3.0
LAST_WORD_SECONDS = 1.0

# How long the broker may hold back an empty answer. A broker answers a connection's requests in their order, so the end
# offsets that a take-over asks for wait behind a fetch; Faust's own 1.5 s made every take-over so much longer.
FETCH_WAIT_MS = 200


class HeartbeatThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """The consumer's thread, with heartbeats that renew the lease."""

    lease: Lease
    was_reset: set[TP]  # partitions whose position was not there, or not known yet
    _proven: int | None = None  # the generation for which a commit was accepted

    def _create_consumer(self, loop: asyncio.AbstractEventLoop) -> Any:
        consumer = super()._create_consumer(loop)
        # What a transactional producer aborted has never happened (KIP-98); Faust reads it all the same.
        consumer._isolation_level = "read_committed"
        return consumer

    async def on_start(self) -> None:
        """Connect, then put the lease between the group coordinator and its heartbeats."""
        await super().on_start()
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher
        fetcher._fetch_max_wait_ms = FETCH_WAIT_MS
        self.was_reset = set()
        update = fetcher._update_fetch_positions

        async def update_fetch_positions(assignment: Any, node_id: int, tps: list[TP]) -> bool:
            self.was_reset.update(TP(tp.topic, tp.partition) for tp in tps)
            woken: bool = await update(assignment, node_id, tps)
            return woken

        fetcher._update_fetch_positions = update_fetch_positions
        coordinator = consumer._coordinator
        send = coordinator._do_heartbeat

        async def heartbeat() -> bool:
            # The broker counts from when it received this, which is later: the lease errs on the safe side.
            sent, generation = self.lease.now(), coordinator.generation
            alive: bool = await send()
            # An announced rebalance counts as alive too: until we rejoin, the partitions are ours.
            if alive and await self._is_member(coordinator, generation):
                self.lease.renew(generation, sent)
            return alive

        coordinator._do_heartbeat = heartbeat

    async def on_thread_stop(self) -> None:
        """Leave the group, soon: a join waits for all other members, one that is stuck included, and the broker answers
        nothing else on that connection meanwhile."""
        if self._consumer is None:
            await super().on_thread_stop()
            return
        coordinator = self._consumer._coordinator
        member = coordinator.member_id if coordinator is not None else ""
        stopping = asyncio.create_task(super().on_thread_stop())
        await asyncio.wait((stopping,), timeout=GOODBYE_SECONDS)
        if stopping.done() and not stopping.cancelled():
            stopping.result()
            return
        stopping.cancel()  # without a broker, aiokafka's own tasks have done so
        await self._say_goodbye(coordinator, member)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD_SECONDS):
                await self._consumer._client.close()

    async def _say_goodbye(self, coordinator: Any, member: str) -> None:
        """Over the connection that records come by."""
        if coordinator is None or coordinator._group_instance_id is not None:
            return  # never came to it, or is a static member, which does not say that it leaves
        try:
            if not member or coordinator.coordinator_id is None:
                raise GroupCoordinatorNotAvailableError
            request = LeaveGroupRequest(coordinator.group_id, member)
            async with asyncio.timeout(LAST_WORD_SECONDS):
                answer = await self._ensure_consumer()._client.send(coordinator.coordinator_id, request)
            if answer.error_code:
                raise for_code(answer.error_code)
        except (TimeoutError, KafkaError) as error:
            log.warning(
                "stopped without leaving the group: its other members wait for the end of the session",
                error=type(error).__name__,
            )
        else:
            log.info("left the group without waiting for the end of its rebalance")

    async def _is_member(self, coordinator: Any, generation: int) -> bool:
        """Whether an acknowledged heartbeat may be believed.

        A broker that is just reading its groups in, after a restart or a change of leader, says yes to every heartbeat,
        also to those of a worker that was expelled before (Apache Kafka: "the group is still loading, so respond just
        blindly"). It says so to nobody's commit. So whoever has no lease, after a freeze or in a new generation, once
        more commits an offset that is committed already; only a member of the current generation may.
        """
        if self.lease.holds(generation) and self._proven == generation:
            return True
        committed = self.consumer.committed_again()
        if not committed:
            return True  # a new group: nobody has done anything that could be overtaken
        if coordinator.generation != generation or not coordinator.member_id:
            return False
        subscription = self._ensure_consumer()._subscription.subscription
        try:
            await coordinator._do_commit_offsets(
                subscription.assignment, {tp: OffsetAndMetadata(offset, "") for tp, offset in committed.items()}
            )
        except KafkaError as error:
            log.info("the lease waits: a heartbeat was acknowledged, a commit is not", error=type(error).__name__)
            return False
        self._proven = generation
        return True

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109
        max_records: int | None = None,
    ) -> dict[TP, list[Any]]:
        """A fair share of every partition. aiokafka's own way empties one prefetched batch before it looks at the next:
        a backlog in the main topic would keep parked events waiting for their copies."""
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher
        drained: dict[TP, list[Any]] = {}
        with fetcher._subscriptions.fetch_context():
            for tp in active_partitions:
                drained.update(await fetcher.fetched_records((tp,), timeout=0, max_records=FAIR_SHARE))
        return drained or await super()._fetch_records(consumer, active_partitions, timeout, max_records)
