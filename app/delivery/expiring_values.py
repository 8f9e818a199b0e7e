"""Values of open dead letters that Kafka's retention may delete soon. Pure.

A dead letter without its value can only be discarded, so people are told while they can still redrive it.
``retention.bytes`` is not judged: when it deletes a record depends on what is written later.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.delivery.record import DAY_MS, day_of

# Two weeks, so that a holiday fits in.
WARN_MS = 14 * DAY_MS


@dataclass(frozen=True, slots=True)
class ExpiringValues:
    """Open dead letters whose values a topic may lose within ``WARN_MS``.

    ``first_ms``: Kafka may delete the oldest of these values from this time on. It may be past: Kafka deletes whole
    segments, so a value may stay longer.
    """

    topic: str
    letters: int
    first_ms: int

    @property
    def text(self) -> str:
        """How many, from which topic, and from which day on."""
        day = day_of(self.first_ms)
        if self.letters == 1:
            return f"Kafka may delete the value of 1 open dead letter from {self.topic} from {day} on"
        values = f"the values of {self.letters:,} open dead letters"
        return f"Kafka may delete {values} from {self.topic}, the first from {day} on"

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return f"Redrive or discard {'it' if self.letters == 1 else 'them'}, or raise retention.ms of {self.topic}."


def warned_before(retention_ms: int, now_ms: int) -> int | None:
    """Kafka may delete records from before this time within ``WARN_MS``; None: it deletes none because of their age.

    Args:
        retention_ms: of the topic; negative: unlimited.
    """
    return None if retention_ms < 0 else now_ms + WARN_MS - retention_ms


def expiring(topic: str, retention_ms: int, older: tuple[int, int | None]) -> ExpiringValues | None:
    """What people are told of one topic; None: nothing.

    Args:
        older: the number of open dead letters whose values are from before ``warned_before``, and the time of the
            oldest value.
    """
    letters, oldest_ms = older
    return None if oldest_ms is None else ExpiringValues(topic, letters, oldest_ms + retention_ms)
