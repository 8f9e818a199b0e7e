"""The consumer record: a consumer's last outcomes on one partition, and the state that older events must not undo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from app.delivery import state_fields as fields
from app.delivery.record_format import FORMAT, MALFORMED, StateError, malformed, state_document
from app.delivery.state_fields import key_number, number, text
from app.delivery.value_class import value_class


@value_class(frozen=True, slots=False)  # orjson writes objects with slots at a fifth of the speed
class RecentEvent:
    """One line of a consumer's history.

    ``entity``: what failed; empty if nothing did, and in records of older programs.
    """

    event_id: str
    operation: str
    outcome: str
    reason: str | None
    attempts: int
    settled_ms: int
    entity: str = ""


@value_class(frozen=True, slots=False)
class FullState:
    """The last event that stated everything about the consumer and reached Marketing Cloud.

    ``market`` is empty in records of older programs.
    """

    offset: int
    operation: str
    event_id: str
    market: str = ""


@dataclass(frozen=True, slots=True)
class DeletedRow:
    """A row that a settled DELETE of single rows removed.

    ``place``: the digest of the place that held the row (``row_list.py``), because markets may have their own data
    extensions. It is empty in records of older programs: the row may have been anywhere.
    """

    offset: int
    entity: str
    key: tuple[str, ...]
    place: str = ""


@value_class(frozen=True, slots=True)
class ConsumerState:
    """What is known of one consumer on one partition: identifiers, outcomes and digests, no personal data.

    ``deleted``: rows that were deleted after ``full``, as many as are remembered. ``deleted_forgotten``: the offset of
    the last DELETE whose rows are not all remembered; -1: all are. ``rows``: the list of the rows that should be held
    (``row_list.py``); empty: not known. ``erased``: the offset of the last settled DELETE of the profile; values of
    older dead letters are not shown. ``mended_ms``: when a repair found or made the rows right after the last settled
    event; None: no repair did.
    """

    offset: int
    market: str
    recent: tuple[RecentEvent, ...] = ()
    synced_ms: int | None = None
    full: FullState | None = None
    deleted: tuple[DeletedRow, ...] = ()
    deleted_forgotten: int = -1
    rows: str = ""
    erased: int = -1
    mended_ms: int | None = None

    @property
    def last(self) -> RecentEvent | None:
        """The event that was settled last."""
        return max(self.recent, key=lambda event: event.settled_ms, default=None)

    def encode(self) -> bytes:
        """JSON; orjson writes the dataclasses inside as objects."""
        document: dict[str, Any] = {
            "v": FORMAT,
            "offset": self.offset,
            "market": self.market,
            "recent": self.recent,
            "synced_ms": self.synced_ms,
            "full": self.full,
            "deleted": self.deleted,
            "deleted_forgotten": self.deleted_forgotten,
        }
        if self.rows:
            document["rows"] = self.rows
        if self.erased >= 0:
            document["erased"] = self.erased
        if self.mended_ms is not None:
            document["mended_ms"] = self.mended_ms
        return orjson.dumps(document)

    @classmethod
    def decode(cls, value: bytes) -> ConsumerState:
        """Read what ``encode`` wrote.

        Raises:
            StateError: not a consumer record, or one of a newer program.
        """
        document = state_document(value, "consumer")
        try:
            return cls._of(document)
        except MALFORMED as error:
            raise malformed("consumer", error) from None

    @classmethod
    def _of(cls, document: dict[str, Any]) -> ConsumerState:
        deleted = document.get("deleted")
        return cls(
            offset=number(document["offset"]),
            market=text(document["market"]),
            recent=tuple(fields.entries(document["recent"], _recent)),
            synced_ms=fields.optional(document["synced_ms"], fields.moment),
            full=_full(full) if (full := document["full"]) else None,
            deleted=tuple(fields.entries(deleted, _deleted_row)) if deleted else (),
            deleted_forgotten=number(document.get("deleted_forgotten", -1), -1),
            rows=text(document.get("rows", "")),
            erased=number(document.get("erased", -1), -1),
            mended_ms=fields.optional(document.get("mended_ms"), fields.moment),
        )


def _recent(document: Any) -> RecentEvent:
    event = RecentEvent(**document)
    text(event.event_id), text(event.operation), text(event.outcome), fields.moment(event.settled_ms)
    text(event.entity)
    if event.reason is not None:
        text(event.reason)
    number(event.attempts)
    return event


def _full(document: Any) -> FullState:
    full = FullState(**document)
    number(full.offset), text(full.operation), text(full.event_id), text(full.market)
    return full


def _deleted_row(document: Any) -> DeletedRow:
    key = tuple(fields.entries(document["key"], text))
    return DeletedRow(number(document["offset"]), text(document["entity"]), key, text(document.get("place", "")))


def consumer_key(partition: int, epoch: int, consumer_id: str) -> bytes:
    """Key of a consumer record."""
    return f"{partition}|{epoch}|{consumer_id}".encode()


def parse_consumer_key(key: bytes) -> tuple[int, int, str]:
    """(partition, epoch, consumer ID) of a consumer record's key.

    Raises:
        StateError: not the key of a consumer record.
    """
    try:
        partition, epoch, consumer_id = key.decode().split("|", 2)
        return key_number(partition), key_number(epoch), consumer_id
    except ValueError:
        raise StateError("not the key of a consumer record") from None
