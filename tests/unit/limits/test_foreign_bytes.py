"""Only its own error leaves a reader of bytes that another program wrote, whatever they are."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.bundled import schema_path
from app.cmt.errors import CallFailed
from app.cmt.results import LONGEST_MESSAGE, Mask, NoResult, call_error, names_of, retrieve_page, write_results
from app.cmt.token_answer import LIFE_WHEN_UNKNOWN, read_token, service_url
from app.delivery import errors as registry
from app.delivery.alert import Alert, UnreadableAlert
from app.delivery.headers import Failing, NotOurCopy, dead_letter_headers, retry_headers, source_of
from app.delivery.outcome import InvalidEvent
from app.delivery.record import SourceRecord
from app.http.address import address_of, is_secure
from app.http.answer import Answer
from app.http.limits import AnswerTooLarge, unpacked
from app.http.retry_after import LONGEST_SECONDS, retry_after_seconds
from app.profile.catalog_file import parse_catalog
from app.profile.entities import EntityType, Row
from app.profile.event_reader import read_event
from tests.support.answers import bad, fault, good, retrieved, written
from tests.support.examples import examples
from tests.unit.limits.foreign import ANY_JSON, altered, as_json, changed

CATALOG = parse_catalog(schema_path("data-extensions.json").read_bytes())
ROWS: Sequence[Row] = [
    {"ConsumerId": "c-1", "ContactId": "k-1", "Value": "Anna Maria Louise", "IsPrimary": True},
    {"ConsumerId": "c-1", "ContactId": "k-2", "Value": Decimal("1E+999999"), "Type": None},
]
MASKED = Mask(ROWS, names_of(CATALOG))
WRITES = [
    written(good() + good(1)),
    written(good() + bad(310007, "Errors", ordinal=1, column=("Value", 70002, "'Anna' is too long"))),
    written(bad(2, "Anna", ordinal=7), "Has Errors"),
    written(""),
    fault("Server", "Rate limit", 17, "Rate limit"),
]
READS = [
    retrieved([{"ConsumerId": "c-1", "ContactId": "k-1", "Value": "<Anna>"}]),
    retrieved([], "Error: Anna"),
    WRITES[-1],
]
STATUSES = st.sampled_from([200, 200, 200, 500, 429, 403, 999, 100])

tried = settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def short_and_whole(text: str) -> None:
    """What goes into headers, records and logs."""
    text.encode()
    assert len(text) < LONGEST_MESSAGE + 200


@tried
@given(changed(*WRITES), STATUSES, st.sampled_from(["Update", "Delete"]))
def test_an_answer_to_a_write(body: bytes, status: int, operation: str) -> None:
    try:
        results = write_results(Answer(status, body), operation, MASKED)
    except NoResult as problem:
        short_and_whole(call_error(problem, "Update", MASKED).message)
    else:
        assert [result.ordinal for result in results] == [0, 1]
        for result in results:
            assert result.ok or result.code in registry.REGISTRY
            short_and_whole(result.message or "")


@tried
@given(changed(*READS), STATUSES)
def test_an_answer_to_a_retrieve(body: bytes, status: int) -> None:
    try:
        page = retrieve_page(Answer(status, body), "c-1", CATALOG[EntityType.CONTACT])
    except NoResult as problem:
        short_and_whole(call_error(problem, "Retrieve", MASKED).message)
    else:
        assert all(row["ConsumerId"] == "c-1" for row in page.rows)


TOKEN = {
    "access_token": "s3cr3t-token",
    "expires_in": 1079,
    "soap_instance_url": "https://x.soap.example/",
    "error": "invalid_client",
    "error_description": "no such client",
}
WITH_TIME = jwt.encode({"exp": 4_000_000_000}, "k" * 32)


def token_is_read(body: bytes, status: int) -> None:
    try:
        token = read_token(Answer(status, body), 1000.0, None)
    except CallFailed as failure:
        assert failure.error.code.startswith("CMT-TOKEN-")
        assert registry.lookup(failure.error.code).every_call  # an outage: no event is given up because of it
        assert "s3cr3t" not in failure.error.message
        short_and_whole(failure.error.message)
    else:
        assert token.value.isascii()
        assert 1000.0 < token.refresh_at <= token.expires_at
        assert is_secure(token.soap_url)
        with contextlib.suppress(ValueError):  # the transport makes a failed call of it
            address_of(token.soap_url)


@tried
@given(changed(as_json(TOKEN), as_json({**TOKEN, "access_token": WITH_TIME})), STATUSES)
def test_bytes_of_the_token_endpoint(body: bytes, status: int) -> None:
    token_is_read(body, status)


@tried
@given(altered(TOKEN), STATUSES)
def test_json_of_the_token_endpoint(document: dict[str, object], status: int) -> None:
    token_is_read(as_json(document), status)


@tried
@given(ANY_JSON | st.dictionaries(st.just("exp"), ANY_JSON, min_size=1))
def test_a_token_that_looks_like_a_jwt(claims: object) -> None:
    token = b".".join(
        [jwt.utils.base64url_encode(part) for part in (b'{"alg":"none"}', as_json(claims), b"s")]
    ).decode()
    token_is_read(as_json({**TOKEN, "access_token": token}), 200)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"access_token":' * 200_000,
        as_json({**TOKEN, "expires_in": int("9" * 400)}),
        as_json({**TOKEN, "expires_in": "9" * 400}),
        as_json({**TOKEN, "expires_in": -1}),
        as_json({**TOKEN, "access_token": "x\ud800"}),
        as_json({**TOKEN, "soap_instance_url": "http://elsewhere.example/"}),
        as_json({**TOKEN, "more": "x" * 70_000}),
        b'{"access_token": "secret", "expires_in": ' + b"9" * 5000 + b"}",
    ],
)
def test_an_odd_token_answer_is_an_outage_of_the_token_endpoint(body: bytes) -> None:
    with pytest.raises(CallFailed) as caught:
        read_token(Answer(200, body), 1000.0, None)
    assert caught.value.error.code == "CMT-TOKEN-MALFORMED"


def test_a_jwt_that_ends_at_no_time_has_the_life_that_is_guessed() -> None:
    token = b".".join(
        [jwt.utils.base64url_encode(part) for part in (b'{"alg":"none"}', b'{"exp":1e400}', b"s")]
    ).decode()
    document = {**TOKEN, "access_token": token, "expires_in": None}
    assert read_token(Answer(200, as_json(document)), 0.0, None).expires_at == LIFE_WHEN_UNKNOWN


@tried
@given(st.text(max_size=60) | st.from_regex(r"https?://[\[\]@:/.a-z0-9%]*", fullmatch=True))
def test_an_address(text: str) -> None:
    with contextlib.suppress(ValueError):
        address_of(service_url(text))
    assert is_secure(text) in (True, False)


NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
DATE = b"Sat, 31 Jan 2026 12:01:30 GMT"


@tried
@given(changed(DATE, b"120").map(lambda raw: raw.decode("latin-1")) | st.text(max_size=40))
def test_a_retry_after_header(value: str) -> None:
    wait = retry_after_seconds(value, NOON)
    assert wait is None or 0 <= wait <= LONGEST_SECONDS


@tried
@given(st.binary(max_size=200))
def test_a_body_that_is_said_to_be_gzip(body: bytes) -> None:
    with contextlib.suppress(ValueError, AnswerTooLarge):
        unpacked(body)


ALERT = json.loads(Alert("CMT-TIMEOUT", "pet", "UPDATE", "DE", "3-17", "1f0a", "late", 0).to_bytes())


@tried
@given(altered(ALERT).map(as_json) | changed(as_json(ALERT)))
def test_an_alert(value: bytes) -> None:
    with contextlib.suppress(UnreadableAlert):
        alert = Alert.from_bytes(value)
        assert Alert.from_bytes(alert.to_bytes()) == alert


EVENT = {
    "eventId": "e-1",
    "operation": "NEW",
    "consumerId": "c-1",
    "market": "DE",
    "occurredAt": "2026-11-21T10:00:00Z",
    "consumer": {"ConsumerId": "c-1"},
    "entities": {"pet": [{"PetId": "1"}]},
    "deleteScope": None,
    "specversion": "1.0",
    "id": "ce-1",
    "data": {},
}


def event_is_read(value: bytes | None, key: bytes | None, headers: tuple[tuple[str, bytes | None], ...] = ()) -> None:
    with contextlib.suppress(InvalidEvent):
        try:
            read_event(SourceRecord("t", 3, 41, 0, key, value, headers), CATALOG)
        except InvalidEvent as invalid:
            assert invalid.entry.code in registry.REGISTRY
            f"{invalid.message} {invalid.event_id} {invalid.market} {invalid.operation}".encode()
            assert len(invalid.message) < 2000
            raise


@tried
@given(altered(EVENT).map(as_json) | altered({k: v for k, v in EVENT.items() if k != "specversion"}).map(as_json))
def test_json_of_an_event(value: bytes) -> None:
    event_is_read(value, b"c-1")


@tried
@given(
    changed(as_json({name: value for name, value in EVENT.items() if name not in ("specversion", "id", "data")})),
    st.binary(max_size=8) | st.none(),
    st.lists(
        st.tuples(st.sampled_from(["ce_id", "ce_time", "content-type"]), st.binary(max_size=9) | st.none()), max_size=3
    ),
)
def test_bytes_of_an_event(value: bytes, key: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
    event_is_read(value, key, tuple(headers))
    event_is_read(None, key, tuple(headers))


_SOURCE = st.sampled_from(
    ["x-sync-source-topic", "x-sync-source-partition", "x-sync-source-offset", "x-sync-source-timestamp"]
)
_VALUES = st.sampled_from(
    [b"7", b"-1", b"", None, b"9" * 400, b"9" * 5000, b"\xff", b" 7 ", b"1_0", "٣".encode(), b"topic"]
)


@tried
@given(st.lists(st.tuples(_SOURCE, _VALUES), max_size=8), st.booleans())
def test_headers_of_a_retry_record(headers: list[tuple[str, bytes | None]], whole: bool) -> None:
    all_of_them: list[tuple[str, bytes | None]] = [
        ("x-sync-source-topic", b"topic"),
        ("x-sync-source-partition", b"3"),
        ("x-sync-source-offset", b"41"),
        ("x-sync-source-timestamp", b"1700000000000"),
    ]
    copy = SourceRecord("retry", 3, 7, 0, b"k", b"v", (*(all_of_them if whole else []), *headers))
    with contextlib.suppress(NotOurCopy):
        source = source_of(copy, "topic", None)
        # What is made of it can be written again.
        dead_letter_headers(source, Failing("e", 1), "group", "exception")
        retry_headers(source, Failing("e", 1), "mark")
