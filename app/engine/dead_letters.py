"""Dead letters: what is written to the dead-letter topic, for an operator or another tool to read."""

from __future__ import annotations

from dataclasses import dataclass

from app.delivery.errors import REGISTRY, ErrorClass
from app.delivery.headers import SPRING_PREFIX, VALUE_OMITTED, Failing, dead_letter_headers, kind_headers, original
from app.delivery.record import SourceRecord
from app.delivery.verdict import Verdict
from app.kafka.durable_producer import DurableProducer, TooLarge, Write


@dataclass(frozen=True, slots=True)
class Burial:
    """What else the headers of a dead letter say: how often it was handled, the task that did it last, and the mark of
    the partition record, by which a record of ours is told from others."""

    redrives: int = 0
    task: str = ""
    mark: str | None = None


def dead_letters(
    record: SourceRecord, verdict: Verdict, topic: str, group: str, burial: Burial = Burial()
) -> tuple[Write, Write, Write]:
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
        redrives=burial.redrives,
    )
    if record.counted_day:
        record = record.counted_on(settlement.day)
    entry = REGISTRY.get(failing.reason)  # None: a flow, or a newer version before a rollback, has other codes
    error_class = entry.error_class if entry else ErrorClass.PERMANENT
    kind = verdict.kind
    ours = (
        *dead_letter_headers(record, failing, group, f"profile_sync.{error_class}.{failing.reason}"),
        *kind_headers(kind.entity, kind.operation, settlement.market, burial.task, burial.mark),
    )
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
    burial: Burial = Burial(),
    omit_value: bool = False,
) -> int | None:
    """Write a dead letter. Returns its offset in the dead-letter topic; None: it was written without its value.

    One that does not fit is written without its value and, if it must be, without its key. Not even that fits into a
    topic whose max.message.bytes is a few KiB: the write waits until the limit is raised.
    """
    whole, with_key, smallest = dead_letters(record, verdict, topic, group, burial)
    for write in (with_key,) if omit_value else (whole, with_key):
        try:
            offset = await producer.write_one(write)
            while offset < 0:  # an idempotent batch was sent twice, and the broker no longer knows where it stands
                offset = await producer.write_one(write)
        except TooLarge:
            continue
        return offset if write is whole else None
    await producer.write_when_it_fits(smallest)
    return None
