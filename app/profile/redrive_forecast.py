"""What a redrive of one dead letter would do now, from its bytes and its consumer's record. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from app.delivery.consumer_record import ConsumerState
from app.delivery.outcome import UNKNOWN_MARKET, InvalidEvent
from app.delivery.record import SourceRecord
from app.profile.entities import Catalog
from app.profile.event import ProfileEvent
from app.profile.event_reader import read_event
from app.profile.supersedes import Superseded, what_is_left


class Fate(StrEnum):
    """What would happen."""

    SEND = "send"
    SUPERSEDED = "superseded"
    INVALID = "still invalid"
    VALUE_GONE = "value gone"
    UNDER_WAY = "already under way"
    NEW_EVENT = "new event"  # of a record that another program wrote


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would happen to a dead letter, and why; ``detail`` quotes no values."""

    fate: Fate
    detail: str = ""


def forecast(record: SourceRecord | None, state: ConsumerState | None, catalog: Catalog, *, force: bool) -> Forecast:
    """What would happen to a dead letter that is open and has not begun.

    Args:
        record: the event at its position in the main topic; None: its bytes are gone.
        catalog: of all markets.
        force: it runs even if a later state was written.
    """
    if record is None:
        return Forecast(Fate.VALUE_GONE, "it can only be discarded")
    try:
        event = read_event(record, catalog, UNKNOWN_MARKET if state is None else state.market)
    except InvalidEvent as invalid:
        return Forecast(Fate.INVALID, f"{invalid.entry.code}: {invalid.message}")
    if force:
        return Forecast(Fate.SEND, f"{event.operation.value}, whatever was written later")
    tables = catalog.of_market(event.market) or catalog
    left = what_is_left(event, record.offset, state, tables)
    if isinstance(left, Superseded):
        return Forecast(Fate.SUPERSEDED, left.message)
    return Forecast(Fate.SEND, event.operation.value + _without(event, left))


def _without(event: ProfileEvent, left: ProfileEvent) -> str:
    gone: Counter[str] = Counter()
    for entity, rows in event.entities.items():
        gone[entity.value] = len(rows) - len(left.entities.get(entity, ()))
    named = ", ".join(f"{number} {entity}" for entity, number in sorted(gone.items()) if number)
    return f" without rows that were deleted since: {named}" if named else ""
