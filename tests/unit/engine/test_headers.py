"""Headers of retry and dead-letter records: readable by us, by other tools, and large enough for nothing bad."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.record import SourceRecord
from app.engine.headers import (
    MESSAGE_BYTES,
    Failing,
    NotOurCopy,
    cut,
    dead_letter_headers,
    retry_headers,
    source_of,
)

RECORD = SourceRecord("profiles", 3, 42, 1_700_000_000_123, b"c1", b"{}", (("ce_id", b"x"), ("odd", None)))
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
    copy = SourceRecord("profiles.retry", 3, 7, 1_800_000_000_000, key, value, retry_headers(record, FAILING))
    assert source_of(copy) == record


def test_headers_of_a_retry_record() -> None:
    assert dict(retry_headers(RECORD, FAILING)) == {
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
    }


def test_an_event_that_only_waits_has_no_failure_in_its_headers() -> None:
    names = dict(retry_headers(RECORD, Failing("e1", 0)))
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


@pytest.mark.parametrize("missing", ["topic", "partition", "offset", "timestamp"])
def test_a_record_that_somebody_else_wrote_is_recognised(missing: str) -> None:
    headers = tuple(h for h in retry_headers(RECORD, FAILING) if h[0] != f"x-sync-source-{missing}")
    with pytest.raises(NotOurCopy):
        source_of(SourceRecord("profiles.retry", 3, 7, 0, b"c1", b"{}", headers))


@given(st.text(max_size=5000))
def test_messages_are_cut_to_their_room(message: str) -> None:
    assert len(cut(message).encode(errors="replace")) <= MESSAGE_BYTES
    if len(message.encode(errors="replace")) <= MESSAGE_BYTES:
        assert cut(message) == message
