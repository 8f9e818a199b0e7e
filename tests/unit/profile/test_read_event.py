"""What a record of the main topic means: JSON, CloudEvents binary mode, tombstones, and everything that is none."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bundled import schema_path
from app.delivery import errors
from app.delivery.outcome import UNKNOWN_MARKET, InvalidEvent
from app.delivery.record import LATEST_MS, Headers, SourceRecord
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog, DataExtension, EntityType
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.event_reader import read_event
from app.profile.samples.samples import sample_events, to_json
from tests.support.examples import examples

CATALOG = parse_catalog(schema_path("data-extensions.json").read_bytes())
NEW: dict[str, Any] = {
    "eventId": "e-1",
    "operation": "NEW",
    "consumerId": "c-1",
    "market": "DE",
    "occurredAt": "2026-11-21T10:00:00Z",
    "consumer": {"ConsumerId": "c-1", "FirstName": "Jana"},
    "entities": {"pet": [{"PetId": "p-1", "WeightKg": 12.50}], "contact": [{"ContactId": "k-1"}]},
}


def record(
    value: dict[str, Any] | bytes | None = NEW,
    key: bytes | None = b"c-1",
    headers: Headers = (),
    timestamp_ms: int = 1_700_000_000_123,
) -> SourceRecord:
    raw = json.dumps(value).encode() if isinstance(value, dict) else value
    return SourceRecord("consumer-profiles", 3, 41, timestamp_ms, key, raw, headers)


def refused(source: SourceRecord, catalog: Catalog = CATALOG) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        read_event(source, catalog)
    return caught.value


# What is read


def test_json_value_becomes_an_event() -> None:
    event = read_event(record(), CATALOG)
    assert (event.event_id, event.operation, event.consumer_id, event.market) == ("e-1", Operation.NEW, "c-1", "DE")
    assert event.consumer == {"ConsumerId": "c-1", "FirstName": "Jana"}


def test_child_rows_come_in_writing_order_with_the_consumer_id_filled_in() -> None:
    assert read_event(record(), CATALOG).rows() == [
        (EntityType.CONTACT, {"ConsumerId": "c-1", "ContactId": "k-1"}),
        (EntityType.PET, {"ConsumerId": "c-1", "PetId": "p-1", "WeightKg": Decimal("12.5")}),
    ]


def test_numbers_keep_their_digits() -> None:
    text = json.dumps(NEW).replace('"Jana"', "0.10000000000000000000000001")
    consumer = read_event(record(text.encode()), CATALOG).consumer
    assert consumer is not None
    assert str(consumer["FirstName"]) == "0.10000000000000000000000001"


def test_values_keep_their_type() -> None:
    row = {"ConsumerId": "c-1", "FirstName": True, "LastName": 7, "Gender": None, "Country": ""}
    consumer = read_event(record({**NEW, "consumer": row}), CATALOG).consumer
    assert consumer is not None
    assert [(name, type(value)) for name, value in consumer.items()] == [(n, type(v)) for n, v in row.items()]


def test_every_sample_is_an_event_and_reads_back_as_it_was() -> None:
    for event in sample_events(300, seed=3):
        source = record(json.dumps(to_json(event)).encode(), event.consumer_id.encode())
        assert read_event(source, CATALOG) == event


@pytest.mark.parametrize(
    ("changes", "profile", "full_state"),
    [
        ({}, False, True),
        ({"operation": "UPDATE"}, False, True),
        ({"operation": "DELETE", "entities": {}}, True, True),
        ({"operation": "DELETE", "entities": {}, "deleteScope": "PROFILE"}, True, True),
        ({"operation": "DELETE", "deleteScope": "ENTITIES"}, False, False),
    ],
)
def test_what_an_event_says_about_the_whole_profile(changes: dict[str, Any], profile: bool, full_state: bool) -> None:
    event = read_event(record({**NEW, **changes}), CATALOG)
    assert (event.deletes_profile, event.is_full_state) == (profile, full_state)


# CloudEvents binary mode


def test_cloud_events_id_header_is_the_event_id_even_over_one_in_the_value() -> None:
    headers = (("ce_specversion", b"1.0"), ("ce_id", b"ce-7"), ("ce_type", b"x"), ("ce_source", b"/crm"))
    assert read_event(record(headers=headers), CATALOG).event_id == "ce-7"


def test_cloud_event_needs_neither_event_id_nor_time_in_its_value() -> None:
    value = {name: NEW[name] for name in NEW if name not in ("eventId", "occurredAt")}
    event = read_event(record(value, headers=(("ce_id", b"ce-7"), ("ce_time", b"2026-01-02T03:04:05Z"))), CATALOG)
    assert (event.event_id, event.occurred_at) == ("ce-7", "2026-01-02T03:04:05Z")


def test_time_in_the_value_stands_over_the_header() -> None:
    event = read_event(record(headers=(("ce_id", b"ce-7"), ("ce_time", b"2020-01-01T00:00:00Z"))), CATALOG)
    assert event.occurred_at == NEW["occurredAt"]


def test_without_a_cloud_events_id_the_other_headers_say_nothing() -> None:
    value = {name: NEW[name] for name in NEW if name != "occurredAt"}
    assert refused(record(value, headers=(("ce_time", b"2026-01-02T03:04:05Z"),))).entry is errors.EVENT_SCHEMA


def test_last_header_of_a_name_counts_and_one_that_is_not_text_is_none() -> None:
    assert read_event(record(headers=(("ce_id", b"a"), ("ce_id", b"b"))), CATALOG).event_id == "b"
    assert read_event(record(headers=(("ce_id", b"\xff"),)), CATALOG).event_id == "e-1"


@pytest.mark.parametrize("value", [NEW, None], ids=["event", "tombstone"])
def test_cloud_events_id_that_is_too_long_is_refused_and_not_carried_on(value: dict[str, Any] | None) -> None:
    invalid = refused(record(value, headers=(("ce_id", b"x" * 513),)))
    assert (invalid.entry, invalid.event_id) == (errors.EVENT_SCHEMA, "3-41")


def test_invalid_cloud_event_is_known_by_its_id() -> None:
    assert refused(record(b"no", headers=(("ce_id", b"ce-7"),))).event_id == "ce-7"


# Tombstones


def test_null_value_deletes_the_profile_of_the_key() -> None:
    event = read_event(record(None), CATALOG, last_market="PL")
    assert event == ProfileEvent(
        event_id="3-41",
        operation=Operation.DELETE,
        consumer_id="c-1",
        market="PL",
        occurred_at="2023-11-14T22:13:20.123Z",
        delete_scope=DeleteScope.PROFILE,
    )


def test_market_of_a_tombstone_is_a_dash_when_nothing_is_known_of_the_consumer() -> None:
    assert read_event(record(None), CATALOG).market == "-"


def test_empty_value_is_no_tombstone() -> None:
    assert refused(record(b"")).entry is errors.EVENT_NOT_JSON


def test_tombstone_may_be_a_cloud_event() -> None:
    assert read_event(record(None, headers=(("ce_id", b"ce-7"),)), CATALOG).event_id == "ce-7"


@pytest.mark.parametrize("timestamp_ms", [-1, 0, LATEST_MS, LATEST_MS + 1, 2**63 - 1, -(2**63)])
def test_any_kafka_timestamp_can_be_read(timestamp_ms: int) -> None:
    source = record(None, timestamp_ms=timestamp_ms)
    assert source.day in ("1970-01-01", "9999-12-31")
    assert read_event(source, CATALOG).occurred_at.startswith(source.day)


# What is refused, and why

_DEEP = b'{"a":' * 50_000


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (record(key=None), errors.EVENT_NO_KEY),
        (record(key=b""), errors.EVENT_NO_KEY),
        (record(None, key=None), errors.EVENT_NO_KEY),
        (record(key=b"\xc3\x28"), errors.EVENT_KEY_NOT_TEXT),
        (record(None, key=b"k" * 513), errors.EVENT_SCHEMA),
        (record(None, key=b'{"id": "c-1"}'), errors.EVENT_KEY_ENCODED),
        (record(None, key=b'"c-1"'), errors.EVENT_KEY_ENCODED),
        (record(None, key=b' ["c-1"]'), errors.EVENT_KEY_ENCODED),
        (record(None, key=b"\xef\xbb\xbfc-1"), errors.EVENT_KEY_ENCODED),
        (record(None, key=b"\0\0\0\0\x07c-1"), errors.EVENT_KEY_ENCODED),
        (record(b"\xff\xfe{}"), errors.EVENT_NOT_TEXT),
        (record(json.dumps(NEW).encode("utf-16")), errors.EVENT_NOT_TEXT),
        (record("Zoë".encode("latin-1")), errors.EVENT_NOT_TEXT),
        (record(b"\x00\x00\x00\x00\x07avro"), errors.EVENT_NOT_JSON),
        (record(b"{'eventId': 1}"), errors.EVENT_NOT_JSON),
        (record(json.dumps(NEW).encode()[:-1]), errors.EVENT_NOT_JSON),
        (record(json.dumps(NEW).encode() * 2), errors.EVENT_NOT_JSON),
        (record(b"\xef\xbb\xbf" + json.dumps(NEW).encode()), errors.EVENT_NOT_JSON),
        (record(b'{"eventId": NaN}'), errors.EVENT_NOT_JSON),
        (record(b'{"eventId": "a", "eventId": "a"}'), errors.EVENT_SCHEMA),
        (record(json.dumps(NEW).replace('"Jana"', '"Jana", "FirstName": "Ann"').encode()), errors.EVENT_SCHEMA),
        (record(dict.fromkeys(map(str, range(50)), NEW["eventId"])), errors.EVENT_SCHEMA),
        (record(b'{"eventId": -Infinity}'), errors.EVENT_NOT_JSON),
        (record(b'{"eventId": ' + b"1" * 5000 + b"}"), errors.EVENT_NOT_JSON),
        (record(b'{"eventId": 1e9999999999999999999}'), errors.EVENT_NOT_JSON),
        (record(_DEEP), errors.EVENT_NOT_JSON),
        (record(b"[" * 50_000), errors.EVENT_NOT_JSON),
        (record(b"[]"), errors.EVENT_NOT_JSON),
        (record(b"null"), errors.EVENT_NOT_JSON),
        (record(b'"text"'), errors.EVENT_NOT_JSON),
        (record(b"{}"), errors.EVENT_SCHEMA),
        (record({**NEW, "operation": "MERGE"}), errors.EVENT_SCHEMA),
        (record({**NEW, "eventId": "\ud800"}), errors.EVENT_SCHEMA),
        (record({**NEW, "consumerId": "c-2"}), errors.EVENT_KEY_MISMATCH),
        (record(key=b"c-1 "), errors.EVENT_KEY_MISMATCH),
        (record({**NEW, "consumer": {"ConsumerId": "c-1", "Shoe": 44}}), errors.EVENT_UNKNOWN_COLUMN),
        (record({**NEW, "consumer": {"ConsumerId": "c-1", "first_name": "x"}}), errors.EVENT_UNKNOWN_COLUMN),
        (
            record({**NEW, "consumer": {"ConsumerId": "c-1", "FirstName": "x", "firstname": "y"}}),
            errors.EVENT_COLUMN_TWICE,
        ),
        (record({**NEW, "entities": {"pet": [{"PetId": "1", "PETID": "1"}]}}), errors.EVENT_COLUMN_TWICE),
        (record({**NEW, "entities": {"pet": [{"PetId": "1", "ChildId": "1"}]}}), errors.EVENT_UNKNOWN_COLUMN),
        (record({**NEW, "consumer": {"FirstName": "x"}}), errors.EVENT_MISSING_KEY_COLUMN),
        (record({**NEW, "entities": {"pet": [{}]}}), errors.EVENT_MISSING_KEY_COLUMN),
        (record({**NEW, "entities": {"pet": [{"PetId": None}]}}), errors.EVENT_MISSING_KEY_COLUMN),
        (record({**NEW, "entities": {"pet": [{"PetId": ""}]}}), errors.EVENT_MISSING_KEY_COLUMN),
        (record({**NEW, "entities": {"pet": [{"PetId": "1", "ConsumerId": None}]}}), errors.EVENT_MISSING_KEY_COLUMN),
        (record({**NEW, "entities": {"pet": [{"PetId": "1", "ConsumerId": "c-2"}]}}), errors.EVENT_FOREIGN_ROW),
        (record({**NEW, "consumer": {"ConsumerId": "c-2"}}), errors.EVENT_FOREIGN_ROW),
    ],
)
def test_refused_with_its_code(source: SourceRecord, code: errors.ErrorEntry) -> None:
    invalid = refused(source)
    assert invalid.entry is code
    assert invalid.message


def test_every_code_for_events_is_given_here_or_by_the_dead_letter_writer() -> None:
    given_here = {
        mark.args[1][i][1].code
        for mark in test_refused_with_its_code.pytestmark  # type: ignore[attr-defined]
        for i in range(len(mark.args[1]))
    }
    assert {code for code in errors.REGISTRY if code.startswith("EVENT-")} - given_here == {
        "EVENT-TOO-LARGE",  # only with a limit, see below
        "EVENT-VALUE-OMITTED",  # given by the engine, before an event is read
        "EVENT-MARKET-UNKNOWN",  # only with a catalog that lists markets, see below
    }


def test_columns_are_matched_without_case_and_get_the_spelling_of_the_data_extension() -> None:
    event = read_event(
        record(
            {
                **NEW,
                "consumer": {"CONSUMERID": "c-1", "firstName": "Jana"},
                "entities": {"pet": [{"petid": "p-1", "NAME": "Rex"}]},
            }
        ),
        CATALOG,
    )
    assert event.consumer == {"ConsumerId": "c-1", "FirstName": "Jana"}
    assert event.rows() == [(EntityType.PET, {"ConsumerId": "c-1", "PetId": "p-1", "Name": "Rex"})]


@pytest.mark.parametrize("operation", [{"operation": "UPDATE"}, {"operation": "DELETE", "deleteScope": "ENTITIES"}])
def test_rows_of_one_key_are_one_row_later_columns_over_earlier_ones(operation: dict[str, Any]) -> None:
    """SQL Server takes keys that differ in case and trailing blanks for one."""
    pets = [{"PetId": "p1", "Name": "A", "Breed": "x"}, {"PetId": "p2"}, {"petId": "P1 ", "Name": "B"}, {"PetId": "p1"}]
    event = read_event(record({**NEW, "entities": {"pet": pets}, **operation}), CATALOG)
    assert event.rows() == [
        (EntityType.PET, {"ConsumerId": "c-1", "PetId": "p1", "Name": "B", "Breed": "x"}),
        (EntityType.PET, {"ConsumerId": "c-1", "PetId": "p2"}),
    ]


def test_consumer_id_as_a_number_in_a_row_is_the_same_consumer() -> None:
    value = {**NEW, "consumerId": "17", "consumer": {"ConsumerId": 17}, "entities": {}}
    assert read_event(record(value, key=b"17"), CATALOG).consumer == {"ConsumerId": 17}


def test_columns_and_keys_are_those_of_the_catalog_given() -> None:
    tables = {**CATALOG.data_extensions, EntityType.PET: DataExtension("Tiere", ("Nr",), ("ConsumerId", "Nr"))}
    catalog = Catalog(tables)
    assert refused(record(), catalog).message == "pet: Tiere has no column PetId, WeightKg"
    read_event(record({**NEW, "entities": {"pet": [{"Nr": 5}]}}), catalog)


def test_a_market_that_is_not_listed_is_refused_by_name() -> None:
    listed = replace(CATALOG, markets={"DE": CATALOG, "AT": CATALOG})
    assert read_event(record(), listed).market == "DE"
    invalid = refused(record({**NEW, "market": "PL"}), listed)
    assert (invalid.entry, invalid.market, invalid.event_id) == (errors.EVENT_MARKET_UNKNOWN, "PL", "e-1")
    assert "market PL" in invalid.message
    assert read_event(record({**NEW, "market": "PL"}), replace(listed, other_markets=CATALOG)).market == "PL"


def test_a_market_has_columns_of_its_own() -> None:
    tables = {**CATALOG.data_extensions, EntityType.PET: DataExtension("DE_Tier", ("Nr",), ("ConsumerId", "Nr"))}
    listed = replace(CATALOG, markets={"DE": Catalog(tables), "AT": CATALOG})
    assert refused(record(), listed).message == "pet: DE_Tier has no column PetId, WeightKg"
    read_event(record({**NEW, "market": "AT"}), listed)
    read_event(record({**NEW, "entities": {"pet": [{"Nr": 5}]}}), listed)


def test_a_null_value_is_read_before_its_market_is_known() -> None:
    listed = replace(CATALOG, markets={"DE": CATALOG})
    assert read_event(record(None), listed).market == UNKNOWN_MARKET


def test_what_is_known_of_an_invalid_event_goes_with_it() -> None:
    invalid = refused(record({**NEW, "occurredAt": "yesterday"}))
    assert (invalid.event_id, invalid.market, invalid.operation) == ("e-1", "DE", "NEW")


def test_nothing_misshapen_is_taken_as_known() -> None:
    invalid = refused(record({**NEW, "eventId": "\ud800", "market": "DE|\n", "operation": "DROP"}))
    assert (invalid.event_id, invalid.market, invalid.operation) == ("3-41", "-", "-")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"occurredAt": "yesterday"},
            "occurredAt: must be an RFC 3339 time with seconds and an offset from UTC, such as 2026-11-21T10:00:00Z",
        ),
        ({"eventid": "e"}, "unknown member `eventid`, did you mean `eventId`?"),
        ({"occurred_at": "e"}, "unknown member `occurred_at`, did you mean `occurredAt`?"),
        ({"colour": "red"}, "unknown member `colour`"),
        ({"max@example.com": 1}, "unknown member `(unusual name)`"),
        ({"entities": {"pets": []}}, "entities: unknown member `pets`, did you mean `pet`?"),
        ({"operation": "ADD"}, "operation: must be NEW, UPDATE or DELETE"),
        ({"market": "Deutschland!"}, "market: must be 1 to 16 letters, digits or hyphens, such as DE"),
        ({"eventId": ""}, "eventId: must not be empty"),
        ({"eventId": "x" * 600}, "eventId: must have at most 512 characters"),
        ({"eventId": 7}, "eventId: must be text"),
        ({"consumer": []}, "consumer: must be a JSON object"),
        ({"entities": {"pet": {}}}, "entities.pet: must be a list"),
    ],
)
def test_faults_are_said_in_words_that_need_no_knowledge_of_the_program(changes: dict[str, Any], said: str) -> None:
    assert refused(record({**NEW, **changes})).message == said


def test_a_missing_member_is_named() -> None:
    assert refused(record({name: NEW[name] for name in NEW if name != "operation"})).message == "operation: is required"


def test_message_says_where_and_what() -> None:
    assert refused(record({**NEW, "consumer": {"ConsumerId": "c-1", "FirstName": {"a": 1}}})).message == (
        "consumer.FirstName: must be text, a number, a boolean or null"
    )
    assert refused(record({**NEW, "entities": {"pet": [{"PetId": "1"}, 7]}})).message == (
        "entities.pet.1: must be a JSON object"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"entities": {"pet": [{"PetId": []}] * 100}},
        {"entities": {"pet": [0] * 100}},
        {"entities": {f"pet{number}": [] for number in range(100)}},
        {"consumer": {f"Column{number}": [] for number in range(100)}},
        {"consumer": {"ConsumerId": "c-1"} | {f"Column{number}": 1 for number in range(100)}},
        {f"member{number}": 1 for number in range(100)},
        dict.fromkeys(NEW, 0) | {"more": 1, "other": 2},
    ],
)
def test_a_few_faults_are_named_however_many_there_are(changes: dict[str, Any]) -> None:
    message = refused(record({**NEW, **changes})).message
    assert message.count(";") <= 5
    assert message.count(",") <= 5
    assert len(message) < 600


def test_what_wraps_a_value_is_named() -> None:
    assert "byte order mark (EF BB BF)" in refused(record(b"\xef\xbb\xbf" + json.dumps(NEW).encode())).message
    assert "byte order mark of UTF-16" in refused(record(json.dumps(NEW).encode("utf-16"))).message
    assert "schema ID 258" in refused(record(b"\0\0\0\x01\x02" + json.dumps(NEW).encode())).message
    assert "schema ID 7" in refused(record(b"\0\0\0\0\x07\xff\x02avro")).message


@pytest.mark.parametrize(
    ("key", "named"),
    [
        (b'{"id": "c-1"}', "looks like JSON"),
        (b"\0\0\0\0\x07c-1", "schema ID 7"),
        (b"\xef\xbb\xbfc-1", "byte order mark"),
    ],
)
def test_what_wraps_a_key_is_named(key: bytes, named: str) -> None:
    assert named in refused(record(None, key=key)).message
    assert named in refused(record(key=key)).message


def test_a_member_that_is_given_twice_is_named_unless_the_name_may_be_a_value() -> None:
    assert refused(record(b'{"eventId": 1, "eventId": 1}')).message == "the JSON member eventId is given twice"
    assert "jana" not in refused(record(b'{"jana@example.com": 1, "jana@example.com": 1}')).message


def test_a_consumer_id_that_looks_like_json_is_one_when_the_event_says_so() -> None:
    value = {**NEW, "consumerId": "[1]", "consumer": {"ConsumerId": "[1]"}, "entities": {}}
    assert read_event(record(value, key=b"[1]"), CATALOG).consumer_id == "[1]"


# Larger than the topic takes, once it is unpacked


def test_a_record_that_is_too_large_is_refused_unparsed() -> None:
    source = record(b"{" * 900, key=b"k" * 50, headers=(("ce_id", b"e" * 44),))
    assert source.size == 999
    with pytest.raises(InvalidEvent) as caught:
        read_event(source, CATALOG, largest=998)
    assert (caught.value.entry, caught.value.event_id) == (errors.EVENT_TOO_LARGE, "e" * 44)
    assert caught.value.message == "key, value and headers have 999 bytes, KAFKA_MAX_MESSAGE_BYTES is 998"
    with pytest.raises(InvalidEvent) as caught:
        read_event(source, CATALOG, largest=999)
    assert caught.value.entry is errors.EVENT_NOT_JSON


# CloudEvents structured mode

STRUCTURED: dict[str, Any] = {
    "specversion": "1.0",
    "id": "ce-7",
    "source": "/crm",
    "type": "profile",
    "time": "2026-01-02T03:04:05Z",
    "data": {name: NEW[name] for name in NEW if name not in ("eventId", "occurredAt")},
}
CONTENT_TYPE = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)


@pytest.mark.parametrize("headers", [(), CONTENT_TYPE], ids=["by its members", "by its content-type"])
def test_a_cloud_event_in_structured_mode_carries_the_event_as_its_data(headers: Headers) -> None:
    event = read_event(record(STRUCTURED, headers=headers), CATALOG)
    assert (event.event_id, event.occurred_at) == ("ce-7", "2026-01-02T03:04:05Z")
    assert event.rows() == read_event(record(), CATALOG).rows()


def test_the_event_of_a_cloud_event_keeps_its_own_time_but_not_its_own_id() -> None:
    event = read_event(record({**STRUCTURED, "data": NEW}), CATALOG)
    assert (event.event_id, event.occurred_at) == ("ce-7", NEW["occurredAt"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": None}, "no JSON object in data"),
        ({"data": "text"}, "no JSON object in data"),
        ({"data_base64": "e30="}, "data_base64"),
        ({"specversion": 1}, "no specversion"),
    ],
)
def test_a_cloud_event_without_an_event_is_refused_by_its_id(changes: dict[str, Any], said: str) -> None:
    invalid = refused(record({**STRUCTURED, **changes}))
    assert (invalid.entry, invalid.event_id) == (errors.EVENT_SCHEMA, "ce-7")
    assert said in invalid.message


def test_a_value_that_only_claims_to_be_a_cloud_event_is_refused() -> None:
    assert "no specversion" in refused(record(headers=CONTENT_TYPE)).message
    assert refused(record({**STRUCTURED, "id": ""})).message.startswith("eventId")


def test_names_that_may_be_personal_data_are_not_shown() -> None:
    for value in (
        {**NEW, "jana@example.com": 1},
        {**NEW, "entities": {"Jana Beispiel": []}},
        {**NEW, "consumer": {"ConsumerId": "c-1", "jana@example.com": True}},
        {**NEW, "consumer": {"ConsumerId": "c-1", "jana@example.com": []}},
    ):
        message = refused(record(value)).message
        assert "(unusual name)" in message
        assert "jana" not in message.lower()


# No message ever holds a value. Each value is made recognisable, then something is broken.

_marked = st.integers(10**11, 10**12 - 1).flatmap(
    lambda n: st.sampled_from([f"Zq{n}", f"zq {n}@example.com", n, n + 0.5, [f"Zq{n}"], {"name": f"Zq{n}"}])
)
_BASES = [NEW, *(to_json(event) for event in sample_events(40, seed=11, consumers=5))]
_FIELDS = ("eventId", "operation", "consumerId", "market", "occurredAt", "consumer", "entities", "deleteScope")


def _leaves(document: Any) -> list[tuple[Any, Any]]:
    found = []
    for place, value in list(document.items() if isinstance(document, dict) else enumerate(document)):
        found += _leaves(value) if isinstance(value, dict | list) else [(document, place)]
    return found


@st.composite
def broken_records(draw: st.DrawFn) -> tuple[SourceRecord, list[str]]:
    """A record, and the marks in its values and odd names, any of which would give a value away."""
    document = copy.deepcopy(draw(st.sampled_from(_BASES)))
    marks: list[str] = []

    def mark() -> Any:
        value = draw(_marked)
        marks.append("".join(re.findall("[0-9]", str(value)))[:12])
        return value

    for container, place in draw(st.lists(st.sampled_from(_leaves(document)), max_size=4)):
        container[place] = mark()
    if draw(st.booleans()):
        document[draw(st.sampled_from(_FIELDS))] = mark()
    if draw(st.booleans()):
        document["extra"] = mark()
    if draw(st.booleans()):
        containers = [document, *(document[name] for name in ("consumer", "entities") if name in document)]
        container = draw(st.sampled_from([container for container in containers if isinstance(container, dict)]))
        container[f"{mark()}@example.com"] = mark()
    text = json.dumps(document).encode()
    if draw(st.integers(0, 4)) == 0:
        text = text[: draw(st.integers(0, len(text)))]
    key = draw(st.sampled_from([str(document.get("consumerId")), "Zq-key"])).encode()
    return record(text, key=key), [*marks, "Zq-key"]


@settings(max_examples=examples(250), deadline=None)
@given(broken_records())
def test_no_message_holds_a_value_of_the_event(broken: tuple[SourceRecord, list[str]]) -> None:
    source, marks = broken
    try:
        read_event(source, CATALOG)
    except InvalidEvent as invalid:
        assert not [mark for mark in marks if mark in f"{invalid} {invalid.message}"]


@settings(max_examples=examples(150), deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_an_event_or_invalid_and_nothing_else(value: bytes) -> None:
    assert refused(record(value)).entry in (errors.EVENT_NOT_TEXT, errors.EVENT_NOT_JSON, errors.EVENT_SCHEMA)


@given(st.binary(max_size=30), st.lists(st.tuples(st.sampled_from(["ce_id", "ce_time", "x"]), st.binary(max_size=9))))
def test_any_key_and_headers_can_stand_on_a_tombstone(key: bytes, headers: list[tuple[str, bytes]]) -> None:
    try:
        event = read_event(record(None, key=key, headers=tuple(headers)), CATALOG)
    except InvalidEvent as invalid:
        assert invalid.entry in (errors.EVENT_NO_KEY, errors.EVENT_KEY_NOT_TEXT, errors.EVENT_KEY_ENCODED)
    else:
        assert event.consumer_id.encode() == key
