"""The consumers of all partitions whose last event ended with one outcome, in pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from app.delivery.consumer_record import ConsumerState, RecentEvent
from app.delivery.outcome import Outcome
from app.readmodels.cursors import decode_place, encode_place
from app.readmodels.store import Store

MOST_LISTED = 1_000
PAGE = 50

# How a page is ordered, all descending.
_ORDER = ("settled", "partition", "version")
# A record counts if its partition has none of a higher epoch, and no other partition's record that counts is newer. Of
# two that are equally new the one of the lower partition counts, as in ``consumer_view``.
_ENDED = """
SELECT settled, partition, version, consumer_id, value FROM consumers AS mine INDEXED BY consumers_ended
WHERE outcome = :outcome AND settled >= :since AND (settled, partition, version) < (:settled, :partition, :version)
AND NOT EXISTS (
    SELECT 1 FROM consumers AS later WHERE later.consumer_id = mine.consumer_id AND (
        (later.partition = mine.partition AND later.epoch > mine.epoch)
        OR (
            later.partition <> mine.partition
            AND (later.settled, -later.partition) > (mine.settled, -mine.partition)
            AND NOT EXISTS (
                SELECT 1 FROM consumers AS newest WHERE newest.consumer_id = later.consumer_id
                AND newest.partition = later.partition AND newest.epoch > later.epoch
            )
        )
    )
)
ORDER BY settled DESC, partition DESC, version DESC LIMIT :rows
"""
# No place of a page is behind it.
_FIRST = (2**63 - 1, 2**63 - 1, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class EndedConsumer:
    """A consumer and its event that was settled last."""

    consumer_id: str
    market: str
    last: RecentEvent


@dataclass(frozen=True, slots=True)
class ConsumerPage:
    """``next``: the cursor of the next page; None: this is the last one."""

    items: tuple[EndedConsumer, ...]
    next: str | None = None


class ConsumerIndex:
    """Every method raises ``ReadModelUnavailable`` while the file is being replaced. Asked from any thread.

    Args:
        ask: runs a function on the open store; raises ReadModelUnavailable when the file cannot be read.
    """

    def __init__(self, ask: Callable[[Callable[[Store], Any]], Any]) -> None:
        self._ask = ask

    def ended(
        self, outcome: Outcome, since_ms: int | None = None, *, limit: int = PAGE, cursor: str | None = None
    ) -> ConsumerPage:
        """The consumers whose last event ended with an outcome, the newest one first.

        A page that begins at a cursor repeats none of the pages before. A cursor holds for any ``since_ms``.

        Args:
            since_ms: the last event was settled at this time or later.

        Raises:
            CursorError: ``cursor`` is not one that a page of this outcome gave.
            ReadModelUnavailable: the file is being replaced.
        """
        after = _FIRST if cursor is None else decode_place(cursor, outcome.value, len(_ORDER))
        values = {
            **dict(zip(_ORDER, after, strict=True)),
            "outcome": outcome.value,
            "since": since_ms or 0,
            "rows": limit + 1,
        }
        rows: list[Any] = self._ask(lambda store: store.rows(_ENDED, values))
        items = [_ended(consumer_id, value) for *_, consumer_id, value in rows[:limit]]
        following = encode_place(rows[limit - 1][: len(_ORDER)], outcome.value) if len(rows) > limit else None
        return ConsumerPage(tuple(items), following)

    def ended_names(self, outcome: Outcome, since_ms: int | None = None) -> list[str]:
        """Every consumer whose last event ended with an outcome, as in ``ended``."""
        page = self.ended(outcome, since_ms, limit=MOST_LISTED)
        names = [one.consumer_id for one in page.items]
        while page.next is not None:
            page = self.ended(outcome, since_ms, limit=MOST_LISTED, cursor=page.next)
            names += [one.consumer_id for one in page.items]
        return names

    def of_event(self, event_id: str) -> list[str]:
        """The consumers that have an event ID among their recent events. Reads every record: a second or more per
        million."""
        try:
            part = orjson.dumps(event_id)
        except orjson.JSONEncodeError:  # half a surrogate pair: no event is called so
            return []
        rows: list[Any] = self._ask(
            lambda store: store.rows("SELECT consumer_id, value FROM consumers WHERE instr(value, ?) > 0", (part,))
        )
        return sorted(
            {name for name, value in rows if event_id in (one.event_id for one in ConsumerState.decode(value).recent)}
        )


def _ended(consumer_id: str, value: bytes) -> EndedConsumer:
    state = ConsumerState.decode(value)
    assert state.last is not None  # the table says how it ended
    return EndedConsumer(consumer_id, state.market, state.last)
