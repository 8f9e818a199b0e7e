"""One record or one answer costs bounded work, whatever it holds: the worst kinds of input for every reader.

Each kind is read at a megabyte, which would not end within the test's time if the work were quadratic, and at two
sizes whose work is compared.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import pytest

from app.bundled import schema_path
from app.cmt.errors import CallFailed
from app.cmt.results import Mask, NoResult, call_error, names_of, retrieve_page, write_results
from app.cmt.token_answer import read_token
from app.delivery.outcome import InvalidEvent
from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.delivery.record import SourceRecord
from app.http.answer import Answer
from app.observe.redaction import mask_text
from app.profile.catalog_file import CatalogError, parse_catalog
from app.profile.entities import EntityType
from app.profile.event_reader import read_event
from app.profile.masking import mask
from tests.support.answers import bad, envelope, fault, good, retrieved, written
from tests.support.growth import LINEAR_AT_MOST, growth
from tests.support.records import settlement

MEGABYTE = 1_000_000
_Sized = TypeVar("_Sized", str, bytes)
CATALOG = parse_catalog(schema_path("data-extensions.json").read_bytes())
SETTLED = settlement("e-1")
NEW: dict[str, Any] = {
    "eventId": "e-1",
    "operation": "UPDATE",
    "consumerId": "c-1",
    "market": "DE",
    "occurredAt": "2026-11-21T10:00:00Z",
    "consumer": {"ConsumerId": "c-1"},
}


def members(number: int, value: str) -> str:
    return ",".join(f'"m{index}":{value}' for index in range(number))


def event(consumer: str = '{"ConsumerId":"c-1"}', entities: str = "{}", more: str = "") -> bytes:
    head = json.dumps({name: value for name, value in NEW.items() if name != "consumer"})[:-1]
    return f'{head},"consumer":{consumer},"entities":{entities}{more}}}'.encode()


def braced(text: str) -> str:
    return "{" + text + "}"


def pets(rows: list[str]) -> bytes:
    return event(entities=braced(f'"pet":[{",".join(rows)}]'))


def parent(more: str) -> bytes:
    return event(consumer=braced(f'"ConsumerId":"c-1",{more}'))


# For each kind of value: the bytes for a number of items.
VALUES: dict[str, Callable[[int], bytes]] = {
    "rows that are none": lambda n: pets(["0"] * n),
    "rows without their key": lambda n: pets(["{}"] * n),
    "rows with a wrong value": lambda n: pets(['{"PetId":[]}'] * n),
    "good rows": lambda n: pets([f'{{"PetId":"{index}"}}' for index in range(n)]),
    "one row with many columns": lambda n: pets([braced('"PetId":"1",' + members(n, "1"))]),
    "many wrong values in one row": lambda n: parent(members(n, "[]")),
    "many columns of the parent": lambda n: parent(members(n, "1")),
    "many entity types": lambda n: event(entities=braced(members(n, "[]"))),
    "many members": lambda n: event(more="," + members(n, "1")),
    "a member again and again": lambda n: event(more=',"a":1' * n),
    "members until the last is given twice": lambda n: braced(members(n, "1") + ',"m0":1').encode(),
    "lists in lists": lambda n: b"[" * n,
    "objects in objects": lambda n: b'{"a":' * n,
    "escapes": lambda n: parent('"FirstName":"' + "\\u00e4" * n + '"'),
    "surrogates": lambda n: event(more=',"member":"' + "\\ud800" * n + '"'),
    "a fraction of many digits": lambda n: parent('"FirstName":0.' + "1" * n),
    "a long name": lambda n: parent('"' + "n" * n + '":1'),
    "blanks": lambda n: b" " * n,
    "a cloud event": lambda n: braced(
        f'"specversion":"1.0","id":"{"i" * n}","data":{braced(members(n, "1"))}'
    ).encode(),
}


def read(value: bytes) -> object:
    with contextlib.suppress(InvalidEvent):
        return read_event(SourceRecord("t", 3, 41, 0, b"c-1", value), CATALOG)
    return None


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES.keys())
def test_reading_an_event_is_linear(make: Callable[[int], bytes]) -> None:
    assert growth(make, read, 1000) < LINEAR_AT_MOST


def of_a_megabyte(make: Callable[[int], _Sized]) -> _Sized:
    few, more = len(make(1000)), len(make(2000))
    value = make(MEGABYTE * 1000 // (more - few))
    assert len(value) > MEGABYTE * 0.9
    return value


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES.keys())
def test_a_megabyte_of_the_worst_is_read_and_what_is_said_of_it_is_short(make: Callable[[int], bytes]) -> None:
    value = of_a_megabyte(make)
    try:
        read_event(SourceRecord("t", 3, 41, 0, b"c-1", value), CATALOG)
    except InvalidEvent as invalid:
        assert len(str(invalid)) < 1000
        assert len(invalid.event_id) <= 512


# Texts that are masked: what another system said, and what goes into a log.
TEXTS: dict[str, Callable[[int], str]] = {
    "one letter": lambda n: "a" * n,
    "one digit": lambda n: "1" * n,
    "digits and a letter": lambda n: "1" * n + "a",
    "digits one by one": lambda n: "1 " * n + "1a",
    "digits and blanks": lambda n: "+1" + " " * n,
    "at signs": lambda n: "a@" * n,
    "words before an at sign": lambda n: "a." * n + "@",
    "words after an at sign": lambda n: "a@" + "b." * n + "1",
    "single quotes": lambda n: " 'a" * n,
    "curved quotes": lambda n: " ‘a “a" * n,
    "all quotes": lambda n: " 'a \"a ‘a “a" * n,
    "references": lambda n: "&amp;" * n,
    "references of references": lambda n: "&" + "amp;" * n,
    "a reference of many digits": lambda n: "&#" + "1" * n,
    "ellipses": lambda n: "Ann..." * n,
    "quoted input": lambda n: "input_value=" * n,
    "beginnings of tokens": lambda n: "-eyJaaaaaaaa" * n,
    "beginnings of tokens with dots": lambda n: "eyJaaaaaaaa." * n,
    "bearers": lambda n: "bearer " * n,
    "bearer and blanks": lambda n: "bearer" + " " * n,
    "hexadecimal": lambda n: "0123abcd-" * n,
    "umlauts": lambda n: "ü" * n,
    "sharp s": lambda n: "\u0130" * n,
}
# What the texts may quote.
SENT = ["aaaaaaaaaa", "1111111111", "Anna Maria", "a@a.example", "11", "1-1", "a", None, True]


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("masked", [lambda text: mask(text, SENT, ["Name"]), mask_text], ids=["message", "log"])
def test_masking_is_linear(make: Callable[[int], str], masked: Callable[[str], str]) -> None:
    assert growth(make, masked, 250) < LINEAR_AT_MOST
    masked(of_a_megabyte(make))


VALUES_SENT: dict[str, Callable[[int], list[object]]] = {
    "different": lambda n: [f"value {number}" for number in range(n)],
    "alike": lambda n: ["aaaaaaa" + "a" * (number % 30) for number in range(n)],
    "numbers": lambda n: list(range(n)),
    "long": lambda n: ["aaaaaa " + "b" * n, "ü" * n, "1" * n, Decimal("0." + "1" * n)],
}


@pytest.mark.parametrize("make", VALUES_SENT.values(), ids=VALUES_SENT.keys())
def test_masking_is_linear_in_the_values(make: Callable[[int], list[object]]) -> None:
    text = "aaaaaaaaaaaaaaaa 1 22 333 value 7..., value 12 " * 20
    assert growth(make, lambda values: mask(text, values, ["Name"]), 50) < LINEAR_AT_MOST
    mask(text, make(2000))


# Answers of Marketing Cloud to a write and to a Retrieve, and of the token endpoint.
ROW = {"ConsumerId": "c-1", "ContactId": "k-1", "Value": "Anna Maria Louise"}
MASKED = Mask([ROW], names_of(CATALOG))
VALUE_ERROR = "<ValueError><Name>Value</Name><ErrorCode>1</ErrorCode><ErrorMessage>Anna</ErrorMessage></ValueError>"
APIFAULT = "<apifault><Code>17</Code><Message>m%d</Message></apifault>"
WRITES: dict[str, Callable[[int], bytes]] = {
    "good rows": lambda n: written("".join(map(good, range(n)))),
    "good rows without an end": lambda n: written(good() * n)[:-40],
    "rows with errors": lambda n: written(bad(2, "Anna") * n),
    "one row with many errors": lambda n: written(
        bad(2, "Anna", column=("Value", 1, "Anna")).replace("</ValueErrors>", VALUE_ERROR * n + "</ValueErrors>")
    ),
    "a long message": lambda n: written(bad(2, "a" * n)),
    "an overall status": lambda n: written("", "a 'a" * n),
    "a code of many digits": lambda n: written(bad(2, "x")).replace(b">2<", b">" + b"2" * n + b"<"),
    "faults": lambda n: envelope(f"<Fault><detail>{''.join(APIFAULT % index for index in range(n))}</detail></Fault>"),
    "a long fault": lambda n: fault("Server", "a 'a" * n),
    "elements": lambda n: written("<a/>" * n),
    "deep elements": lambda n: written("<a>" * n),
    "attributes": lambda n: written("<a " + " ".join(f"a{index}=''" for index in range(n)) + "/>"),
    "namespaces": lambda n: written("<a " + " ".join(f"xmlns:a{index}='u'" for index in range(n)) + "/>"),
    "blanks": lambda n: b" " * n,
    "beginnings": lambda n: b"<a:Envelope " * n,
    "objects": lambda n: written("<Results><StatusCode>OK</StatusCode>" + "<Object>" * n),
    "html": lambda n: b"<html><body>" + b"<p>busy" * n,
}
READS: dict[str, Callable[[int], bytes]] = {
    "rows": lambda n: retrieved([ROW] * n),
    "columns": lambda n: retrieved([ROW | {f"c{index}": "x" for index in range(n)}]),
    "a value": lambda n: retrieved([ROW | {"Value": "x" * n}]),
    "a status": lambda n: retrieved([], "Error: " + "a 'a" * n),
    "a consumer": lambda n: retrieved([{"ConsumerId": "c-1" + " " * n}]),
}
TOKENS: dict[str, Callable[[int], bytes]] = {
    "lists in lists": lambda n: b"[" * n,
    "members": lambda n: braced(members(n, "1")).encode(),
    "a number": lambda n: b'{"access_token":"t","expires_in":' + b"9" * n + b"}",
    "a token": lambda n: b'{"access_token":"' + b"e.e" * n + b'"}',
    "an address": lambda n: b'{"access_token":"t","soap_instance_url":"https://' + b"a." * n + b'"}',
    "an error": lambda n: b'{"error":"' + b"e" * n + b'"}',
}


def read_write(body: bytes, status: int = 200) -> None:
    try:
        write_results(Answer(status, body), "Update", MASKED)
    except NoResult as problem:
        call_error(problem, "Update", MASKED)


def read_page(body: bytes) -> None:
    try:
        retrieve_page(Answer(200, body), "c-1", CATALOG[EntityType.CONTACT])
    except NoResult as problem:
        call_error(problem, "Retrieve", MASKED)


def read_token_answer(body: bytes) -> None:
    for status in (200, 401, 500):
        with contextlib.suppress(CallFailed):
            read_token(Answer(status, body), 0.0, None)


ANSWERS = [
    *[pytest.param(make, read_write, id=f"write-{kind}") for kind, make in WRITES.items()],
    *[pytest.param(make, read_page, id=f"retrieve-{kind}") for kind, make in READS.items()],
    *[pytest.param(make, read_token_answer, id=f"token-{kind}") for kind, make in TOKENS.items()],
]


@pytest.mark.parametrize(("make", "reader"), ANSWERS)
def test_reading_an_answer_is_linear(make: Callable[[int], bytes], reader: Callable[[bytes], None]) -> None:
    assert growth(make, reader, 250) < LINEAR_AT_MOST
    reader(of_a_megabyte(make))


CATALOGS: dict[str, Callable[[int], str]] = {
    "members": lambda n: braced(members(n, "1")),
    "markets": lambda n: '{"dataExtensions":1,"markets":' + braced(members(n, "{}")) + "}",
    "objects in objects": lambda n: '{"a":' * n,
    "a member given often": lambda n: braced(",".join(['"a":1'] * n)),
}


@pytest.mark.parametrize("make", CATALOGS.values(), ids=CATALOGS)
def test_reading_a_catalog_is_linear(make: Callable[[int], str]) -> None:
    def read(text: str) -> None:
        with contextlib.suppress(CatalogError):
            parse_catalog(text)

    assert growth(make, read, 250) < LINEAR_AT_MOST
    read(of_a_megabyte(make))


@pytest.mark.parametrize("first", [False, True], ids=["the last first", "the first first"])
def test_settling_the_parked_events_of_one_consumer_is_linear(first: bool) -> None:
    def parked(number: int) -> PartitionState:
        state = PartitionState(upto=number)
        for offset in range(number):
            state.park(offset, ParkedEvent("C-1"))
        return state

    def settle(state: PartitionState) -> None:
        state = state.copy()
        for offset in sorted(state.parked, reverse=not first):
            state.settle(offset, SETTLED)

    assert growth(parked, settle, 1_000) < LINEAR_AT_MOST


@pytest.mark.parametrize("size", [3000, 400_000])
def test_keys_and_headers_of_any_size_are_read(size: int) -> None:
    headers = (*[("ce_id", b"x" * size)] * 3, ("content-type", b"application/" * size))
    for key in (b"k" * size, b"{" * size, b"\xc3" * size):
        with pytest.raises(InvalidEvent):
            read_event(SourceRecord("t", 3, 41, 0, key, None, headers), CATALOG)
