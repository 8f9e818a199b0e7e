"""How fetched batches are read: first by the fast reader, then by a tolerant one where the fast reader fails.

aiokafka's compiled reader is strict: it fails at a header name that is not UTF-8, which Kafka accepts. Such a batch is
read by aiokafka's Python reader, here with names that show odd bytes as ``\\xff``. A batch that this reader cannot read
either is reported with its offset. It is not skipped: the records before it are handed over, and reading stops.

Written against aiokafka 0.14.0, pinned. Overridden: ``PartitionRecords.__next__``, whose generator cannot go on after
an error; and ``_maybe_uncompress`` and ``_read_msg`` of the Python reader, for names and bounds.
"""

from __future__ import annotations

import struct
import types
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, SupportsIndex

from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException, KafkaError
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.legacy_records import _LegacyRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint_py

from app.delivery.record import TopicPartition
from app.engine.answer_headers import HEADER, OVERHEAD, look_through
from app.engine.unreadable import Batch

# A batch begins with its base offset and its length.
_OVERHEAD = struct.Struct(">qi")
_MAGIC = 16  # where the format's number stands, in every format
_SMALLEST = {0: 26, 1: 34, 2: 61}  # format -> bytes of a batch without content

# Partition, damaged batch, what is wrong with it. May raise an error that ends the worker.
Report = Callable[[TopicPartition, Batch, str], None]

# Partition, leader epochs of an answer's batches without repetitions. Called before the answer's first record.
Begin = Callable[[TopicPartition, Sequence[int]], None]


def read_patiently(fetcher: Any, report: Report, begin: Begin) -> None:
    """Have this fetcher, and no other one, use the classes of this module for fetched records."""
    fetch = type(fetcher)._proc_fetch_request
    names = {
        **fetch.__globals__,
        "MemoryRecords": batches,
        "PartitionRecords": partial(PatientRecords, report, begin, {}),
    }
    fetcher._proc_fetch_request = types.MethodType(types.FunctionType(fetch.__code__, names), fetcher)


class FastBatches(MemoryRecords):  # type: ignore[misc]
    """The batches of an answer as the compiled reader returns them. ``data``: the bytes of the answer."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


def batches(data: bytes) -> FastBatches | SlowBatches:
    """The batches of an answer.

    A broker sends the first batch complete, however large it is (KIP-74). So a first batch that seems to be longer than
    the answer is damaged. aiokafka would consider it too large, and skip an offset.
    """
    fast = FastBatches(data)
    return fast if fast.has_next() or not data else SlowBatches(data, 0)


class SlowBatches:
    """The batches of an answer, read in Python, without those that were read already, below ``position``.

    ``first``: the first batch of the rest.
    """

    def __init__(self, data: bytes, position: int) -> None:
        self.data, self._at = data, 0
        while self._was_read(position):
            self._at = self._end()
        self.first = batch_at(data, self._at)

    def _was_read(self, position: int) -> bool:
        last = batch_at(self.data, self._at).last
        if last is None or last >= position or not self._whole():
            return False
        # The header of a damaged batch may be wrong.
        batch = memoryview(self.data)[self._at : self._end()]
        return batch[_MAGIC] == 2 and len(batch) >= _SMALLEST[2] and PatientBatch(batch).validate_crc()

    def size_in_bytes(self) -> int:
        return len(self.data)

    def has_next(self) -> bool:
        """Whether there is another batch. A broker may cut off the last of several, but not the first."""
        return self._whole() or (self._at == 0 and bool(self.data))

    def next_batch(self) -> Any:
        if not self._whole():
            raise CorruptRecordException("its length is impossible")
        data = memoryview(self.data)[self._at : self._end()]
        magic = data[_MAGIC]
        if len(data) < _SMALLEST.get(magic, 0):
            raise CorruptRecordException("its length is impossible")
        self._at += len(data)
        if magic == 2:
            return PatientBatch(data)
        if magic > 2:
            raise CorruptRecordException(f"its format {magic} is not known")
        return _LegacyRecordBatchPy(data, magic)

    def _end(self) -> int:
        return self._at + _OVERHEAD.size + int(_OVERHEAD.unpack_from(self.data, self._at)[1])

    def _whole(self) -> bool:
        if len(self.data) - self._at <= _MAGIC:
            return False
        return self._at + _MAGIC < self._end() <= len(self.data)


def batch_at(data: bytes, at: int) -> Batch:
    """The offsets of the batch at byte ``at`` of the answer, as far as its header names them."""
    if len(data) - at < HEADER.size:
        return Batch()
    first, _, _, magic, delta = HEADER.unpack_from(data, at)
    if magic < 2:
        return Batch(first, first)
    return Batch(first, first + delta) if delta >= 0 else Batch(first)


def last_of(data: bytes, first: int) -> int | None:
    """The last offset of the batch at the start of these bytes, if its first one is ``first``; None: not known."""
    whole = data[: OVERHEAD + int(HEADER.unpack_from(data)[1])]
    if whole[_MAGIC : _MAGIC + 1] != b"\2" or len(whole) < _SMALLEST[2] or not PatientBatch(whole).validate_crc():
        return None
    return first + int(HEADER.unpack_from(whole)[4])


class _Lenient(bytearray):
    """Bytes whose slices can all be decoded."""

    def __getitem__(self, at: SupportsIndex | slice) -> Any:
        found = super().__getitem__(at)
        return _Lenient(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return super().decode(encoding, "backslashreplace" if errors == "strict" else errors)


class PatientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """A batch whose header names can all be read.

    >>> _Lenient(b"a\\xff")[0:2].decode()
    'a\\\\xff'
    """

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        if not isinstance(self._buffer, _Lenient):
            self._buffer: bytearray = _Lenient(self._buffer)

    def _read_msg(self) -> Any:
        # The compiled varint decoder accepts no subclass of bytearray, and does not check where the bytes end.
        record = super()._read_msg(decode_varint_py)
        if self._pos > len(self._buffer):
            raise CorruptRecordException("a record is longer than its batch")
        return record


class PatientRecords(PartitionRecords):  # type: ignore[misc]
    """The records that were fetched from one partition.

    Args:
        misplaced: partition -> offset at which a batch with a base offset out of order begins. Shared by all
            partitions.
    """

    def __init__(
        self,
        report: Report,
        begin: Begin,
        misplaced: dict[TopicPartition, int],
        tp: TopicPartition,
        records: FastBatches | SlowBatches,
        aborted: Any,
        at: int,
        *more: Any,
    ) -> None:
        super().__init__(tp, records, aborted, at, *more)
        self._records: FastBatches | SlowBatches = records
        # Not in ``__next__``, which runs for every record.
        self._records_iterator: Iterator[Any] = iter(self._first, None)
        self._report = report
        self._begin = begin
        self._misplaced = misplaced
        self._fetched_at = at
        self._out_of_order: tuple[Batch, str] | None = None  # the batch behind these records

    def _first(self) -> Any:
        """The first record. Only now is it certain that these records are read: a seek may drop them before."""
        if isinstance(self._records, FastBatches):
            self._look_through(self._records.data)
        self._records_iterator = self._unpack_records()
        return next(self)

    def _look_through(self, data: bytes) -> None:
        """Leave out the batches whose base offset is out of order."""
        tp, at = (self._tp.topic, self._tp.partition), self._fetched_at
        headers = look_through(data, at)
        if headers.base is not None and headers.stop is not None:
            last = last_of(data[headers.stop :], headers.at)
            batch = Batch(position=headers.at) if last is None else Batch(headers.at, last, headers.at)
            self._out_of_order = batch, f"base offset {headers.base} is out of order"
        elif headers.first is not None and headers.first != at == self._misplaced.get(tp):
            # The batch's base offset is too low, so the broker now passes over it.
            headers.stop = headers.start
            last = headers.first - 1 if headers.first > at else last_of(data[headers.start :], at)
            self._out_of_order = Batch(at, last, at), "its base offset is out of order"
        else:
            self._misplaced.pop(tp, None)
        if headers.start or headers.stop is not None:
            self._records = FastBatches(data[headers.start : headers.stop])
        if headers.epochs:
            self._begin(tp, headers.epochs)

    def __next__(self) -> Any:
        try:
            return next(self._records_iterator)
        except StopIteration:
            self._records_iterator = iter(())
            if self._out_of_order is not None:
                self._tell_out_of_order(*self._out_of_order)
            raise
        except Exception as error:  # of any kind: codecs, lengths, names
            if isinstance(self._records, FastBatches):
                return self._once_more(self._records.data)
            raise self._given_up(error) from error

    def _tell_out_of_order(self, batch: Batch, why: str) -> None:
        """Report it now: if the base offset is too low, the next fetch does not return the batch."""
        self._out_of_order = None
        if self.next_fetch_offset == batch.position:
            tp = self._tp.topic, self._tp.partition
            self._misplaced[tp] = batch.position
            self._report(tp, batch, why)

    def _once_more(self, data: bytes) -> Any:
        self._records = SlowBatches(data, self.next_fetch_offset)
        # What is known of aborted transactions stays. Reading the current batch again does not change it.
        self._records_iterator = self._unpack_records()
        return next(self)

    def _given_up(self, error: Exception) -> StopIteration:
        """Stop in front of the damaged batch. The next fetch begins with that batch, and reports it."""
        self._records_iterator = iter(())
        at = self.next_fetch_offset
        if at == self._fetched_at:
            what = str(error) if isinstance(error, KafkaError) else repr(error)
            self._report((self._tp.topic, self._tp.partition), self._records.first.at(at), what)
        return StopIteration()
