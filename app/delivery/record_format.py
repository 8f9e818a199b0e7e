"""What the durable records have in common: the format number, the keys, and the errors of reading them. No I/O."""

from __future__ import annotations

from typing import Any

import orjson

from app.delivery.pipeline_identity import NEW_GROUP
from app.delivery.state_fields import MalformedPart, key_number

FORMAT = 1
# The partition record has a format of its own. Format 2 brought readmitted dead letters; format 1 is read too.
PARTITION_FORMAT = 2
_READ = {"partition": (FORMAT, PARTITION_FORMAT)}

# What the code that takes a JSON object apart raises when the object has another shape.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


class StateError(ValueError):
    """A state record that this program cannot read."""


def malformed(kind: str, error: Exception) -> StateError:
    """The error to raise when reading a record raised one of ``MALFORMED``. It does not repeat the content."""
    reason = str(error) if isinstance(error, MalformedPart) else type(error).__name__
    return StateError(f"not a {kind} record: {reason}")


def unreadable_record(topic: str, partition: int, key: str, offset: int | None, reason: str) -> str:
    """Why a partition's current record cannot be used, and the ways to go on; one line."""
    place = "" if offset is None else f", offset {offset}"
    return (
        f"The record of partition {partition} in {topic} (key {key}{place}) cannot be used: {reason}. If a newer "
        "version of this program wrote it, run that version. If another program wrote it, remove it with a record that "
        f"has the same key and no value: printf '{key}=' | kcat -P -b BROKER -t {topic} -p {partition} -K = -Z; then "
        f"the record before it counts, if the topic still has it. Or {NEW_GROUP}."
    )


def partition_key(partition: int, epoch: int) -> bytes:
    """Key of a partition record in the state topic."""
    return f"{partition}|{epoch}".encode()


def parse_partition_key(key: bytes) -> tuple[int, int]:
    """(partition, epoch) of a partition record's key.

    Raises:
        StateError: not the key of a partition record.
    """
    try:
        partition, epoch = key.decode().split("|")
        return key_number(partition), key_number(epoch)
    except ValueError:
        raise StateError("not the key of a partition record") from None


def state_document(value: bytes, kind: str) -> dict[str, Any]:
    """The JSON object of a state record.

    Raises:
        StateError: not a JSON object, or one of a format that this program does not know.
    """
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise StateError(f"not a {kind} record: {error}") from None
    formats = _READ.get(kind, (FORMAT,))
    if not isinstance(document, dict) or document.get("v") not in formats:
        raise StateError(f"not a {kind} record of format {formats[-1]}; was it written by a newer program?")
    return document
