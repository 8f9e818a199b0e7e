"""Reads events: from the bytes of a record to a ``ProfileEvent``, or an ``InvalidEvent`` with a registry code.

The same bytes and the same catalog always give the same result, so a replay decides the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from app.delivery.errors import (
    EVENT_KEY_ENCODED,
    EVENT_KEY_MISMATCH,
    EVENT_KEY_NOT_TEXT,
    EVENT_MARKET_UNKNOWN,
    EVENT_NO_KEY,
    EVENT_NOT_JSON,
    EVENT_SCHEMA,
    EVENT_TOO_LARGE,
)
from app.delivery.outcome import MARKET_PATTERN, UNKNOWN_MARKET, InvalidEvent
from app.delivery.record import SourceRecord
from app.profile.cloud_event import is_structured, structured_data
from app.profile.entities import CHILD_TYPES, Catalog, EntityType
from app.profile.event import ID_LENGTH, DeleteScope, Operation, ProfileEvent, has_utf8_form
from app.profile.event_faults import in_words, place_of, unknown_member
from app.profile.event_rows import RowFault, checked_row, checked_rows
from app.profile.event_value import UnreadableValue, encoding_of, read_json

# A message names at most this many faults of an event. More would not help, and finding all of them takes long.
FAULTS_NAMED = 5

# The names of an event's members on the wire.
_MEMBERS = tuple(to_camel(name) for name in ProfileEvent.model_fields)


def read_event(
    record: SourceRecord, catalog: Catalog, last_market: str = UNKNOWN_MARKET, *, largest: int | None = None
) -> ProfileEvent:
    """Decode and check one record of the main topic.

    The value is JSON, or a CloudEvent 1.0 in binary mode (``ce_id`` is then the eventId) or structured mode. A null
    value deletes the profile of the key.

    Args:
        last_market: the consumer's last known market, which is the market of a null value.
        largest: bytes of key, value and headers, uncompressed; a larger record is not parsed.

    Raises:
        InvalidEvent: with the first fault that was found.
    """
    event_id = _event_id_of(record)
    if largest is not None and (size := record.size) > largest:
        message = f"key, value and headers have {size:,} bytes, KAFKA_MAX_MESSAGE_BYTES is {largest:,}"
        raise InvalidEvent(EVENT_TOO_LARGE, message, event_id=event_id)
    consumer_id = _consumer_of(record, event_id)
    if record.value is None:
        if wrapped := _wrapped(record.key or b""):
            message = f"a null value deletes the consumer of its key, but the key {wrapped}"
            raise InvalidEvent(EVENT_KEY_ENCODED, message, event_id=event_id)
        return ProfileEvent(
            event_id=event_id,
            operation=Operation.DELETE,
            consumer_id=consumer_id,
            market=last_market,
            occurred_at=record.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            delete_scope=DeleteScope.PROFILE,
        )
    document = decode_document(record.value, event_id, structured=is_structured(record.header("content-type")))
    if record.header("ce_id"):
        document["eventId"] = event_id
        if "occurredAt" not in document and (time := record.header("ce_time")):
            document["occurredAt"] = time
    return _event_of(document, catalog, event_id, key=consumer_id)


def check_document(document: Mapping[str, Any], catalog: Catalog, event_id: str) -> ProfileEvent:
    """The event of a JSON object that is not published yet, so that it has no Kafka key.

    Args:
        document: as ``decode_document`` returns it.
        event_id: names the event in errors if the document has no usable eventId.

    Raises:
        InvalidEvent: with the first fault that was found.
    """
    return _event_of(document, catalog, event_id)


def _event_of(document: Mapping[str, Any], catalog: Catalog, event_id: str, key: str | None = None) -> ProfileEvent:
    if len(document) > len(_MEMBERS):
        unknown = islice((name for name in document if name not in _MEMBERS), FAULTS_NAMED)
        message = "; ".join(dict.fromkeys(unknown_member(name, _MEMBERS) for name in unknown))
        raise InvalidEvent(EVENT_SCHEMA, message, **_known(document, event_id))
    try:
        event = ProfileEvent.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidEvent(EVENT_SCHEMA, _describe(error), **_known(document, event_id)) from None
    if key is not None and event.consumer_id != key:
        wrapped = _wrapped(key.encode())
        message = f"the Kafka key differs from consumerId{f': it {wrapped}' if wrapped else ''}"
        raise InvalidEvent(EVENT_KEY_MISMATCH, message, **_identity(event))
    tables = catalog.of_market(event.market)
    if tables is None:
        raise InvalidEvent(EVENT_MARKET_UNKNOWN, unknown_market(event.market), **_identity(event))
    return _with_checked_rows(event, tables)


def unknown_market(market: str) -> str:
    """The message for a market without a catalog. ``UNKNOWN_MARKET``: a null value of a consumer never seen before."""
    if market == UNKNOWN_MARKET:
        return "the consumer's market is not known, and CMT_DATA_EXTENSIONS has no defaultMarket"
    return f"CMT_DATA_EXTENSIONS does not list market {market} and has no defaultMarket"


def _event_id_of(record: SourceRecord) -> str:
    event_id = record.header("ce_id") or record.id
    if len(event_id) > ID_LENGTH:
        raise InvalidEvent(EVENT_SCHEMA, f"ce_id is longer than {ID_LENGTH} characters", event_id=record.id)
    return event_id


def _consumer_of(record: SourceRecord, event_id: str) -> str:
    if not record.key:
        raise InvalidEvent(EVENT_NO_KEY, "the record has no key", event_id=event_id)
    try:
        consumer_id = record.key.decode()
    except UnicodeDecodeError:
        raise InvalidEvent(EVENT_KEY_NOT_TEXT, "the key is not UTF-8", event_id=event_id) from None
    if len(consumer_id) > ID_LENGTH:
        raise InvalidEvent(EVENT_SCHEMA, f"the key is longer than {ID_LENGTH} characters", event_id=event_id)
    return consumer_id


def _wrapped(key: bytes) -> str | None:
    """How a key is encoded if it is not the plain consumerId, in words; None: it looks plain."""
    if wrapped := encoding_of(key):
        return wrapped
    return "looks like JSON" if key.lstrip()[:1] in (b"{", b"[", b'"') else None


def decode_document(value: bytes, event_id: str, *, structured: bool = False) -> dict[str, Any]:
    """The JSON object that describes an event. Fractions become ``Decimal``, so that they keep their digits.

    For a CloudEvent in structured mode this is its data, with ``eventId`` and, if missing, ``occurredAt`` taken from
    the CloudEvent. ``structured``: the record's headers say that it is a CloudEvent; a document with ``specversion`` is
    one in any case.

    Raises:
        InvalidEvent: not UTF-8, not JSON, not a JSON object, or a CloudEvent without an event.
    """
    return event_document(decode_json(value, event_id), event_id, structured=structured)


def event_document(decoded: Any, event_id: str, *, structured: bool = False) -> dict[str, Any]:
    """Like ``decode_document``, for JSON that is already decoded."""
    if not isinstance(decoded, dict):
        raise InvalidEvent(EVENT_NOT_JSON, "the value is JSON, but not an object", event_id=event_id)
    if structured or "specversion" in decoded:
        try:
            return structured_data(decoded)
        except UnreadableValue as problem:
            known = _known({"eventId": decoded.get("id")}, event_id)
            raise InvalidEvent(problem.entry, problem.message, **known) from None
    return decoded


def decode_json(value: bytes, event_id: str) -> Any:
    """Like ``read_json``, but with the event's own error.

    Raises:
        InvalidEvent: the value cannot be read.
    """
    try:
        return read_json(value)
    except UnreadableValue as problem:
        raise InvalidEvent(problem.entry, problem.message, event_id=event_id) from None


def _known(document: Mapping[str, Any], event_id: str) -> dict[str, str]:
    """What is known of an event that may be invalid: only identifiers that have the right form."""
    known = {"event_id": event_id}
    if isinstance(own := document.get("eventId"), str) and 0 < len(own) <= ID_LENGTH and has_utf8_form(own):
        known["event_id"] = own
    if isinstance(market := document.get("market"), str) and re.fullmatch(MARKET_PATTERN[1:-1], market):
        known["market"] = market
    if isinstance(operation := document.get("operation"), str) and operation in set(Operation):
        known["operation"] = operation
    return known


def _identity(event: ProfileEvent) -> dict[str, str]:
    return {"event_id": event.event_id, "market": event.market, "operation": event.operation.value}


def _is_value(loc: tuple[int | str, ...]) -> bool:
    """Whether a location is (consumer, column, branch) or (entities, entity, index, column, branch)."""
    return (len(loc) == 3 and loc[0] == "consumer") or (len(loc) == 5 and loc[0] == "entities")


def _describe(error: ValidationError) -> str:
    """Where the faults are and what they are, without the values: pydantic's own texts may quote them."""
    found = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        loc, message = problem["loc"], problem["msg"].removeprefix("Value error, ")
        if _is_value(loc):
            # One line for the union of types, not one for each of its branches.
            line = f"{place_of(loc[:-1])}: must be text, a number, a boolean or null"
        else:
            line = in_words(problem["type"], loc, message, _MEMBERS)
        if line not in found:
            found.append(line)
    more = len(found) - FAULTS_NAMED
    return "; ".join(found[:FAULTS_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _with_checked_rows(event: ProfileEvent, catalog: Catalog) -> ProfileEvent:
    """The event with its rows checked and normalised; see ``event_rows``."""
    changes: dict[str, Any] = {}
    try:
        if event.consumer is not None:
            table = catalog[EntityType.CONSUMER]
            parent = checked_row(EntityType.CONSUMER, event.consumer, event.consumer_id, table)
            if parent is not event.consumer:
                changes["consumer"] = parent
        if event.entities:
            entities = {
                entity: checked_rows(entity, event.entities[entity], event.consumer_id, catalog[entity])
                for entity in CHILD_TYPES
                if entity in event.entities
            }
            if any(entities[entity] is not rows for entity, rows in event.entities.items()):
                changes["entities"] = entities
    except RowFault as fault:
        raise InvalidEvent(fault.entry, fault.message, **_identity(event)) from None
    return event.model_copy(update=changes) if changes else event
