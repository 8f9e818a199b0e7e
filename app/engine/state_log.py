"""Where the durable record of a partition is written: the state topic, and the memory of the table that Faust fills
from it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from app.delivery.partition_record import PartitionState
from app.delivery.record_format import partition_key
from app.kafka.durable_producer import DurableProducer, Write


class StateLog:
    """The records of one partition in the state topic, as one owner writes them.

    Args:
        table: the state table's memory, kept equal to the topic.
    """

    def __init__(
        self, partition: int, epoch: int, producer: DurableProducer, topic: str, table: MutableMapping[bytes, bytes]
    ) -> None:
        self.partition = partition
        self.epoch = epoch
        self._producer = producer
        self._topic = topic
        self._table = table

    def read(self, key: bytes) -> bytes | None:
        """The value of a record; None: there is none."""
        return self._table.get(key)

    async def write_state(self, state: PartitionState) -> None:
        """Write the partition record; returns when it is acknowledged."""
        await self.write({partition_key(self.partition, self.epoch): state.encode()})

    async def write(self, records: Mapping[bytes, bytes | None]) -> None:
        """Write records by key, None removing one; returns when they are acknowledged."""
        await self._producer.write(Write(self._topic, self.partition, k, v) for k, v in records.items())
        for key, value in records.items():
            if value is None:
                self._table.pop(key, None)
            else:
                self._table[key] = value
