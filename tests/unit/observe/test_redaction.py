"""What a log line may tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.observe.redaction import MASK, ConsumerHasher, hash_consumer, mask_text, redact, use_hash_key


@pytest.mark.parametrize(
    "text",
    [
        "ann.o'neil+news@mail.example.com",
        "Grüße@bücher.example",
        "+49 151 234567-89",
        "+1 (555) 010-9999",
        "4915112345678",
        "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
        "key-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
        "a.b.eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.",
        "input_value='Ann', input_value='Lee', input_type=str",
    ],
)
def test_personal_data_and_tokens_are_masked_wherever_they_stand(text: str) -> None:
    masked = mask_text(f"refused ({text}), next")
    assert text.removeprefix("Bearer ") not in masked
    assert MASK in masked
    assert masked.startswith("refused (")
    assert masked.endswith("), next")


@pytest.mark.parametrize(
    "text",
    [
        "event 0f8fad5b-d9cb-469f-a165-70867728950e",
        "event 12345678-1234-1234-1234-123456789012",
        "partition 3, offset 123456",
        "127.0.0.1:44321",
        "2026-11-21T10:00:00.123456Z",
        "CMT-ROW-INVALID after 31 of 50",
    ],
)
def test_what_an_operator_needs_stays_readable(text: str) -> None:
    assert mask_text(text) == text


def test_the_input_that_pydantic_quotes_is_masked() -> None:
    text = "1 validation error [type=int_parsing, input_value='Ann Example', input_type=str]"
    assert "Ann" not in mask_text(text)


@pytest.mark.parametrize(
    "key", ["token", "client_secret", "password", "Authorization", "set_cookie", "value", "row", "rows", "api_key"]
)
def test_a_secret_key_never_shows_its_value(key: str) -> None:
    assert redact({key: "Ann"}) == {key: MASK}
    assert redact({"outer": {key: ["Ann"]}}) == {"outer": {key: MASK}}


def test_numbers_and_plain_facts_are_left_alone() -> None:
    entry = {"partition": 3, "offset": 123456789, "token_refreshes": 2, "reason": "CMT-TIMEOUT", "ok": True, "x": None}
    assert redact(entry) == entry


def test_an_event_id_is_no_telephone_number() -> None:
    assert redact({"event_id": "20261121000017"}) == {"event_id": "20261121000017"}


def test_a_consumer_is_named_by_its_hash() -> None:
    entry = redact({"consumer_id": "C-1", "consumer": hash_consumer("C-1")})
    assert entry == {"consumer_id": hash_consumer("C-1"), "consumer": hash_consumer("C-1")}


def test_bytes_and_deep_documents_are_not_shown() -> None:
    assert redact({"record": b"Ann"})["record"] == "<3 bytes>"
    deep: object = "Ann"
    for _ in range(8):
        deep = {"a": deep}
    assert "Ann" not in str(redact({"document": deep}))


def test_the_hash_key_decides_the_hash() -> None:
    one, same, other = ConsumerHasher(b"k1"), ConsumerHasher(b"k1"), ConsumerHasher(b"k2")
    assert one("C-1") == same("C-1") != other("C-1")
    assert len(one("C-1")) == 12
    assert ConsumerHasher()("C-1") != ConsumerHasher()("C-1")


def test_the_process_uses_the_key_it_was_given() -> None:
    use_hash_key(b"a key")
    try:
        assert hash_consumer("C-1") == ConsumerHasher(b"a key")("C-1")
    finally:
        use_hash_key(None)


@given(
    st.dictionaries(st.text(), st.recursive(st.none() | st.text() | st.binary() | st.floats(), st.lists), max_size=5)
)
def test_no_log_entry_can_crash_it(entry: dict[str, object]) -> None:
    redact(entry)
