"""Dead letters as JSON lines: nothing is lost on the way to ``publish``, and nothing that is masked gets there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.letter_id import LetterId
from app.delivery.record import SourceRecord
from app.profile.exported_letter import NotAnExport, export_line, export_text, is_export, read_export
from app.profile.masked_value import masked_value

LETTER = LetterId(5, 26)
EVENT = SourceRecord("main", 5, 26, 1_763_000_000_000, b"C-1", b'{"eventId": "e-1"}', (("ce_id", b"e-1"), ("n", None)))


def line(record: SourceRecord = EVENT, *, hide: bool = False, **changes: Any) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(export_text(export_line(LETTER, record, masked=hide)))
    return {name: value for name, value in (written | changes).items() if value is not ...}


@given(
    st.binary(min_size=1),
    st.none() | st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")),
    st.lists(st.tuples(st.text(alphabet="abc-", min_size=1), st.none() | st.binary()), max_size=3).map(tuple),
)
def test_a_line_brings_back_the_bytes(key: bytes, value: bytes | None, headers: Any) -> None:
    record = SourceRecord("main", 5, 26, 7, key, value, headers)
    assert is_export(line(record))
    assert read_export(line(record), "main").record == record


def test_a_line_has_the_fields_of_the_contract() -> None:
    assert line() == {
        "id": "5-26",
        "key": "C-1",
        "value": '{"eventId": "e-1"}',
        "headers": [["ce_id", "e-1"], ["n", None]],
        "source": {"topic": "main", "partition": 5, "offset": 26, "timestamp": 1_763_000_000_000},
        "masked": False,
    }


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (line(hide=True), "masked"),
        (line(masked=...), "masked"),
        (line(masked=0), "masked"),
        (line(source=None), "source is missing"),
        (line(source={"topic": "other", "partition": 5, "offset": 26}), "does not come from topic main"),
        (line(source={"topic": "main", "partition": True, "offset": 26}), "source.partition"),
        (line(source={"topic": "main", "partition": 5, "offset": -1}), "source.offset"),
        (line(key=None), "no key"),
        (line(value=...), "either value or valueBase64"),
        (line(valueBase64="AA=="), "either value or valueBase64"),
        (line(value=7), "value is not text"),
        (line(value=..., valueBase64="?"), "valueBase64 is not base64"),
        (line(value=..., valueBase64=None), "valueBase64 is not base64"),
        (line(headers=[["a"]]), "headers must be"),
        (line(headers={}), "headers is not a list"),
        (line(headers=[["\ud800", "x"]]), "the name of a header"),
        (line(headers=[["a\0b", {"base64": "AA=="}]]), "the name of a header"),
        (line(headers=[["a", "\ud800"]]), "a header is not text"),
        (line(source={"topic": "main", "partition": 5, "offset": 2**53}), "source.offset"),
    ],
)
def test_what_is_not_complete_is_refused(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(NotAnExport, match=problem):
        read_export(changed, "main")


def test_a_masked_line_holds_no_value() -> None:
    value = {
        "eventId": "e-1",
        "consumerId": "C-1",
        "market": 7,
        "consumer": {"FirstName": "Ann", "eventId": "Ann", "Score": 3.5, "Gender": None, "Active": True},
        "entities": {"pet": [{"Name": "Rex"}]},
    }
    event = SourceRecord("main", 5, 26, 0, b"C-1", json.dumps(value).encode(), (("user", b"Ann Lee"),))
    written = line(event, hide=True)
    assert json.loads(written["value"]) == {
        "eventId": "e-1",
        "consumerId": "C-1",
        "market": "***",
        "consumer": {"FirstName": "***", "eventId": "***", "Score": "***", "Gender": None, "Active": True},
        "entities": {"pet": [{"Name": "***"}]},
    }
    assert written["headers"] == [["user", "***"]]


@pytest.mark.parametrize("value", [b"\xff\xfe", b"Ann Lee", b'"Ann"', b"[" * 100_000, b"17", b'{"a": "Ann'])
def test_what_is_no_event_is_masked_as_a_whole(value: bytes) -> None:
    assert masked_value(value) in ("***", '"***"')


def test_the_event_within_a_cloud_event_keeps_its_identifiers() -> None:
    value = {"specversion": "1.0", "id": "e-1", "data": {"consumerId": "C-1", "consumer": {"FirstName": "Ann"}}}
    masked = json.loads(masked_value(json.dumps(value).encode()) or "")
    assert masked == value | {"data": {"consumerId": "C-1", "consumer": {"FirstName": "***"}}}


def test_a_document_that_is_too_deep_is_masked() -> None:
    assert "Ann" not in (masked_value(b'{"a":' * 500 + b'"Ann"' + b"}" * 500) or "")
