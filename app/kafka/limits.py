"""How large records may be."""

from __future__ import annotations

from app.settings import HEADER_ROOM_BYTES, KafkaSettings

# A topic's max.message.bytes limits a whole batch: 61 bytes of batch header (Apache Kafka documentation, "Message
# Format"), and per record variable-length integers (5 bytes at most for each length and delta, 10 for the timestamp),
# and two more for each header that we add. A record at the main topic's limit includes its own integers already; only
# the lengths of the record and its headers grow. 1 KiB is ten times that and costs nothing.
BATCH_ROOM_BYTES = 1024

# A partition record holds the partition's parked events, the dead letters in progress and the counts of open days. A
# parked event takes about 20 bytes, and each of their consumers about a hundred, or up to 7 KB with the longest IDs
# that are allowed. ``engine.holds`` keeps the parked events below half of this limit.
STATE_RECORD_BYTES = 16 * 1024 * 1024


def copy_bytes(settings: KafkaSettings) -> int:
    """The largest batch of retry and dead-letter topics, in bytes: the main topic's largest record and our headers."""
    return settings.max_message_bytes + HEADER_ROOM_BYTES + BATCH_ROOM_BYTES
