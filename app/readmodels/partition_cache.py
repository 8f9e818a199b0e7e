"""The partition records that count, decoded once and shared by all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import structlog

from app.delivery.closed_days import decode_document, document_keys
from app.delivery.counts import Counts, added
from app.delivery.partition_record import PartitionState
from app.delivery.record_format import StateError
from app.readmodels.store import Store

log = structlog.stdlib.get_logger(__name__)


class Ask(Protocol):
    """Runs a query against a store; raises ``ReadModelUnavailable`` when the file cannot be read."""

    def __call__(self, store: Store, query: Callable[[], Any], /) -> Any:
        """The query's answer."""


@dataclass(frozen=True, slots=True)
class _DecodedRecord:
    """``version``: the record's offset, -1 to look again at the next call. ``state``: None for an unreadable record."""

    epoch: int
    version: int
    state: PartitionState | None


class PartitionCache:
    """Decodes a partition record only when it has changed, and adds the counts of its closed days.

    Args:
        ask: runs a query against the store.
        unreadable: called for every record that cannot be decoded.
    """

    def __init__(self, ask: Ask, unreadable: Callable[[], None]) -> None:
        self._ask = ask
        self._count_unreadable = unreadable
        self._decoded: dict[int, _DecodedRecord] = {}
        self._closed: dict[int, tuple[frozenset[bytes], Counts]] = {}
        self._lock = threading.Lock()

    def all_readable(self) -> bool:
        """Whether every record that counts could be decoded."""
        with self._lock:
            return all(decoded.state is not None for decoded in self._decoded.values())

    def records(self, store: Store) -> dict[int, PartitionState]:
        """The record of every partition, without those that cannot be read. Callers share the values.

        Raises:
            ReadModelUnavailable: the file cannot be read.
        """
        newest = self._ask(store, store.partition_versions)
        with self._lock:
            for partition, epoch, version in newest:
                before = self._decoded.get(partition)
                if before is None or (before.epoch, before.version) != (epoch, version):
                    self._decoded[partition] = self._decode(store, partition, epoch, version)
            for partition in self._decoded.keys() - {partition for partition, _, _ in newest}:
                del self._decoded[partition]
            return {p: decoded.state for p, decoded in self._decoded.items() if decoded.state is not None}

    def _decode(self, store: Store, partition: int, epoch: int, version: int) -> _DecodedRecord:
        found = self._ask(store, lambda: store.partition_value(partition, epoch))
        if found is None:  # the record was replaced between the two queries; the next call sees the new one
            return _DecodedRecord(epoch, -1, None)
        try:
            state = PartitionState.decode(found[1])
            state.counts = added(self._closed_days(store, partition, state), state.counts)
            return _DecodedRecord(epoch, found[0], state)
        except StateError as error:
            now = self._ask(store, lambda: store.partition_value(partition, epoch))
            if now is None or now[0] != found[0]:  # replaced in the meantime, together with a document of closed days
                return _DecodedRecord(epoch, -1, None)
            log.error(
                "the record of a partition cannot be read, so the counts are not complete",
                partition=partition,
                epoch=epoch,
                offset=version,
                reason=str(error),
            )
            self._count_unreadable()
            return _DecodedRecord(epoch, found[0], None)

    def _closed_days(self, store: Store, partition: int, state: PartitionState) -> Counts:
        """The counts in the record's documents of closed days, decoded again only when it names other documents."""
        keys = frozenset(document_keys(partition, state))
        before = self._closed.get(partition)
        if before is not None and before[0] == keys:
            return before[1]
        closed: Counts = {}
        for key in keys:
            value = self._ask(store, partial(store.document, key))
            if value is None:
                raise StateError("a document of closed days is missing")
            closed |= decode_document(value)
        self._closed[partition] = keys, closed
        return closed
