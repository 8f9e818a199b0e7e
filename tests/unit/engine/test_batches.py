"""Fetched batches: any header name is read, and what cannot be read is reported with its offset, never skipped."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c, encode_varint
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.record import TopicPartition
from app.engine.answer_headers import look_closely, look_through
from app.engine.batches import PatientRecords, batches
from app.engine.unreadable import Batch

MAIN = TP("main", 2)
NAME, ODD, READABLE = b"odd__name", b"odd\xff\xfename", "odd\\xff\\xfename"
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def batch(first: int, count: int = 1, codec: int = 0, name: bytes = NAME) -> bytes:
    """So many records from an offset on, each with a header."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
    for number in range(count):
        builder.append(number, 1_000 + number, b"key", b"value %d" % number, [(name.decode(), b"1"), ("other", None)])
    return rehashed(struct.pack(">q", first) + bytes(builder.build())[8:])


def led(epoch: int, data: bytes) -> bytes:
    """Of the leader of an epoch; not a matter of the CRC."""
    return data[:12] + struct.pack(">i", epoch) + data[16:]


def rehashed(data: bytes) -> bytes:
    """With the CRC that belongs to its bytes."""
    return data[:17] + struct.pack(">I", calc_crc32c(data[21:])) + data[21:]


def odd(first: int, count: int = 1, codec: int = 0) -> bytes:
    """With a header name that is not UTF-8, in whichever form a codec gives it."""
    from aiokafka import codec as codecs

    plain = batch(first, count).replace(NAME, ODD)
    if codec == 0:
        return rehashed(plain)
    encode = [None, codecs.gzip_encode, codecs.snappy_encode, codecs.lz4_encode, codecs.zstd_encode][codec]
    assert encode is not None
    data = plain[:61] + encode(plain[61:])
    data = data[:8] + struct.pack(">i", len(data) - 12) + data[12:21] + struct.pack(">h", codec) + data[23:]
    return rehashed(data)


class Partition:
    """Fetches as aiokafka does: from a position on, as long as something comes."""

    def __init__(self, *data: bytes) -> None:
        self._data = [one for one in data if one]
        self.end = 1 << 62  # of the log, as its broker knows it
        self.position = 0
        self._misplaced: dict[TopicPartition, int] = {}
        self.reports: list[tuple[TopicPartition, Batch, str]] = []
        self.active = True
        self.begun: list[tuple[TopicPartition, Sequence[int]]] = []  # leader epochs

    def answer(self) -> PatientRecords:
        # From the first batch on that seems to reach so far; a broker looks for it from shortly before.
        found = [struct.unpack_from(">q", one)[0] + one_delta(one) >= self.position for one in self._data]
        data = self._data[found.index(True) :] if True in found and self.position < self.end else []
        return PatientRecords(
            lambda *report: self.reports.append(report),
            lambda *begun: self.begun.append(begun),
            self._misplaced,
            MAIN,
            batches(b"".join(data)),
            [],
            self.position,
            None,
            None,
            True,
            READ_COMMITTED,
        )

    def fetch(self) -> list[Any]:
        result = FetchResult(MAIN, assignment=self, partition_records=self.answer(), backoff=0)
        return list(result.getall(100))

    # an assignment, and its state
    def state_value(self, tp: TP) -> Partition:
        assert tp == MAIN
        return self

    paused = False

    def consumed_to(self, position: int) -> None:
        self.position = position

    def read(self) -> list[Any]:
        found: list[Any] = []
        for _ in range(20):
            before = self.position
            found += self.fetch()
            if self.position == before:
                return found
        raise AssertionError("it never comes to an end")


def one_delta(data: bytes) -> int:
    # What a broker goes by is its index, not a damaged header.
    return int(struct.unpack_from(">i", data, 23)[0]) if len(data) > 27 else 1 << 30


def offsets(records: Iterable[Any]) -> list[int]:
    return [record.offset for record in records]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_header_name_that_is_not_utf8_is_read_and_nothing_beside_it_is_lost(codec: int) -> None:
    partition = Partition(batch(0, 3, codec), odd(3, 2, codec), batch(5, 2, codec))
    records = partition.read()
    assert offsets(records) == list(range(7))
    assert records[3].headers == ((READABLE, b"1"), ("other", None))
    assert (records[3].key, records[4].value, records[4].timestamp) == (b"key", b"value 1", 1_001)
    assert records[6].headers == ((NAME.decode(), b"1"), ("other", None))
    assert partition.reports == []


def test_records_of_the_batch_that_were_read_fast_come_once() -> None:
    mixed = rehashed(batch(0, 3)[:-20] + batch(0, 3)[-20:].replace(NAME, ODD))
    assert mixed.count(ODD) == 1
    assert offsets(Partition(batch_before := mixed, batch(3)).read()) == [0, 1, 2, 3], batch_before


def test_a_batch_with_a_wrong_crc_is_reported_once_what_comes_before_it_was_read() -> None:
    damaged = bytearray(batch(3, 2))
    damaged[-4] ^= 1
    partition = Partition(batch(0, 3), bytes(damaged), batch(5))
    assert offsets(partition.read()) == [0, 1, 2]
    ((tp, found, why),) = partition.reports
    assert (tp, found) == (MAIN, Batch(3, 4, 3))
    assert "Invalid CRC" in why


def test_an_odd_name_does_not_excuse_a_wrong_crc() -> None:
    partition = Partition(batch(0).replace(NAME, ODD))
    assert partition.read() == []
    assert "Invalid CRC" in partition.reports[0][2]


@pytest.mark.parametrize("kind", [batch, odd])
def test_the_leader_epochs_of_an_answer_are_told_before_its_first_record(kind: Callable[[int], bytes]) -> None:
    partition = Partition(led(3, batch(0)), led(3, kind(1)), led(5, batch(2)), led(5, batch(3))[:-1])
    assert offsets(partition.read()) == [0, 1, 2]
    assert partition.begun[0] == (MAIN, [3, 5])


def test_an_answer_that_is_dropped_unseen_says_nothing() -> None:
    partition = Partition(led(3, batch(0)))
    partition.answer()
    assert partition.begun == []


@pytest.mark.parametrize("position", [2, 3, 4, 6])
@pytest.mark.parametrize("end", [None, -1, -50])
def test_the_quick_look_at_headers_finds_what_the_close_one_does(position: int, end: int | None) -> None:
    data = (led(3, batch(2, 2)) + led(3, batch(4)) + led(5, batch(5)) + led(5, batch(6)))[:end]
    assert look_through(data, position) == look_closely(data, position)


@pytest.mark.parametrize("magic", [0, 1])
def test_an_old_format_has_no_leader_epoch(magic: int) -> None:
    builder = LegacyRecordBatchBuilder(magic, 0, 1 << 20)
    builder.append(0, 1_000, b"key", b"value")
    assert look_through(bytes(builder.build()), 0).epochs == []


def based(offset: int, data: bytes) -> bytes:
    """With another base offset; not a matter of the CRC."""
    return struct.pack(">q", offset) + data[8:]


@pytest.mark.parametrize("wrong", [42, 2**62 + 3, 0, 1, 2, -(2**63) + 3, -1], ids=str)
def test_a_damaged_base_offset_hides_no_event(wrong: int) -> None:
    """The CRC does not cover it. The broker goes by it too: it gives the batch for other offsets, or passes it over."""
    partition = Partition(batch(0, 3), based(wrong, batch(3, 2)), batch(5), batch(6))
    partition.end = 7
    found = offsets(partition.read())
    assert found == [0, 1, 2]
    reports = [(found.position, found.last, why) for _, found, why in partition.reports]
    assert {(position, last) for position, last, _ in reports} == {(3, 4)}
    assert all("out of order" in why for *_, why in reports)
    # Still so when it is fetched again, and work goes on behind it when a person has given it up.
    assert partition.read() == []
    partition.position = 5
    partition.reports.clear()
    assert offsets(partition.read()) == [5, 6]
    assert partition.reports == []


@pytest.mark.parametrize("wrong", [4, 42])
def test_a_damaged_base_offset_of_a_batch_with_nothing_behind_it_in_the_answer(wrong: int) -> None:
    """Only the header of the next batch is there, or the next answer begins with it."""
    cut = Partition(batch(0, 3), based(wrong, batch(3)), batch(4), batch(5)[:40])
    assert offsets(cut.read()) == [0, 1, 2]
    assert cut.reports[0][1].position == 3
    last = look_through(batch(0, 3) + based(42, batch(3)), 0)
    assert (last.stop, last.at, last.base) == (len(batch(0, 3)), 3, None)


def test_the_gaps_that_compaction_leaves_are_no_damage() -> None:
    partition = Partition(batch(2, 2), batch(7), batch(9), batch(30))
    assert offsets(partition.read()) == [2, 3, 7, 9, 30]
    assert partition.reports == []
    partition.position = 3
    assert offsets(partition.read()) == [3, 7, 9, 30]
    assert partition.reports == []


def test_damage_that_the_crc_shows_is_reported_as_such_behind_a_gap_too() -> None:
    damaged = bytearray(batch(8, 2))
    damaged[-4] ^= 1
    partition = Partition(batch(0, 3), bytes(damaged), batch(10))
    assert offsets(partition.read()) == [0, 1, 2]
    assert {(found, "Invalid CRC" in why) for _, found, why in partition.reports} == {(Batch(8, 9, 3), True)}


@given(st.data())
def test_whatever_stands_in_front_of_the_crc_no_event_is_passed_over(data: st.DataObject) -> None:
    """Base offset, length, leader epoch, format."""
    damaged = bytearray(batch(3, 2))
    at = data.draw(st.integers(0, 16))
    damaged[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != damaged[at]))
    partition = Partition(batch(0, 3), bytes(damaged), batch(5), batch(6))
    found = offsets(partition.read())
    whole = [0, 1, 2, 3, 4, 5, 6]
    assert found == (whole if not partition.reports else whole[:3])
    assert partition.position == (3 if partition.reports else 7)


def patched(at: int, form: str, value: int) -> Callable[[bytes], bytes]:
    def patch(data: bytes) -> bytes:
        return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]

    return patch


def varint(value: int) -> bytes:
    found = bytearray()
    encode_varint(value, found.append)
    return bytes(found)


def with_record(content: bytes) -> Callable[[bytes], bytes]:
    """One record, whose bytes after its length are these."""

    def patch(data: bytes) -> bytes:
        body = data[:61] + varint(len(content)) + content
        return body[:8] + struct.pack(">i", len(body) - 12) + body[12:]

    return patch


HUGE = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
START = b"\0" + varint(0) + varint(0)  # attributes, timestamp, offset

DAMAGE = {
    "a negative length": patched(8, ">i", -1),
    "a very negative length": patched(8, ">i", -(2**31)),
    "no length": patched(8, ">i", 0),
    "too short for a header": patched(8, ">i", 20),
    "longer than what the broker sent": patched(8, ">i", 1 << 30),
    "ends early": lambda data: data[:-3],
    "ends in its header": lambda data: data[:30],
    "ends in its length": lambda data: data[:10],
    "too many records": patched(57, ">i", 1 << 30),
    "fewer records than there are": patched(57, ">i", 1),
    "no records": patched(57, ">i", 0),
    "less than no records": patched(57, ">i", -5),
    "an unknown codec": patched(21, ">h", 7),
    "a codec that it is not written in": patched(21, ">h", 4),
    "an old format": patched(16, ">b", 0),
    "a less old format": patched(16, ">b", 1),
    "a negative format": patched(16, ">b", -1),
    "a record longer than the batch": with_record(START + varint(3) + b"key" + varint(1 << 20) + b"v" + varint(0)),
    "a record that goes beyond its last header": with_record(
        START + varint(-1) + varint(-1) + varint(1) + varint(1) + b"a" + varint(50) + b"1"
    ),
    "a huge varint": with_record(START + HUGE + b"key"),
    "an endless varint": with_record(b"\0" + b"\xff" * 40),
    "more headers than bytes": with_record(START + varint(-1) + varint(-1) + HUGE),
    "less than no headers": with_record(START + varint(-1) + varint(-1) + varint(-1)),
    "a header without a name": with_record(START + varint(-1) + varint(-1) + varint(1) + varint(-1) + varint(-1)),
}


# Their records are whole, and no offset is left over.
HARMLESS = ("too many records",)
# aiokafka's compiled reader goes by the format of the first batch of an answer.
FORMATS = ("an old format", "a less old format", "a negative format")


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("behind", [b"", batch(9, 1)], ids=["the last one", "in front of a good one"])
@pytest.mark.parametrize("before", [b"", batch(0, 3)], ids=["the first one", "behind a good one"])
def test_what_makes_no_sense_is_reported_and_neither_skipped_nor_read_for_ever(
    name: str, before: bytes, behind: bytes
) -> None:
    damaged = DAMAGE[name](batch(3, 2))
    partition = Partition(before, rehashed(damaged) if len(damaged) > 61 else damaged, behind)
    partition.position = 0 if before else 3
    good = [0, 1, 2] if before else []
    found = offsets(partition.read())
    if name in HARMLESS or (before and name in FORMATS):
        assert found == [*good, 3, 4] + [9] * bool(behind)
    else:
        assert found in (good, [*good, 3]), "something was read behind it"
        assert [(tp, batch.position) for tp, batch, _ in partition.reports] == [(MAIN, 3 + len(found) - len(good))]


@given(st.data())
def test_whatever_the_bytes_are_reading_ends(data: st.DataObject) -> None:
    damaged = bytearray(batch(3, 2) + batch(5, 2))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(8, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    partition = Partition(batch(0, 3), rehashed(bytes(damaged)))
    partition.position = 3
    partition.fetch()
