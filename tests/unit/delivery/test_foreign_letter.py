"""What the headers of other programs' records say, whatever they hold."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.foreign_letter import as_new_event, claimed_letter, fits, foreign_letter, is_republished, origin_of
from app.delivery.headers import edited_headers
from app.delivery.letter_id import LetterId
from app.delivery.record import Headers, SourceRecord
from tests.unit.delivery.test_dead_letter_record import letter

NAMES = st.sampled_from(
    [
        "x-sync-source-topic",
        "x-sync-source-partition",
        "x-sync-source-offset",
        "x-sync-foreign",
        "kafka_dlt-original-topic",
        "kafka_dlt-original-partition",
        "kafka_dlt-original-offset",
        "kafka_dlt-original-consumer-group",
        "__connect.errors.exception.class.name",
        "__connect.errors.partition",
        "__streams.errors.exception",
        "other",
    ]
)
VALUES = st.none() | st.binary(max_size=12) | st.sampled_from([b"main", b"0", b"7", b"99999999999999999999"])
any_headers = st.lists(st.tuples(NAMES, VALUES), max_size=6).map(tuple)


def record(headers: Headers = (), key: bytes | None = b"c", value: bytes | None = b"v") -> SourceRecord:
    return SourceRecord("dlq", 3, 9, 1_000, key, value, headers)


@given(any_headers, st.none() | st.binary(max_size=6))
def test_no_headers_break_it(headers: Headers, key: bytes | None) -> None:
    one = record(headers, key)
    found = foreign_letter(one, 5_000)
    assert type(found).decode(found.encode()) == found
    claimed = claimed_letter(one, "main")
    assert claimed is None or (claimed.partition < 2**31 and not claimed.foreign)
    fits(one, letter(), "group")
    assert not any(name.startswith(("x-sync-", "kafka_dlt-", "__")) for name, _ in as_new_event(one))


def test_the_origin_is_read_from_our_headers_and_from_springs() -> None:
    ours = edited_headers(SourceRecord("main", 5, 26, 0, b"c", b"v"))
    assert claimed_letter(record(ours), "main") == LetterId(5, 26)
    assert claimed_letter(record(ours), "other") is None
    spring = (
        ("kafka_dlt-original-topic", b"main"),
        ("kafka_dlt-original-partition", struct.pack(">i", 5)),
        ("kafka_dlt-original-offset", struct.pack(">q", 26)),
        ("kafka_dlt-original-consumer-group", b"group"),
    )
    assert claimed_letter(record(spring), "main") == LetterId(5, 26)
    origin = origin_of(record(spring))
    assert origin is not None
    assert origin.group == "group"
    assert claimed_letter(record((("other", b"1"),)), "main") is None


def test_where_ours_are_damaged_springs_count() -> None:
    both = (("x-sync-source-topic", b"main"), ("x-sync-source-offset", b"many"))
    spring = (
        ("kafka_dlt-original-topic", b"main"),
        ("kafka_dlt-original-partition", struct.pack(">i", 5)),
        ("kafka_dlt-original-offset", struct.pack(">q", 26)),
    )
    assert claimed_letter(record((*both, *spring)), "main") == LetterId(5, 26)


@pytest.mark.parametrize(
    ("headers", "republished"),
    [
        ((), False),
        ((("ce_id", b"1"), ("__connect.errors.topic", b"main")), False),
        ((("x-sync-source-topic", None),), True),
        ((("x-sync-source-offset", b"\xff"),), True),
        ((("x-sync-attempt", b"many"), ("x-sync-redrive-count", b"1")), False),
        ((("kafka_dlt-original-topic", b"main"),), True),
        ((("kafka_dlt-original-topic", b"orders"),), False),
    ],
)
def test_what_was_a_dead_letter_of_this_topic_is_no_new_event(headers: Headers, republished: bool) -> None:
    assert is_republished(record(headers), "main") is republished


@pytest.mark.parametrize(
    ("headers", "key", "wanted"),
    [
        ((), b"c", True),
        ((), b"d", False),
        ((), None, False),
        ((), b"\xff", False),
        ((("kafka_dlt-original-consumer-group", b"group"),), b"c", True),
        ((("kafka_dlt-original-consumer-group", b"other"),), b"c", False),
        ((("x-sync-foreign", b"0-1"),), b"c", False),
    ],
)
def test_a_record_fits_a_dead_letter_of_its_key_and_group(headers: Headers, key: bytes | None, wanted: bool) -> None:
    claims = edited_headers(SourceRecord("main", 5, 26, 0, key, b"v"))
    assert fits(record((*claims, *headers), key), letter(), "group") is wanted


def test_what_other_tools_say_is_told_without_their_messages() -> None:
    connect = (
        ("__connect.errors.topic", b"orders"),
        ("__connect.errors.partition", b"2"),
        ("__connect.errors.offset", b"7"),
        ("__connect.errors.exception.class.name", b"org.apache.kafka.connect.errors.DataException"),
        ("__connect.errors.exception.message", b"Ann lives in Berlin"),
    )
    found = foreign_letter(record(connect), 5_000)
    assert found.message == "kafka-connect: org.apache.kafka.connect.errors.DataException, from orders-2-7"
    assert (found.settlement.consumer_id, found.settlement.event_id, found.place and found.place.offset) == (
        "c",
        "dlq-3-9",
        9,
    )
    assert foreign_letter(record(key=None), 5_000).has_key is False
    assert foreign_letter(record(), 5_000).message == "another program wrote it; its headers say nothing"


def test_a_message_without_a_class_is_announced_and_not_repeated() -> None:
    connect = (("__connect.errors.topic", b"orders"), ("__connect.errors.exception.message", b"Ann Lee is no number"))
    assert foreign_letter(record(connect), 5_000).message == (
        "kafka-connect: a message, which dlq show --show-values shows, from orders"
    )
    assert "no exception named" in foreign_letter(record(connect[:1]), 5_000).message
