"""Heartbeats to the consumer group: which of them renew the lease.

Each acknowledged heartbeat renews the lease from the time at which it was sent. The broker starts its own count later,
when it receives the heartbeat, so the lease ends first. A heartbeat counts only once a commit of the same generation
has been accepted: see ``is_member``.

Written against aiokafka 0.14.0, pinned. Replaced: ``GroupCoordinator._do_heartbeat``. Called:
``GroupCoordinator._do_commit_offsets``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from app.engine.context import EngineStopped
from app.engine.lease import Lease

log = structlog.get_logger(__name__)

# How long a heartbeat waits for the commit that proves membership. The next heartbeat must not be late.
PROOF_SECONDS = 0.5

# Two workers with one name push each other out of the group with nearly every heartbeat. Once may be a restart; twice
# within this time is a mistake.
REPLACED_SECONDS = 300.0


class Heartbeat:
    """Renews the lease, and notices a second worker with this worker's name.

    Args:
        lease: renewed by every heartbeat that counts.
        committed_again: one committed offset of this generation that may be committed once more; empty: none.
        session_seconds: the session timeout of the group.

    ``failure``: why this worker must end.
    """

    def __init__(self, lease: Lease, committed_again: Callable[[], Mapping[TP, int]], session_seconds: float) -> None:
        self._lease = lease
        self._committed_again = committed_again
        self._session_seconds = session_seconds
        self._consumer: Any = None
        self._proven: int | None = None  # the generation for which a commit was accepted
        self._proof: asyncio.Task[None] | None = None  # such a commit in progress
        self._replaced_at: float | None = None  # when another member took this worker's name
        self.failure: EngineStopped | None = None

    def attach(self, consumer: Any) -> None:
        """Wrap the heartbeats of aiokafka's consumer."""
        self._consumer = consumer
        coordinator = consumer._coordinator
        send = coordinator._do_heartbeat

        async def heartbeat() -> bool:
            sent, generation, member = self._lease.now(), coordinator.generation, coordinator.member_id
            alive: bool = await send()
            if not alive and member and not coordinator.member_id:
                self.expelled(coordinator._group_instance_id)
                if self.failure is not None:
                    # Joining again would push the other worker out once more.
                    coordinator._coordination_task.cancel()
            # A heartbeat that announces a rebalance counts too: the partitions are ours until we rejoin.
            if alive:
                if self._proof is None or self._proof.done():
                    self._proof = asyncio.create_task(self._prove(coordinator, generation, sent))
                await asyncio.wait((self._proof,), timeout=PROOF_SECONDS)
            return alive

        coordinator._do_heartbeat = heartbeat

    async def _prove(self, coordinator: Any, generation: int, sent: float) -> None:
        """Renew the lease if the heartbeat counts. That may take a commit, which may outlast a heartbeat interval."""
        if await self.is_member(coordinator, generation):
            self._lease.renew(generation, sent)

    async def is_member(self, coordinator: Any, generation: int) -> bool:
        """Whether an acknowledged heartbeat proves that this worker is a member of the generation.

        A broker that is loading its groups, after a restart or a change of leader, acknowledges every heartbeat, even
        those of a worker that was expelled before (Apache Kafka: "the group is still loading, so respond just
        blindly"). It accepts no commit meanwhile. So a worker without a lease (after a freeze, or in a new generation)
        commits an offset again that is committed already; only a member of the current generation may do that.
        """
        if self._lease.holds(generation) and self._proven == generation:
            return True
        committed = self._committed_again()
        if not committed:
            return True  # a new group: no other worker has done anything that this one could overtake
        if coordinator.generation != generation or not coordinator.member_id:
            return False
        subscription = self._consumer._subscription.subscription
        try:
            await coordinator._do_commit_offsets(
                subscription.assignment, {tp: OffsetAndMetadata(offset, "") for tp, offset in committed.items()}
            )
        except KafkaError as error:
            log.info("the lease waits: a heartbeat was acknowledged, a commit is not", error=type(error).__name__)
            return False
        self._proven = generation
        return True

    def expelled(self, instance: str | None) -> None:
        """The group no longer knows this member. Within a session only another member of the same name causes that."""
        now = time.monotonic()
        if instance is None or self._lease.silent_seconds() >= self._session_seconds:
            return
        twice = self._replaced_at is not None and now - self._replaced_at < REPLACED_SECONDS
        self._replaced_at = now
        what = f"another worker has joined the group under the name of this one, KAFKA_INSTANCE_ID={instance}"
        if twice:
            self.failure = EngineStopped(
                f"{what}: they push each other out, and neither gets anything done. Give each one its own name, or none"
            )
        else:
            log.error("pushed out of the group; joining again", reason=what, remedy="give each worker its own name")
