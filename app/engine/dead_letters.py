"""Dead letters: what goes into the DLQ topic, so that an operator or another tool can read it."""

from __future__ import annotations

from app.domain.errors import lookup
from app.domain.record import SourceRecord
from app.domain.state import Verdict
from app.engine.headers import VALUE_OMITTED, Failing, dead_letter_headers
from app.engine.producer import DurableProducer, TooLarge, Write


def dead_letter(record: SourceRecord, verdict: Verdict, topic: str, group: str) -> Write:
    """The dead letter of an event: key, value and original headers untouched, same partition number, our headers."""
    settlement = verdict.settlement
    failing = Failing(
        event_id=settlement.event_id,
        attempts=settlement.attempts,
        first_failed_ms=verdict.first_failed_ms,
        last_failed_ms=verdict.last_failed_ms,
        reason=settlement.reason or "",
        message=verdict.message,
    )
    if record.counted_day:
        record = record.counted_on(settlement.day)
    error_class = lookup(failing.reason).error_class if failing.reason else "permanent"
    headers = dead_letter_headers(record, failing, group, f"profile_sync.{error_class}.{failing.reason}")
    return Write(topic, record.partition, record.key, record.value, headers)


def without_value(write: Write) -> Write:
    """The same dead letter with our headers and the source position only, for a record that the topic cannot take."""
    ours = tuple(h for h in write.headers if h[0].startswith(("x-sync-", "kafka_dlt-")))
    return Write(write.topic, write.partition, write.key, None, (*ours, (VALUE_OMITTED, b"true")))


async def send_dead_letter(producer: DurableProducer, write: Write) -> None:
    """Write a dead letter; one that does not fit goes without its value (and, if need be, without its key)."""
    for attempt in (
        write,
        without_value(write),
        without_value(Write(write.topic, write.partition, None, None, write.headers)),
    ):
        try:
            await producer.write_one(attempt)
        except TooLarge:
            continue
        return
    raise TooLarge(f"not even the headers of a dead letter fit into {write.topic}: raise its max.message.bytes")
