"""The published JSON Schema and ``read_event`` give the same verdict on every document.

Excepted: half surrogate pairs ("\\ud800"), which JSON can write but UTF-8 cannot hold, and numbers that Python's reader
refuses (over 4300 digits, or an exponent of 10^18); the schema's description says so.
"""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from app.bundled import schema_path
from app.delivery.errors import EVENT_SCHEMA
from app.delivery.outcome import InvalidEvent
from app.delivery.record import SourceRecord
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog
from app.profile.event_reader import read_event
from app.profile.samples.samples import sample_events, to_json
from tests.support.examples import examples

SCHEMA = json.loads(schema_path("consumer-profile-event.schema.json").read_bytes())
VALIDATOR = Draft202012Validator(SCHEMA)
CATALOG = parse_catalog(schema_path("data-extensions.json").read_bytes())
SAMPLES = [*SCHEMA["examples"], *(to_json(event) for event in sample_events(60, seed=7, consumers=8))]


def schema_accepts(text: str) -> bool:
    return VALIDATOR.is_valid(json.loads(text, parse_float=Decimal))


def model_accepts(text: str, catalog: Catalog = CATALOG) -> bool:
    """Whether anything but the schema check could stand against the event: the key and the columns are other rules."""
    consumer_id = json.loads(text).get("consumerId")
    key = consumer_id if isinstance(consumer_id, str) and 0 < len(consumer_id) <= 512 else "key"
    try:
        read_event(SourceRecord("t", 0, 0, 0, key.encode(), text.encode()), catalog)
    except InvalidEvent as invalid:
        return invalid.entry is not EVENT_SCHEMA
    return True


def event(**changes: Any) -> dict[str, Any]:
    """A NEW event with some fields changed; ``...`` leaves a field out."""
    document = {
        "eventId": "e-1",
        "operation": "NEW",
        "consumerId": "c-1",
        "market": "DE",
        "occurredAt": "2026-01-31T23:59:59Z",
        "consumer": {"ConsumerId": "c-1"},
        **changes,
    }
    return {name: value for name, value in document.items() if value is not ...}


def row(value: Any) -> dict[str, Any]:
    return event(consumer={"ConsumerId": "c-1", "FirstName": value})


def delete(**changes: Any) -> dict[str, Any]:
    return event(**{"operation": "DELETE", "consumer": ..., **changes})


ACCEPTED = {
    "the least": event(),
    "all entity types empty": event(entities={name: [] for name in SCHEMA["properties"]["entities"]["properties"]}),
    "update": event(operation="UPDATE"),
    "longest IDs": event(eventId="e" * 512, consumerId="😀" * 512),
    "identifier of one space": event(eventId=" "),
    "longest market": event(market="A-" * 8),
    "market unknown": event(market="-"),
    "explicit null scope": event(deleteScope=None),
    "lower-case time": event(occurredAt="2026-01-31t23:59:60.123456789z"),
    "time with offset": event(occurredAt="2026-12-01T00:00:00-23:59"),
    "day that no month has is the source's affair": event(occurredAt="2026-02-31T00:00:00Z"),
    "null value": row(None),
    "empty value": row(""),
    "true": row(True),
    "big integer": row(10**300),
    "long fraction": row(0.12345678901234567),
    "unicode": row("Zoë 渡辺 😀 \u0000"),
    "very long value": row("x" * 100_000),
    "delete": delete(),
    "delete with an empty list of entities": delete(entities={}),
    "delete profile": delete(deleteScope="PROFILE"),
    "delete profile with rows, which say nothing": delete(deleteScope="PROFILE", entities={"pet": [{"PetId": "1"}]}),
    "delete with a parent row, which says nothing": delete(consumer={"ConsumerId": "c-1"}),
    "delete entities": delete(deleteScope="ENTITIES", entities={"pet": [{"PetId": "1"}]}),
    "delete entities, none of a type": delete(deleteScope="ENTITIES", entities={"pet": []}),
}

REFUSED = {
    **{f"no {name}": event(**{name: ...}) for name in SCHEMA["required"]},
    **{f"null {name}": event(**{name: None}) for name in SCHEMA["required"]},
    **{f"number for {name}": event(**{name: 1}) for name in SCHEMA["required"]},
    "unknown field": event(note="x"),
    "field name in another spelling": event(event_id="e-1"),
    "empty eventId": event(eventId=""),
    "eventId too long": event(eventId="e" * 513),
    "consumerId too long": event(consumerId="c" * 513),
    "operation in another spelling": event(operation="new"),
    "operation in a list": event(operation=["NEW"]),
    "market too long": event(market="A" * 17),
    "market empty": event(market=""),
    "market with a newline": event(market="DE\n"),
    "market with an umlaut": event(market="DÉ"),
    "market with other digits": event(market="١"),
    "time without offset": event(occurredAt="2026-01-31T23:59:59"),
    "time with a newline": event(occurredAt="2026-01-31T23:59:59Z\n"),
    "time with a space": event(occurredAt="2026-01-31 23:59:59Z"),
    "month 13": event(occurredAt="2026-13-01T00:00:00Z"),
    "24 o'clock": event(occurredAt="2026-01-01T24:00:00Z"),
    "no parent": event(consumer=...),
    "null parent": event(consumer=None),
    "update without parent": event(operation="UPDATE", consumer=...),
    "parent in a list": event(consumer=[{"ConsumerId": "c-1"}]),
    "parent is text": event(consumer="c-1"),
    "list as a value": row([1]),
    "object as a value": row({"a": 1}),
    "empty list as a value": row([]),
    "null entities": event(entities=None),
    "entities in a list": event(entities=[]),
    "unknown entity type": event(entities={"address": []}),
    "parent among the entities": event(entities={"consumer": []}),
    "entity type in another spelling": event(entities={"digitalasset": []}),
    "rows not in a list": event(entities={"pet": {"PetId": "1"}}),
    "null rows": event(entities={"pet": None}),
    "null row": event(entities={"pet": [None]}),
    "row in a list": event(entities={"pet": [[]]}),
    "nested value in a row": event(entities={"pet": [{"PetId": {"a": 1}}]}),
    "scope on a NEW": event(deleteScope="PROFILE"),
    "unknown scope": delete(deleteScope="ALL"),
    "empty scope": delete(deleteScope=""),
    "delete with rows and no scope": delete(entities={"pet": [{"PetId": "1"}]}),
    "delete with rows and null scope": delete(deleteScope=None, entities={"pet": []}),
    "delete entities without entities": delete(deleteScope="ENTITIES"),
    "delete entities with no type": delete(deleteScope="ENTITIES", entities={}),
}


def test_the_schema_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("document", SCHEMA["examples"], ids=lambda e: f"{e['operation']} {e.get('deleteScope', '')}")
def test_its_examples_are_events_of_the_bundled_data_extensions(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    assert schema_accepts(text)
    read_event(SourceRecord("t", 0, 0, 0, document["consumerId"].encode(), text.encode()), CATALOG)


@pytest.mark.parametrize("document", ACCEPTED.values(), ids=ACCEPTED)
def test_both_accept(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    assert (schema_accepts(text), model_accepts(text)) == (True, True)


@pytest.mark.parametrize("document", REFUSED.values(), ids=REFUSED)
def test_both_refuse(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    assert (schema_accepts(text), model_accepts(text)) == (False, False)


# Documents near the border: a sample with a few things changed.

_texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    _texts,
    st.sampled_from(["NEW", "UPDATE", "DELETE", "PROFILE", "ENTITIES", "DE", "DE\n", "", "x" * 512, "x" * 513]),
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_texts, inner, max_size=2), max_leaves=4
)
_times = st.from_regex(
    r"\A[0-9]{4}-[0-1][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,3})?"
    r"([Zz]|[+-][0-2][0-9]:[0-6][0-9])?\n?\Z"
)
_markets = st.from_regex(r"\A[A-Za-z0-9_é-]{0,18}\n?\Z")
_fields = sorted(SCHEMA["properties"])
_entity_names = st.sampled_from([*SCHEMA["properties"]["entities"]["properties"], "consumer", "Pet", ""])


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every (container, key or index) in a document."""
    found = []
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for place, value in list(inside):
        found.append((document, place))
        if isinstance(value, dict | list):
            found.extend(_places(value))
    return found


def _mutate(draw: st.DrawFn, document: dict[str, Any]) -> None:
    match draw(st.integers(0, 8)):
        case 0:
            document.pop(draw(st.sampled_from(_fields)), None)
        case 1:
            document[draw(st.sampled_from(_fields))] = draw(_values)
        case 2:
            document[draw(_texts)] = draw(_values)
        case 3:
            document["operation"] = draw(st.sampled_from(["NEW", "UPDATE", "DELETE"]))
        case 4:
            document["deleteScope"] = draw(st.sampled_from(["PROFILE", "ENTITIES", None]))
        case 5:
            document["occurredAt"] = draw(_times)
        case 6:
            document["market"] = draw(_markets)
        case 7:
            entities = document.get("entities")
            document["entities"] = {**entities} if isinstance(entities, dict) and draw(st.booleans()) else {}
            rows = st.lists(st.dictionaries(_texts, _scalars, max_size=3) | _values, max_size=2)
            document["entities"] |= draw(st.dictionaries(_entity_names, rows | _values, max_size=2))
        case _:
            container, place = draw(st.sampled_from(_places(document) or [(document, "x")]))
            container[place] = draw(_values)


@st.composite
def documents(draw: st.DrawFn) -> str:
    document = copy.deepcopy(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, 3))):
        _mutate(draw, document)
    return json.dumps(document, ensure_ascii=draw(st.booleans()))


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_both_agree_on_documents_near_the_border(text: str) -> None:
    assert schema_accepts(text) == model_accepts(text)


@pytest.mark.parametrize("verdict", [True, False])
def test_documents_near_the_border_lie_on_both_sides(verdict: bool) -> None:
    unchanged = {json.dumps(sample) for sample in SAMPLES}
    find(documents(), lambda text: schema_accepts(text) is verdict and json.dumps(json.loads(text)) not in unchanged)
