"""Back-pressure: which source partitions are not fetched right now, and why.

A reason is a text for people. It appears in the log, and distinguishes a partition that waits from one that was
forgotten. Each partition has limits of its own, so a partition at its limit waits alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.delivery.record import TopicPartition
from app.engine.breaker import WAITING_TO_PROBE
from app.engine.context import EngineContext
from app.engine.partition import Partition

# How many fetched records of a topic may wait in Faust's buffer. This is far below the buffer's size (4,096). A topic
# whose agent takes nothing must not fill the buffer, because Faust would then stop delivering the other topics too.
FETCH_AHEAD = 1_000

# How many offsets of the main topic may have been fetched from the lowest open one on. The settled ones among them are
# listed in the partition record (8 bytes each), which is rewritten with every group commit.
SPAN = 20_000

# Parked events of healthy consumers. They stand in the partition record too.
BEYOND_SHARE = 20_000

# What the parked and given-up events of a partition may take in its record: half of the record's limit.
PARKED_BYTES = 8 * 1024 * 1024

# Bytes of keys and values of a partition in memory: fetched and undecided, or parked and read back. Copies may take
# half of it, and more only while none of those in memory can go on.
VALUES_BYTES = 64 * 1024 * 1024
COPIES_BYTES = VALUES_BYTES // 2

NOT_TAKEN = f"more than {FETCH_AHEAD} fetched records wait to be taken"
ALL_PARKED = "as many events are parked as SYNC_MAX_PARKED allows"
ALL_DOWN = "the circuit breaker is open"
ENOUGH_COPIES = "as many parked events are in memory as SYNC_MAX_PARKED allows"
FULL_SPAN = f"{SPAN} offsets were fetched since the oldest event that is not settled"
FULL_SHARE = f"{BEYOND_SHARE} events wait because their consumers have more than their share"
FULL_RECORD = f"its parked and given-up events may take {PARKED_BYTES // 1024**2} MiB of its record"
FULL_MEMORY = f"its events in memory have {VALUES_BYTES // 1024**2} MiB"
FULL_COPIES = f"its parked events in memory have {COPIES_BYTES // 1024**2} MiB"

# Reasons that concern one partition only. Each is logged.
OF_PARTITION = frozenset({FULL_SPAN, FULL_SHARE, FULL_RECORD, FULL_MEMORY})


def holds(
    context: EngineContext, gate: frozenset[TopicPartition], partitions: Mapping[int, Partition]
) -> dict[TopicPartition, str]:
    """The partitions behind the gate that must not be fetched now, each with its reason."""
    topics = _topics(context, {topic for topic, _ in gate})
    found: dict[TopicPartition, str] = {}
    for tp in gate:
        topic, number = tp
        partition = partitions.get(number)
        reason = topics.get(topic)
        if reason is None and partition is not None:
            reason = _of_partition(context, tp, partition)
        if partition is not None and partition.catching_up and topic == context.pipeline.topic and reason != NOT_TAKEN:
            continue  # its parked events wait for events to come, which the last owner had taken already
        if reason is not None:
            found[tp] = reason
    return found


def _topics(context: EngineContext, topics: set[str]) -> dict[str, str]:
    pipeline, room = context.pipeline, context.room
    held = {topic: NOT_TAKEN for topic in topics if context.ledger.unclaimed(topic) > FETCH_AHEAD}
    if room.full_of_parked:
        held.setdefault(pipeline.topic, ALL_PARKED)
    elif room.taken >= WAITING_TO_PROBE and context.all_down:  # enough events wait to probe the targets
        held.setdefault(pipeline.topic, ALL_DOWN)
    return held


def _of_partition(context: EngineContext, tp: TopicPartition, partition: Partition) -> str | None:
    ledger, pipeline = context.ledger, context.pipeline
    topic, number = tp
    copies = ledger.open_bytes((pipeline.retry_topic, number))
    if topic == pipeline.retry_topic:
        many = len(partition.copies) >= context.sync.max_parked
        if (many or copies >= COPIES_BYTES) and partition.can_go_on():
            return ENOUGH_COPIES if many else FULL_COPIES
        return None
    if topic != pipeline.topic:
        return None
    if ledger.span(tp) >= SPAN:
        return FULL_SPAN
    if partition.parked.beyond_share >= BEYOND_SHARE:
        return FULL_SHARE
    if partition.record_room.bytes >= PARKED_BYTES:
        return FULL_RECORD
    if ledger.open_bytes(tp) + min(copies, COPIES_BYTES) >= VALUES_BYTES:
        return FULL_MEMORY
    return None
