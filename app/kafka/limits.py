"""How large records may be."""

from __future__ import annotations

from app.settings import HEADER_ROOM_BYTES, KafkaSettings

# A topic's max.message.bytes counts a whole batch: 61 bytes of batch header (Apache Kafka documentation, "Message
# Format") plus, per record, variable-length integers (5 bytes at most for each length and delta, 10 for the timestamp),
# and two more for each header that we add. A record that filled the main topic's limit already carried its own; what
# grows are the lengths of the record and its headers. 1 KiB is ten times that and costs nothing.
BATCH_ROOM_BYTES = 1024

# A partition record holds its parked events (about 20 bytes each, some hundred for each consumer, and up to 7 KB where
# IDs are as long as they may be: ``engine.holds`` keeps them below half of this), the dead letters being worked on and
# the counts of open days.
STATE_RECORD_BYTES = 16 * 1024 * 1024


def copy_bytes(settings: KafkaSettings) -> int:
    """Bytes that retry and dead-letter topics take per batch: the largest record of the main topic plus our headers."""
    return settings.max_message_bytes + HEADER_ROOM_BYTES + BATCH_ROOM_BYTES
