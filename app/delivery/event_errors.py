"""Errors of the event itself: it cannot be processed as it is."""

from __future__ import annotations

from app.delivery.error_registry import ErrorClass, register

_I = ErrorClass.INVALID

EVENT_NO_KEY = register(
    "EVENT-NO-KEY",
    _I,
    "The record has no key.",
    "Have the producer use consumerId as the Kafka key and publish the event again. Then `dlq discard ID`: "
    "without a key the dead letter cannot be redriven.",
)
EVENT_KEY_NOT_TEXT = register(
    "EVENT-KEY-NOT-TEXT",
    _I,
    "The key is not UTF-8 text.",
    "Have the producer write consumerId as UTF-8 and publish the event again. Then `dlq discard ID`: without a "
    "readable key the dead letter cannot be redriven.",
)
EVENT_KEY_MISMATCH = register(
    "EVENT-KEY-MISMATCH",
    _I,
    "The Kafka key differs from consumerId, so order per consumer cannot be kept.",
    "If the key is right: `dlq edit ID`, then `dlq redrive ID`. If it is wrong: have the producer use consumerId "
    "as the key and publish the event again, then `dlq discard ID`.",
)
EVENT_KEY_ENCODED = register(
    "EVENT-KEY-ENCODED",
    _I,
    "The value is null, which deletes the consumer named by the key. But the key looks like JSON, or begins with a "
    "byte order mark or the prefix of a schema registry: no consumer has such an ID.",
    "Have the producer write keys with a plain string serializer and publish the deletion again. Then `dlq "
    "discard ID`.",
)
EVENT_NOT_TEXT = register(
    "EVENT-NOT-TEXT",
    _I,
    "The value is not UTF-8 text.",
    "Check the producer's encoding. Give the event a correct value with `dlq edit ID`, then `dlq redrive ID`.",
)
EVENT_NOT_JSON = register(
    "EVENT-NOT-JSON",
    _I,
    "The value is not a JSON object.",
    "Check the producer. Give the event a correct value with `dlq edit ID`, then `dlq redrive ID`.",
)
EVENT_SCHEMA = register(
    "EVENT-SCHEMA",
    _I,
    "The value does not follow the event schema.",
    "Compare it with consumer-profile-event.schema.json. Correct it with `dlq edit ID`, then `dlq redrive ID`.",
)
EVENT_MARKET_UNKNOWN = register(
    "EVENT-MARKET-UNKNOWN",
    _I,
    "CMT_DATA_EXTENSIONS lists markets, but neither the event's market nor a defaultMarket. Or a null value deletes a "
    "consumer whose market is not known.",
    "Add the market or a defaultMarket to CMT_DATA_EXTENSIONS and restart the workers, or correct the event with "
    "`dlq edit ID`. Then `dlq redrive --reason EVENT-MARKET-UNKNOWN`.",
)
EVENT_UNKNOWN_COLUMN = register(
    "EVENT-UNKNOWN-COLUMN",
    _I,
    "A row has a column that its data extension does not have.",
    "Add the column to the data extension and to CMT_DATA_EXTENSIONS and restart the workers, or correct the "
    "event with `dlq edit ID`. Then `dlq redrive --reason EVENT-UNKNOWN-COLUMN`.",
)
EVENT_COLUMN_TWICE = register(
    "EVENT-COLUMN-TWICE",
    _I,
    "A row names a column twice, in two spellings. Marketing Cloud ignores case in column names, so it is not known "
    "which value counts.",
    "Correct the event with `dlq edit ID`, then `dlq redrive ID`. Correct its source too.",
)
EVENT_MISSING_KEY_COLUMN = register(
    "EVENT-MISSING-KEY-COLUMN",
    _I,
    "A row lacks a primary-key column of its data extension.",
    "Correct the event with `dlq edit ID`, then `dlq redrive ID`. Correct its source too.",
)
EVENT_FOREIGN_ROW = register(
    "EVENT-FOREIGN-ROW",
    _I,
    "A row names another consumer than the event.",
    "Correct the event with `dlq edit ID`, then `dlq redrive ID`. Correct its source too.",
)
EVENT_TOO_LARGE = register(
    "EVENT-TOO-LARGE",
    _I,
    "Key, value and headers, unpacked, are larger than KAFKA_MAX_MESSAGE_BYTES, or larger than the topic accepts. The "
    "record was not parsed. A dead letter that does not fit holds headers and the source position only.",
    "Raise KAFKA_MAX_MESSAGE_BYTES, run `topics create` and restart the workers. Then `dlq redrive --reason "
    "EVENT-TOO-LARGE`, as long as the main topic holds the record.",
)
EVENT_VALUE_OMITTED = register(
    "EVENT-VALUE-OMITTED",
    _I,
    "The record has the header x-sync-value-omitted: it is a dead letter that had lost its value, published again. Run "
    "as a null value, it would delete the consumer.",
    "Redrive the original dead letter, or have the producer send the consumer's current state. Then `dlq discard ID`.",
)
