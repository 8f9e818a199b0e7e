"""Events in files: JSON lines for publishing, and whatever people paste for planning."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.bundled import schema_path
from app.profile import event_lines
from app.profile.catalog_file import parse_catalog
from app.profile.event_lines import EventLine, RejectedLine, read_event_document, read_event_lines
from app.profile.samples.samples import sample_events, to_json

CATALOG = parse_catalog(schema_path("data-extensions.json").read_bytes())
EVENTS = list(sample_events(4, seed=1))
DOCUMENTS = [to_json(event) for event in EVENTS]
LINES = [json.dumps(document, ensure_ascii=False).encode() for document in DOCUMENTS]
LONGEST = 100_000


def seen(found: list[EventLine | RejectedLine]) -> list[tuple[int, str]]:
    return [(one.line, one.event.event_id if isinstance(one, EventLine) else one.code) for one in found]


def read(content: bytes, longest: int = LONGEST) -> list[EventLine | RejectedLine]:
    return list(read_event_lines(io.BytesIO(content), CATALOG, longest))


def ids(*numbered: tuple[int, int]) -> list[tuple[int, str]]:
    return [(line, EVENTS[at].event_id) for line, at in numbered]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b" \n"])
@pytest.mark.parametrize("last", [b"", b"\n"])
def test_each_line_is_an_event_and_its_value_is_the_line(end: bytes, last: bytes) -> None:
    found = read(end.join(LINES) + last)
    assert [one.value for one in found if isinstance(one, EventLine)] == LINES
    assert [one.event for one in found if isinstance(one, EventLine)] == EVENTS


def test_empty_lines_are_passed_over_but_counted() -> None:
    assert seen(read(b"\n\n" + LINES[0] + b"\n   \n" + LINES[1])) == ids((3, 0), (5, 1))


def test_byte_order_mark_is_no_part_of_the_first_event() -> None:
    assert seen(read(b"\xef\xbb\xbf" + LINES[0])) == ids((1, 0))


def test_bad_lines_stand_between_good_ones() -> None:
    found = read(b"\n".join([LINES[0], b"{", b"[]", b"{}", b"\xff", LINES[1]]))
    assert seen(found) == [
        *ids((1, 0)),
        (2, "EVENT-NOT-JSON"),
        (3, "EVENT-NOT-JSON"),
        (4, "EVENT-SCHEMA"),
        (5, "EVENT-NOT-TEXT"),
        *ids((6, 1)),
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_line_of_the_longest_length_is_read_a_longer_one_is_not(end: bytes) -> None:
    length = len(LINES[0])
    assert seen(read(LINES[0] + end, longest=length)) == ids((1, 0))
    assert seen(read(LINES[0] + end, longest=length - 1)) == [(1, "EVENT-TOO-LARGE")]


def test_after_a_line_that_is_too_long_the_next_one_is_read() -> None:
    longest = max(map(len, LINES))
    found = read(b"\n".join([LINES[0], b"x" * 10 * longest, LINES[1]]), longest)
    assert seen(found) == [*ids((1, 0)), (2, "EVENT-TOO-LARGE"), *ids((3, 1))]


def test_no_more_of_a_line_is_held_than_may_be_published() -> None:
    class Endless(io.BytesIO):
        largest = parts = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            self.largest, self.parts = max(self.largest, size), self.parts + 1
            return b"x" * size if size > 0 and self.parts < 50 else b""

    stream = Endless()
    assert seen(list(read_event_lines(stream, CATALOG, 1000))) == [(1, "EVENT-TOO-LARGE")]
    assert stream.largest < 1010


def test_lines_are_read_one_by_one() -> None:
    stream = io.BytesIO(b"\n".join(LINES))
    lines = read_event_lines(stream, CATALOG, LONGEST)
    next(lines)
    assert stream.tell() == len(LINES[0]) + 1


@given(st.lists(st.binary(max_size=30), max_size=6), st.integers(1, 40))
def test_every_line_that_is_not_empty_is_accounted_for_once(lines: list[bytes], longest: int) -> None:
    content = b"\n".join(lines)
    numbers = [one.line for one in read(content, longest)]
    without_mark = content.removeprefix(b"\xef\xbb\xbf")
    assume(not without_mark.lstrip().startswith((b"{", b"[")))  # a document with a mistake is one mistake
    filled = [number for number, line in enumerate(without_mark.split(b"\n"), start=1) if line.strip()]
    assert sorted(set(numbers)) == numbers
    # A long line of blanks is too long rather than empty.
    assert set(filled) <= set(numbers)


# Whole documents; whoever reads lines takes them too


def structured(document: dict[str, Any]) -> dict[str, Any]:
    data = {name: value for name, value in document.items() if name != "eventId"}
    return {"specversion": "1.0", "id": document["eventId"], "source": "/crm", "type": "profile", "data": data}


@pytest.mark.parametrize("indent", [None, 2])
def test_a_stream_may_be_one_event_or_an_array(indent: int | None) -> None:
    one = json.dumps(DOCUMENTS[0], indent=indent).encode()
    several = json.dumps(DOCUMENTS[:3], indent=indent).encode()
    for start in (b"", b"\xef\xbb\xbf", b"\n  \n"):
        lines = start.count(b"\n")
        assert seen(read(start + one + b"\n")) == (ids((1, 0)) if indent else ids((1 + lines, 0)))
        assert seen(read(start + several)) == ids((1, 0), (2, 1), (3, 2))


def test_an_entry_of_an_array_is_published_as_it_stands() -> None:
    text = "[ " + " , ".join(line.decode().replace(": ", ":  ") for line in LINES) + "\n]"
    found = read(text.replace('"NEW"', '"NEW" ').encode())
    assert b",".join(one.value for one in found if isinstance(one, EventLine)).count(b":  ") == text.count(":  ")
    assert [one.event for one in found if isinstance(one, EventLine)] == EVENTS


def test_cloud_events_in_structured_mode_may_stand_in_all_forms() -> None:
    documents = [structured(document) for document in DOCUMENTS[:2]]
    one = json.dumps(documents[0], indent=1).encode()
    assert seen(read(one)) == ids((1, 0))
    assert seen(read(json.dumps(documents).encode())) == ids((1, 0), (2, 1))
    assert seen(read(b"\n".join(json.dumps(document).encode() for document in documents))) == ids((1, 0), (2, 1))


def test_an_entry_that_is_too_long_stands_between_good_ones() -> None:
    long = {**DOCUMENTS[1], "eventId": "x" * 400}
    longest = max(len(json.dumps(document)) for document in (DOCUMENTS[0], DOCUMENTS[2]))
    content = json.dumps([DOCUMENTS[0], {**long, "consumerId": "y" * longest}, DOCUMENTS[2]]).encode()
    assert seen(read(content, longest)) == [*ids((1, 0)), (2, "EVENT-TOO-LARGE"), *ids((3, 2))]


def test_a_document_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_lines, "LONGEST_DOCUMENT", 5000)
    assert seen(read(b"[\n" + b" " * 5001)) == [(1, "EVENT-TOO-LARGE")]


@pytest.mark.parametrize(
    "content",
    [b"[", b"[\n", b"[1", b"[1,", b"[1,]", b"[,]", b"[1]]", b"[1] x", b"[" * 100_000, b"[\xff]", b"[NaN, x]", b'["a]'],
)
def test_an_array_with_a_mistake_is_rejected(content: bytes) -> None:
    assert {code for _, code in seen(read(content))} <= {"EVENT-NOT-JSON", "EVENT-NOT-TEXT"}


def test_an_empty_array_has_no_event() -> None:
    assert read(b" [ ]\n") == []


def test_lines_after_a_first_one_that_is_cut_off_are_read() -> None:
    assert seen(read(b"\n".join([LINES[0][:-9], LINES[1], LINES[2]]))) == [(1, "EVENT-NOT-JSON"), *ids((2, 1), (3, 2))]


@pytest.mark.parametrize("indent", [None, 2])
def test_document_may_be_one_event_or_a_list(indent: int | None) -> None:
    one = json.dumps(DOCUMENTS[0], indent=indent).encode()
    several = json.dumps(DOCUMENTS[:3], indent=indent).encode()
    assert seen(list(read_event_document(one, CATALOG))) == ids((1, 0))
    assert seen(list(read_event_document(several, CATALOG))) == ids((1, 0), (2, 1), (3, 2))


def test_document_may_be_json_lines_with_bad_ones_among_them() -> None:
    content = b"\xef\xbb\xbf" + b"\n\n".join([LINES[0], b"no", LINES[1]])
    assert seen(list(read_event_document(content, CATALOG))) == [*ids((1, 0)), (3, "EVENT-NOT-JSON"), *ids((5, 1))]


def test_bad_entries_of_a_list_are_rejected_by_position() -> None:
    content = json.dumps([DOCUMENTS[0], {}, 7, DOCUMENTS[1]]).encode()
    assert seen(list(read_event_document(content, CATALOG))) == [
        *ids((1, 0)),
        (2, "EVENT-SCHEMA"),
        (3, "EVENT-NOT-JSON"),
        *ids((4, 1)),
    ]


def test_pretty_printed_event_with_a_mistake_is_one_mistake() -> None:
    content = json.dumps(DOCUMENTS[0], indent=2).encode()[:-2]
    (rejected,) = read_event_document(content, CATALOG)
    assert seen([rejected]) == [(1, "EVENT-NOT-JSON")]


def test_numbers_keep_their_digits_in_a_list() -> None:
    document = {**DOCUMENTS[0], "consumer": {"ConsumerId": DOCUMENTS[0]["consumerId"], "FirstName": "@"}}
    (line,) = read_event_document(json.dumps([document]).replace('"@"', "1.10").encode(), CATALOG)
    assert isinstance(line, EventLine)
    assert line.event.consumer is not None
    assert str(line.event.consumer["FirstName"]) == "1.10"


def test_empty_file_has_no_event() -> None:
    assert read(b"") == []
    assert seen(list(read_event_document(b"", CATALOG))) == []
