"""A Kafka record as the rest of the program sees it, independent of any client library."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from app.delivery.value_class import value_class

TopicPartition = tuple[str, int]
Headers = tuple[tuple[str, bytes | None], ...]  # a header value may be null

# The end of 9999-12-31, the last day that Python's dates can name. A producer may write any number into a record's
# timestamp (microseconds, for instance), and such a record must not stop the topic.
LATEST_MS = 253_402_300_799_999

DAY_MS = 24 * 3600 * 1000

# 2000-01-01. An earlier timestamp is wrong: Kafka is younger, and most timestamps in a wrong unit (seconds) end up
# before this day.
EARLIEST_MS = 946_684_800_000


@lru_cache(maxsize=64)
def _day(since_1970: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=since_1970)).isoformat()


@value_class(frozen=True, slots=True)
class SourceRecord:
    """One record of the main topic. ``offset`` is the event's identity within its partition.

    ``counted_day``: the day (ISO 8601, UTC) that the event counts under; empty: the day of its timestamp.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    counted_day: str = ""

    @property
    def id(self) -> str:
        """``<partition>-<offset>``: the name that operators use for the event."""
        return f"{self.partition}-{self.offset}"

    @property
    def size(self) -> int:
        """Bytes of key, value and headers, uncompressed."""
        headers = sum([len(name) + len(value or b"") for name, value in self.headers]) if self.headers else 0
        return len(self.key or b"") + len(self.value or b"") + headers

    @property
    def day(self) -> str:
        """The day that the event counts under. Its timestamp is the same on every replay, so counts never move."""
        return self.counted_day or _day(min(max(self.timestamp_ms, 0), LATEST_MS) // DAY_MS)

    def has_possible_time(self, now_ms: int) -> bool:
        """Whether the timestamp can be right: not before 2000 and not more than a day ahead."""
        return EARLIEST_MS <= self.timestamp_ms <= now_ms + DAY_MS

    def counted_on(self, day: str) -> SourceRecord:
        """The same record, counted under this day; empty: under the day of its timestamp."""
        return replace(self, counted_day=day) if day != self.counted_day else self

    @property
    def time(self) -> datetime:
        """The Kafka timestamp in UTC, limited to the years 1970 to 9999."""
        seconds, milliseconds = divmod(min(max(self.timestamp_ms, 0), LATEST_MS), 1000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=milliseconds * 1000)

    def header(self, name: str) -> str | None:
        """The last header of that name as text; None when absent or not UTF-8."""
        for key, value in reversed(self.headers):
            if key == name:
                try:
                    return None if value is None else value.decode()
                except UnicodeDecodeError:
                    return None
        return None


def day_of(moment_ms: int) -> str:
    """The UTC day (ISO 8601) of a time in ms since 1970."""
    return _day(moment_ms // DAY_MS)


def start_of(day: str) -> int:
    """The first moment, in ms since 1970, of a UTC day (ISO 8601).

    >>> start_of("1970-01-02")
    86400000
    """
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


def is_text(key: bytes | None) -> bool:
    """Whether a key names a consumer: it is there, and it is UTF-8."""
    try:
        return bool(key) and key is not None and bool(key.decode())
    except UnicodeDecodeError:
        return False
