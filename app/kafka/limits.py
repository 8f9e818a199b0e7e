"""How large records may be."""

from __future__ import annotations

from app.settings import HEADER_ROOM_BYTES, KafkaSettings

# A topic's max.message.bytes counts a whole batch: 61 bytes of batch header (Apache Kafka documentation, "Message
# Format") plus, per record, variable-length integers (5 bytes at most for each length and delta, 10 for the timestamp),
# and two more for each header that we add. A record that filled the main topic's limit already carried its own; what
# grows are the lengths of the record and its headers. 1 KiB is ten times that and costs nothing.
BATCH_ROOM_BYTES = 1024

# A partition record holds about 35 bytes per parked event, the dead letters being worked on and the counts of open
# days: about 1 MiB at its cap. This leaves room for another order of magnitude.
STATE_RECORD_BYTES = 16 * 1024 * 1024


def copy_bytes(settings: KafkaSettings) -> int:
    """Bytes that retry and dead-letter topics take per batch: the largest record of the main topic plus our headers."""
    return settings.max_message_bytes + HEADER_ROOM_BYTES + BATCH_ROOM_BYTES
