"""The thread in which Faust's consumer speaks to the brokers.

Written against faust-streaming 0.15.3 and aiokafka 0.14.0, both pinned; what is overridden here is internal to them.
Why each override is there:

* heartbeats: every acknowledged one renews the lease with the time it was sent, once a commit has shown that heartbeats
  may be believed.
* ``_fetch_records``: fetching is fair, and leaves out what a transaction aborted. A right that is missing for one
  partition must not take the records of another with it, nor end Faust's fetcher for good.
* ``_proc_fetch_request`` of the fetcher: what it makes of an answer is read as in ``batches.py``. A partition whose
  next batch cannot be read waits (``unreadable.py``).
* ``_update_fetch_positions`` of the fetcher: positions that the topic does not have are noted, because aiokafka goes on
  at its beginning without a word.
* ``_commit``: a right that is missing is waited for, and so is a coordinator, though not for ever: a rebalance waits
  for the last commit. In Faust, the one ends the consumer, and the other holds up everything.
* ``_watch``: aiokafka's own tasks end without a word, or wait for somebody to ask what is wrong, and Faust never does.
* ``on_thread_stop``: a stop amid a rebalance, or without a broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, OffsetResetStrategy
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    CorruptRecordException,
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    IllegalStateError,
    KafkaError,
    NoError,
    NoOffsetForPartitionError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
    for_code,
)
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, ensure_aiokafka_TP
from faust.types import TP
from mode import Service

from app.delivery.record import TopicPartition
from app.engine.batches import read_patiently
from app.engine.context import EngineStopped
from app.engine.lease import Lease
from app.engine.rights import ASK_AGAIN_SECONDS, Rights
from app.engine.unreadable import Batch, Unreadable, description
from app.kafka.broker_calls import COMMIT_SECONDS, make_impatient

log = structlog.get_logger(__name__)

# Records of one partition in one round of fetching.
FAIR_SHARE = 100

# How long a stop waits for the group to let us go. It need not: the session of a member that did not say goodbye ends.
GOODBYE_SECONDS = 3.0
LAST_WORD_SECONDS = 1.0

# How long the broker may hold back an empty answer. A broker answers a connection's requests in their order, so the end
# offsets that a take-over asks for wait behind a fetch; Faust's own 1.5 s made every take-over so much longer.
FETCH_WAIT_MS = 200

# A join waits for all members; the broker lets them have the rebalance timeout.
JOIN_SLACK_SECONDS = 30.0

# How long a heartbeat waits for the commit that shows whether it may be believed; the next one must not be late.
PROOF_SECONDS = 0.5

# Two workers of one name push each other out with each heartbeat or so. Once may be a restart; twice within this time
# is a mistake.
REPLACED_SECONDS = 300.0

# Between two looks at aiokafka's tasks, and between two questions where the partitions end.
WATCH_SECONDS = 0.5
ASK_ENDS_SECONDS = 2.0
# What a broker said about an end counts for so long.
END_COUNTS_SECONDS = 10.0

_REFUSALS = (TopicAuthorizationFailedError, GroupAuthorizationFailedError)
# aiokafka would skip a record, or read the same ones for ever.
_UNREADABLE = (CorruptRecordException, RecordTooLargeError, UnsupportedCodecError, NoOffsetForPartitionError)


@dataclass(frozen=True, slots=True)
class End:
    """Where a partition ends: for those who read committed records only (the last stable offset), and the log itself.

    ``at``: monotonic seconds.
    """

    stable: int
    log: int
    at: float


# A position that is being asked for.
NOT_KNOWN_YET = -1


class HeartbeatThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """The consumer's thread. ``lease``, ``rights`` and ``unreadable`` are told what the brokers say and send;
    ``request_seconds`` is what each of them gets for an answer."""

    lease: Lease
    rights: Rights
    unreadable: Unreadable
    request_seconds: float
    was_reset: dict[TP, int]  # partitions whose position was not there, or not known yet -> their new position
    other_leader: set[TP]  # partitions whose next records may be from another leader than those before
    _epochs: dict[TP, int]  # the leader epoch of the last batch

    _proven: int | None = None  # the generation for which a commit was accepted
    _replaced_at: float | None = None  # when another member took our name
    _failure: EngineStopped | None = None  # why this worker must end
    _proof: asyncio.Task[None] | None = None  # such a commit under way

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ends: Mapping[TP, End] = {}  # replaced as a whole, so that other threads may look
        self._asking: dict[int, asyncio.Task[None]] = {}  # by broker
        self._refused_until: dict[str, float] = {}  # by topic

    def _create_consumer(self, loop: asyncio.AbstractEventLoop) -> Any:
        consumer = super()._create_consumer(loop)
        # What a transactional producer aborted has never happened (KIP-98); Faust reads it all the same.
        consumer._isolation_level = "read_committed"
        join_seconds = self.app.conf.broker_rebalance_timeout + JOIN_SLACK_SECONDS
        make_impatient(consumer._client, self.request_seconds, join_seconds)
        return consumer

    async def on_start(self) -> None:
        """Connect, then put the lease between the group coordinator and its heartbeats."""
        await super().on_start()
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher
        fetcher._fetch_max_wait_ms = FETCH_WAIT_MS
        self.was_reset, self.other_leader, self._epochs = {}, set(), {}
        read_patiently(fetcher, self._cannot_be_read, self._written_under)
        update = fetcher._update_fetch_positions

        async def update_fetch_positions(assignment: Any, node_id: int, tps: list[TP]) -> bool:
            reset = [TP(tp.topic, tp.partition) for tp in tps]
            self.was_reset.update(dict.fromkeys(reset, NOT_KNOWN_YET))
            woken: bool = await update(assignment, node_id, tps)
            for tp, state in zip(reset, map(assignment.state_value, tps), strict=True):
                if state.has_valid_position:
                    self.was_reset[tp] = state.position
            return woken

        fetcher._update_fetch_positions = update_fetch_positions
        coordinator = consumer._coordinator
        send = coordinator._do_heartbeat

        async def heartbeat() -> bool:
            # The broker counts from when it received this, which is later: the lease errs on the safe side.
            sent, generation, member = self.lease.now(), coordinator.generation, coordinator.member_id
            alive: bool = await send()
            if not alive and member and not coordinator.member_id:
                self._expelled(coordinator._group_instance_id)
                if self._failure is not None:
                    # Joining once more would push the other one out, too often as well.
                    coordinator._coordination_task.cancel()
            # An announced rebalance counts as alive too: until we rejoin, the partitions are ours.
            if alive:
                if self._proof is None or self._proof.done():
                    self._proof = asyncio.create_task(self._prove(coordinator, generation, sent))
                await asyncio.wait((self._proof,), timeout=PROOF_SECONDS)
            return alive

        coordinator._do_heartbeat = heartbeat

    async def _prove(self, coordinator: Any, generation: int, sent: float) -> None:
        """Renew the lease for a heartbeat that may be believed. It takes a commit, which may outlast an interval."""
        if await self._is_member(coordinator, generation):
            self.lease.renew(generation, sent)

    def _expelled(self, instance: str | None) -> None:
        """The group does not know us any more. Within a session only another member of our name can have done that."""
        now = time.monotonic()
        if instance is None or self.lease.silent_seconds() >= self.app.conf.broker_session_timeout:
            return
        twice = self._replaced_at is not None and now - self._replaced_at < REPLACED_SECONDS
        self._replaced_at = now
        what = f"another worker has joined the group under the name of this one, KAFKA_INSTANCE_ID={instance}"
        if twice:
            self._failure = EngineStopped(
                f"{what}: they push each other out, and neither gets anything done. Give each one its own name, or none"
            )
        else:
            log.error("pushed out of the group; joining again", reason=what, remedy="give each worker its own name")

    # ---- the tasks of aiokafka

    @Service.task  # type: ignore[untyped-decorator]
    async def _watch(self) -> None:
        asked = metadata = time.monotonic()
        while not self.should_stop:
            await self.sleep(WATCH_SECONDS)
            consumer, now = self._consumer, time.monotonic()
            if consumer is None or self.should_stop:
                continue
            if self._failure is not None:
                raise self._failure
            self._look_after_tasks(consumer)
            if self.unseen() and now - metadata >= ASK_AGAIN_SECONDS:
                metadata = now
                consumer._client.force_metadata_update()
            if now - asked >= ASK_ENDS_SECONDS:
                asked = now
                self._ask_ends(consumer)

    def _look_after_tasks(self, consumer: Any) -> None:
        """Take an error that the coordinator holds from it, so that it goes on. A task that has ended is the end."""
        coordinator = consumer._coordinator
        for name, task in (
            ("fetcher", consumer._fetcher._fetch_task),
            ("group coordinator", coordinator._coordination_task),
            ("metadata", consumer._client._sync_task),
        ):
            if task is not None and task.done() and not self.should_stop:
                cause = None if task.cancelled() else task.exception()
                raise EngineStopped(
                    f"the {name} task of the Kafka client has ended ({cause!r}): nothing more would be read. "
                    "Start the worker again; if it comes back, report it with the log"
                ) from cause
        try:
            coordinator.check_errors()
        except _REFUSALS as error:
            self._refused(error)
        except KafkaError as error:
            log.warning("the consumer group refused something; joining it again", error=repr(error))
        else:
            return
        # Its heartbeats have ended with the error, and begin again with the next join.
        coordinator.request_rejoin()

    def unseen(self) -> list[str]:
        """The topics that the brokers do not show us; noted as a missing right."""
        consumer = self._ensure_consumer()
        client, wanted = consumer._client, consumer._subscription.topics
        if client._md_update_fut is not None:
            return []  # being asked for
        unseen = sorted(topic for topic in wanted if not client.cluster.partitions_for_topic(topic))
        for topic in unseen:
            if topic in client.cluster.unauthorized_topics:
                self.rights.refused("DESCRIBE", f"topic {topic}")
            else:
                self.rights.absent(topic)
        return unseen

    def _refused(self, error: KafkaError) -> None:
        what = "group" if isinstance(error, GroupAuthorizationFailedError) else "topic"
        for argument in error.args:
            for name in [argument] if isinstance(argument, str) else sorted(argument):
                self.rights.refused("READ", f"{what} {name}")

    # ---- where the partitions end

    def _ask_ends(self, consumer: Any) -> None:
        """Ask every broker for the ends of the partitions that it leads, none of them waiting for another."""
        subscription = consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        tps = assignment.tps if assignment is not None else frozenset()
        self.ends = {tp: end for tp, end in self.ends.items() if tp in tps}
        by_leader: dict[int, list[Any]] = {}
        for tp in tps:
            leader = consumer._client.cluster.leader_for_partition(tp)
            if leader is not None and leader >= 0:
                by_leader.setdefault(leader, []).append(tp)
        for leader, led in by_leader.items():
            asked = self._asking.get(leader)
            if asked is None or asked.done():
                self._asking[leader] = asyncio.create_task(self._ask_leader(consumer._client, leader, led))

    async def _ask_leader(self, client: Any, leader: int, tps: list[Any]) -> None:
        at = time.monotonic()
        topics: dict[str, list[tuple[int, int]]] = {}
        for tp in tps:
            topics.setdefault(tp.topic, []).append((tp.partition, OffsetResetStrategy.LATEST))
        with contextlib.suppress(KafkaError):  # an end that is not known is a reason of its own
            stable = _offsets(await client.send(leader, OffsetRequest(-1, READ_COMMITTED, list(topics.items()))))
            last = _offsets(await client.send(leader, OffsetRequest(-1, READ_UNCOMMITTED, list(topics.items()))))
            found = {tp: End(stable[tp], last[tp], at) for tp in stable.keys() & last.keys()}
            self.ends = {**self.ends, **found}

    def end(self, tp: TP) -> End | None:
        """What the broker has said about a partition lately. From any thread."""
        end = self.ends.get(tp)
        return end if end is not None and time.monotonic() - end.at < END_COUNTS_SECONDS else None

    # ---- fetching and committing

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
        active = self._not_refused(active_partitions)
        if self.unreadable:
            active = self._readable(consumer, active)
        drained: dict[TP, list[Any]] = {}
        with fetcher._subscriptions.fetch_context():
            for tp in active:
                with self._named_errors(tp):
                    drained.update(await fetcher.fetched_records((tp,), timeout=0, max_records=FAIR_SHARE))
        if not drained and active:
            with self._named_errors(None):
                drained = await super()._fetch_records(consumer, active, timeout, max_records)
        elif not active:
            await asyncio.sleep(timeout or 0.0)
        if self.unreadable:
            self._pass_over_what_was_read(consumer)
        return drained

    def _written_under(self, tp: TopicPartition, epochs: Sequence[int]) -> None:
        """The first record of an answer is about to be handed over; these are the leader epochs of its batches.

        All batches of an answer are of one log, so it does not matter which of them is of another leader.
        """
        if len(epochs) > 1 or self._epochs.get(TP(*tp)) != epochs[0]:
            self.other_leader.add(TP(*tp))
        self._epochs[TP(*tp)] = epochs[-1]

    def _cannot_be_read(self, tp: TopicPartition, batch: Batch, why: str) -> None:
        if self.consumer._is_changelog_tp(TP(*tp)):
            raise EngineStopped(f"{description(tp, batch, why)}. The state is not complete without it")
        self.unreadable.note(tp, batch, why)

    def _readable(self, consumer: Any, active: set[TP]) -> set[TP]:
        """Without the partitions whose next batch cannot be read. When one is due again, what was fetched of it
        meanwhile is dropped, since it may be as old as the damage."""
        self._pass_over_what_was_read(consumer)
        fetcher, readable = consumer._fetcher, set()
        for tp in active:
            if self.unreadable.waits(tp):
                continue
            if self.unreadable.due(tp) and fetcher._records.pop(tp, None) is not None:
                fetcher._notify(fetcher._wait_consume_future)
            readable.add(tp)
        return readable

    def _pass_over_what_was_read(self, consumer: Any) -> None:
        """Forget what could not be read where the position is another one now, or the partition is not ours."""
        subscription = consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        for tp, position in self.unreadable.positions().items():
            state = assignment.state_value(tp) if assignment is not None else None
            if state is None or (state.has_valid_position and state.position != position):
                self.unreadable.over(tp)

    def _not_refused(self, tps: set[TP]) -> set[TP]:
        if not self._refused_until:
            return tps
        now = time.monotonic()
        self._refused_until = {topic: until for topic, until in self._refused_until.items() if until > now}
        return {tp for tp in tps if tp.topic not in self._refused_until}

    @contextlib.contextmanager
    def _named_errors(self, tp: TP | None) -> Iterator[None]:
        """What a fetch may fail with. Records that other partitions have handed over are not lost by it."""
        try:
            yield
        except ConsumerStoppedError:
            raise
        except EngineStopped:
            raise
        except _REFUSALS as error:
            self._refused(error)
            if isinstance(error, TopicAuthorizationFailedError):
                self._refused_until[error.args[0]] = time.monotonic() + ASK_AGAIN_SECONDS
        except Exception as error:
            if isinstance(error, KafkaError) and not isinstance(error, _UNREADABLE):
                return  # the coordinator's, which ``_look_after_tasks`` takes from it
            where = "a partition" if tp is None else f"partition {tp.partition} of {tp.topic}"
            raise EngineStopped(
                f"records of {where} cannot be read ({error!r}), and nothing behind them would ever be. Look at the "
                "next record after the group's committed offset with Kafka's own tools; the worker stops rather than "
                "skip it"
            ) from error

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit; False: not accepted. What is safe is committed again with the next offsets, or by the next owner."""
        consumer, assigned = self._ensure_consumer(), self.assignment()
        wanted = {
            ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items() if tp in assigned
        }
        try:
            async with asyncio.timeout(self.request_seconds + COMMIT_SECONDS):
                await consumer.commit(wanted)
        except _REFUSALS as error:
            self._refused(error)
        except TimeoutError:
            log.warning("offsets could not be committed: the group's coordinator does not answer; trying on")
        except (CommitFailedError, IllegalStateError) as error:
            log.info("offsets were not committed: the group has gone on meanwhile", error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - the stream's look at Faust's services ends the worker
            await self.crash(error)
        else:
            return True
        return False

    # ---- the end

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


def _offsets(response: Any) -> dict[TP, int]:
    """The offsets of a ListOffsets answer; a partition that was refused is left out."""
    return {
        TP(topic, partition): offset
        for topic, partitions in response.topics
        for partition, code, _, offset in partitions
        if for_code(code) is NoError
    }
