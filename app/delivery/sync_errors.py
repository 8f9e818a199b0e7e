"""Errors on our side, and what operators do with events."""

from __future__ import annotations

from app.delivery.error_registry import ErrorClass, register

_P = ErrorClass.PERMANENT

SYNC_BUG = register(
    "SYNC-BUG",
    _P,
    "This program failed on the event because of an error of its own.",
    "Report it with the worker's log. After an update of this program: `dlq redrive --reason SYNC-BUG`.",
)
SYNC_COPY_LOST = register(
    "SYNC-COPY-LOST",
    _P,
    "The event was parked, but its record is gone from both the retry topic and the main topic: it was deleted, by "
    "retention or by hand, before the event was settled. The dead letter has no value.",
    "Have the producer send the consumer's current state, then `dlq discard ID`. Run `topics check`, which "
    "compares retention times.",
)
SYNC_SUPERSEDED = register(
    "SYNC-SUPERSEDED",
    _P,
    "A later event of the consumer has been written. This older event would overwrite it, so it was not sent.",
    "Nothing to do.",
)
SYNC_CUT_OFF = register(
    "SYNC-CUT-OFF",
    _P,
    "Kafka's retention deleted events of the main topic before they were read.",
    "Publish their consumers' state again from the database, and raise retention.ms of the main topic.",
)
SYNC_OPERATOR = register("SYNC-OPERATOR", _P, "An operator discarded the event.", "Nothing to do.")
SYNC_ERASED = register(
    "SYNC-ERASED",
    _P,
    "The consumer's profile was deleted after this event failed, so its dead letter was closed.",
    "Nothing to do.",
)
SYNC_VALUE_GONE = register(
    "SYNC-VALUE-GONE",
    _P,
    "The dead letter cannot be redriven: Kafka's retention deleted its bytes.",
    "Have the producer send the consumer's current state, then `dlq discard ID`. Raise retention.ms of the "
    "dead-letter topic if people need more time.",
)
SYNC_FOREIGN = register(
    "SYNC-FOREIGN",
    _P,
    "Another program put this record into the dead-letter topic, or published a dead letter again that is not one of "
    "this group's.",
    "`dlq show ID` shows where it comes from; `dlq show ID --show-values` also its message and value. If it is an "
    "event for this program: `dlq redrive ID` publishes it as a new event. If not: `dlq discard ID`.",
)
