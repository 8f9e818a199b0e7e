"""Dead letters: what is written to the dead-letter topic, for an operator or another tool to read."""

from __future__ import annotations

from app.delivery.errors import REGISTRY, ErrorClass
from app.delivery.headers import SPRING_PREFIX, VALUE_OMITTED, Failing, dead_letter_headers, original
from app.delivery.record import SourceRecord
from app.delivery.verdict import Verdict
from app.kafka.durable_producer import DurableProducer, TooLarge, Write


def dead_letters(record: SourceRecord, verdict: Verdict, topic: str, group: str) -> tuple[Write, Write, Write]:
    """The dead letter of an event, and what is sent when it does not fit. All go to the event's own partition number.

    The first has the key, value and original headers untouched, and our headers, which replace those of an earlier dead
    letter. The second has the key and our headers. The third has our headers only: a few KiB, whatever the record had.
    """
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
    entry = REGISTRY.get(failing.reason)  # None: a flow, or a newer version before a rollback, has other codes
    error_class = entry.error_class if entry else ErrorClass.PERMANENT
    ours = dead_letter_headers(record, failing, group, f"profile_sync.{error_class}.{failing.reason}")
    theirs = tuple(h for h in original(record.headers) if not h[0].startswith(SPRING_PREFIX))
    less = (*ours, (VALUE_OMITTED, b"true"))
    return (
        Write(topic, record.partition, record.key, record.value, (*theirs, *ours)),
        Write(topic, record.partition, record.key, None, less),
        Write(topic, record.partition, None, None, less),
    )


async def send_dead_letter(
    producer: DurableProducer,
    record: SourceRecord,
    verdict: Verdict,
    topic: str,
    group: str,
    *,
    omit_value: bool = False,
) -> None:
    """Write a dead letter. One that does not fit is written without its value and, if it must be, without its key.

    Not even that fits into a topic whose max.message.bytes is a few KiB: the write waits until the limit is raised.
    """
    whole, with_key, smallest = dead_letters(record, verdict, topic, group)
    for write in (with_key,) if omit_value else (whole, with_key):
        try:
            await producer.write_one(write)
        except TooLarge:
            continue
        return
    await producer.write_when_it_fits(smallest)
