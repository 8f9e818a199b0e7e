"""Headers of retry and dead-letter records: readable by us, by other tools, and large enough for nothing bad."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.headers import (
    MESSAGE_BYTES,
    Failing,
    NotOurCopy,
    cut,
    dead_letter_headers,
    our_headers,
    retry_headers,
    source_of,
)
from app.delivery.record import Headers, SourceRecord

RECORD = SourceRecord("profiles", 3, 42, 1_700_000_000_123, b"c1", b"{}", (("ce_id", b"x"), ("odd", None)))
MARK = "m1"
FAILING = Failing("e1", 2, 500, 100, 400, "CMT-TIMEOUT", "no answer")

_headers = st.lists(
    st.tuples(st.text(max_size=20).filter(lambda name: not name.startswith("x-sync-")), st.none() | st.binary()),
    max_size=5,
).map(tuple)


@given(_headers, st.none() | st.binary(max_size=50), st.none() | st.binary(max_size=50))
def test_a_copy_leads_back_to_the_event_as_it_came(
    headers: tuple[tuple[str, bytes | None], ...], key: bytes | None, value: bytes | None
) -> None:
    record = SourceRecord("profiles", 3, 42, 1_700_000_000_123, key, value, headers)
    copy = SourceRecord("profiles.retry", 3, 7, 1_800_000_000_000, key, value, retry_headers(record, FAILING, MARK))
    assert source_of(copy, "profiles", MARK) == record
    assert source_of(copy, "profiles", None) == record, "an older record has no mark"


def test_headers_of_a_retry_record() -> None:
    assert dict(retry_headers(RECORD, FAILING, MARK)) == {
        "ce_id": b"x",
        "odd": None,
        "x-sync-event-id": b"e1",
        "x-sync-attempt": b"2",
        "x-sync-due-at": b"500",
        "x-sync-first-failed-at": b"100",
        "x-sync-last-failed-at": b"400",
        "x-sync-reason": b"CMT-TIMEOUT",
        "x-sync-message": b"no answer",
        "x-sync-source-topic": b"profiles",
        "x-sync-source-partition": b"3",
        "x-sync-source-offset": b"42",
        "x-sync-source-timestamp": b"1700000000123",
        "x-sync-redrive-count": b"0",
        "x-sync-parked-by": b"m1",
    }


def test_an_event_that_only_waits_has_no_failure_in_its_headers() -> None:
    names = dict(retry_headers(RECORD, Failing("e1", 0), MARK))
    assert "x-sync-reason" not in names
    assert "x-sync-first-failed-at" not in names


def test_dead_letters_carry_what_other_tools_read_in_their_encodings() -> None:
    headers = dict(dead_letter_headers(RECORD, FAILING, "profile-sync", "profile_sync.transient.CMT-TIMEOUT"))
    assert headers["kafka_dlt-original-topic"] == b"profiles"
    assert headers["kafka_dlt-original-consumer-group"] == b"profile-sync"
    assert headers["kafka_dlt-original-partition"] == struct.pack(">i", 3)
    assert headers["kafka_dlt-original-offset"] == struct.pack(">q", 42)
    assert headers["kafka_dlt-original-timestamp"] == struct.pack(">q", 1_700_000_000_123)
    assert headers["kafka_dlt-exception-message"] == b"no answer"


def copy_with(headers: Headers, partition: int = 3) -> SourceRecord:
    return SourceRecord("profiles.retry", partition, 7, 0, b"c1", b"{}", headers)


@pytest.mark.parametrize(
    "missing", ["source-topic", "source-partition", "source-offset", "source-timestamp", "parked-by"]
)
def test_a_record_that_somebody_else_wrote_is_recognised(missing: str) -> None:
    headers = tuple(h for h in retry_headers(RECORD, FAILING, MARK) if h[0] != f"x-sync-{missing}")
    with pytest.raises(NotOurCopy):
        source_of(copy_with(headers), "profiles", MARK)


def test_a_copy_of_another_topic_partition_or_group_is_not_ours() -> None:
    headers = retry_headers(RECORD, FAILING, MARK)
    for copy, topic, mark in (
        (copy_with(headers), "others", MARK),
        (copy_with(headers, partition=2), "profiles", MARK),
        (copy_with(headers), "profiles", "m2"),
    ):
        with pytest.raises(NotOurCopy):
            source_of(copy, topic, mark)


@pytest.mark.parametrize(
    ("value", "redrives"), [(b"3", b"3"), (b" " * 1_500_000, b"0"), (b"9" * 10, b"0"), (None, b"0")]
)
def test_what_we_say_of_an_event_is_small_whatever_it_came_with(value: bytes | None, redrives: bytes) -> None:
    record = replace(RECORD, headers=(("x-sync-redrive-count", value), ("theirs", b"x" * 100_000)))
    headers = our_headers(record, replace(FAILING, message="m" * 100_000))
    assert dict(headers)["x-sync-redrive-count"] == redrives
    assert sum(len(name) + len(given or b"") for name, given in headers) < 4096


@given(st.text(max_size=5000))
def test_messages_are_cut_to_their_room(message: str) -> None:
    assert len(cut(message).encode(errors="replace")) <= MESSAGE_BYTES
    if len(message.encode(errors="replace")) <= MESSAGE_BYTES:
        assert cut(message) == message
