"""The records of the state topic as a take-over finds them.

Others may write to the topic. A record that is not ours is logged and left alone. A record that should be ours and
cannot be read stops the worker: without it, settled events would run again.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog

from app.delivery.closed_days import parse_document_key
from app.delivery.partition_record import PartitionState
from app.delivery.record_format import StateError, parse_partition_key, partition_key, unreadable_record
from app.delivery.state_fields import LARGEST
from app.engine.context import EngineStopped

log = structlog.get_logger(__name__)


class StateRecords:
    """The records in the state table, by partition.

    Args:
        table: the state table's memory, key and value as in the state topic.
    """

    def __init__(self, table: MutableMapping[bytes, bytes], topic: str) -> None:
        self._table = table
        self._topic = topic
        self._places: dict[Any, tuple[int, int]] = {}

    def note(self, events: Iterable[Any]) -> None:
        """Remember the positions of records (Faust's events) that the table is about to take in."""
        for event in events:
            message = event.message
            self._places[message.key] = message.partition, message.offset

    def of(self, number: int) -> tuple[dict[int, bytes], set[bytes]]:
        """A partition's records by epoch, and the keys of its closed days."""
        found: dict[int, bytes] = {}
        documents: set[bytes] = set()
        for key, value in list(self._table.items()):
            if (parts := self._parts(key)) is None or parts[0] != number:
                continue
            if parts[1] is None:
                documents.add(key)
            else:
                found[parts[1]] = value
        return found, documents

    def newest(self, number: int) -> tuple[int, PartitionState | None]:
        """The record that counts for a partition, with its epoch; (-1, None): there is none.

        Raises:
            EngineStopped: it cannot be read, or no owner could write a newer one.
        """
        records, _ = self.of(number)
        if not records:
            return -1, None
        epoch = max(records)
        if epoch >= LARGEST:
            raise self._refused(number, epoch, "its epoch is the last that there is, so no owner could write after it")
        try:
            return epoch, PartitionState.decode(records[epoch])
        except StateError as error:
            raise self._refused(number, epoch, str(error)) from None

    def tell_others(self) -> None:
        """Log which records are not ours."""
        keys = [key for key in list(self._table) if self._parts(key) is None]
        for key in keys:
            partition, offset = self._places.get(key, (None, None))
            log.warning(
                "a record of the state topic has no key of ours; it is left alone",
                topic=self._topic,
                partition=partition,
                offset=offset,
            )

    def _parts(self, key: Any) -> tuple[int, int | None] | None:
        """(partition, epoch) of a record's key; the epoch is None for a document. None: the key is not ours."""
        if not isinstance(key, bytes):
            return None
        if (document := parse_document_key(key)) is not None:
            number, epoch = document[0], None
        else:
            try:
                number, epoch = parse_partition_key(key)
            except StateError:
                return None
        place = self._places.get(key)
        return (number, epoch) if place is None or place[0] == number else None

    def _refused(self, number: int, epoch: int, reason: str) -> EngineStopped:
        key = partition_key(number, epoch)
        _, offset = self._places.get(key, (number, None))
        return EngineStopped(unreadable_record(self._topic, number, key.decode(), offset, reason))
