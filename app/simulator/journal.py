"""The journal of calls: one entry per SOAP call and data extension, in the order in which the calls took effect."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Literal

import orjson

from app.simulator.filters import Row

# The most calls to keep; the oldest are dropped. Each takes about 0.5 kB with the rows of a small data extension.
KEPT_CALLS = 1_000_000

Status = Literal["ok", "error", "fault", "dropped"]


@dataclass(slots=True)
class Call:
    """One call. `at`: UNIX time in seconds. `rows`: JSON of the rows sent. `ms`: set when the answer is given."""

    seq: int
    at: float
    operation: str
    data_extension: str | None
    consumer_id: str | None
    status: Status
    ms: float
    rows: bytes

    def as_json(self, with_rows: bool) -> bytes:
        at = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        document: dict[str, object] = {
            "seq": self.seq,
            "at": at,
            "operation": self.operation,
            "dataExtension": self.data_extension,
            "consumerId": self.consumer_id,
            "status": self.status,
            "ms": round(self.ms, 3),
        }
        if with_rows:
            document["rows"] = orjson.Fragment(self.rows)
        return orjson.dumps(document)


def _compact(rows: Sequence[Row]) -> bytes:
    # The bytes that orjson returns keep its whole write buffer (kilobytes) alive; a copy takes only what is needed.
    return memoryview(orjson.dumps(list(rows))).tobytes() if rows else b"[]"


class CallJournal:
    """The last KEPT_CALLS calls. Sequence numbers are unique until clear()."""

    def __init__(self, kept: int = KEPT_CALLS) -> None:
        self._kept = kept
        self._calls: deque[Call] = deque()
        # The calls of one consumer are looked up far more often than all calls; these lists share the deque's entries.
        self._by_consumer: dict[str, list[Call]] = {}
        self._last_seq = 0
        self.by_operation: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def total(self) -> int:
        """Calls since the start or the last clear(), kept or not."""
        return self._last_seq

    def record(
        self,
        at: float,
        operation: str,
        data_extension: str | None,
        consumer_id: str | None,
        status: Status,
        rows: Sequence[Row] = (),
    ) -> Call:
        """Adds a call. settle() can correct its status and `ms` later."""
        self._last_seq += 1
        call = Call(self._last_seq, at, operation, data_extension, consumer_id, status, 0.0, _compact(rows))
        self._calls.append(call)
        if consumer_id is not None:
            self._by_consumer.setdefault(consumer_id, []).append(call)
        self.by_operation[operation] += 1
        self.by_status[status] += 1
        if len(self._calls) > self._kept:
            self._forget_oldest()
        return call

    def settle(self, calls: Iterable[Call], ms: float, status: Status | None = None) -> None:
        """Notes how long calls took and, if it changed after they took effect, their status."""
        for call in calls:
            call.ms = ms
            if status is not None and status != call.status:
                self.by_status[call.status] -= 1
                self.by_status[status] += 1
                call.status = status

    def calls(self, consumer: str | None = None, since: int = 0, limit: int | None = None) -> Iterator[Call]:
        """Oldest first; `since` is exclusive."""
        if consumer is None:
            first = self._calls[0].seq if self._calls else 1
            selected: Iterator[Call] = islice(self._calls, max(0, since + 1 - first), None)
        else:
            selected = (call for call in self._by_consumer.get(consumer, ()) if call.seq > since)
        return islice(selected, limit)

    def clear(self) -> None:
        self._calls.clear()
        self._by_consumer.clear()
        self._last_seq = 0
        self.by_operation.clear()
        self.by_status.clear()

    def _forget_oldest(self) -> None:
        oldest = self._calls.popleft()
        if oldest.consumer_id is not None:
            of_consumer = self._by_consumer[oldest.consumer_id]
            of_consumer.pop(0)
            if not of_consumer:
                del self._by_consumer[oldest.consumer_id]
