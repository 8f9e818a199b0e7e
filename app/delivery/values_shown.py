"""The record that a person saw the values of dead letters. It stands in the tasks topic, beside what persons have done.

| key              | value                       |
|------------------|-----------------------------|
| ``shown|<name>`` | who saw which values, when  |

Every record has a key of its own, so compaction removes none. No I/O.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import orjson

from app.delivery import state_fields as fields
from app.delivery.headers import cut
from app.delivery.letter_id import LetterId, read_letter_id
from app.delivery.operator_task import BY_BYTES
from app.delivery.record_format import FORMAT, MALFORMED, StateError, malformed, state_document
from app.delivery.state_fields import MalformedPart

# Values of more dead letters are shown in several steps, each with a record of its own.
MOST_SHOWN = 200

_PREFIX = b"shown|"
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class ShownKey:
    """Names one record."""

    name: str

    def encode(self) -> bytes:
        """The key."""
        return _PREFIX + self.name.encode()


def read_shown_key(key: bytes) -> ShownKey | None:
    """The key of such a record; None: the key of another one.

    Raises:
        StateError: the name cannot be one of ours.

    >>> read_shown_key(b"shown|1795000000000-0a1b2c"), read_shown_key(b"redrive-1|pause")
    (ShownKey(name='1795000000000-0a1b2c'), None)
    """
    if not key.startswith(_PREFIX):
        return None
    name = key[len(_PREFIX) :].decode("utf-8", "replace")
    if not name or len(name) > _LONGEST_NAME or not name.isascii() or not name.isprintable() or "|" in name:
        raise StateError("not a key of the tasks topic")
    return ShownKey(name)


def new_shown_key(now_ms: int) -> ShownKey:
    """A key that no other record has."""
    return ShownKey(f"{now_ms}-{secrets.token_hex(6)}")


@dataclass(frozen=True, slots=True)
class ValuesShown:
    """Who saw the values of which dead letters, when."""

    by: str
    at_ms: int
    letters: tuple[LetterId, ...]

    def encode(self) -> bytes:
        """JSON."""
        return orjson.dumps(
            {"v": FORMAT, "by": cut(self.by, BY_BYTES), "at": self.at_ms, "ids": [str(one) for one in self.letters]}
        )


def decode_shown(value: bytes) -> ValuesShown:
    """Read what ``ValuesShown.encode`` wrote.

    Raises:
        StateError: not such a record.
    """
    document = state_document(value, "shown")
    try:
        return ValuesShown(
            fields.short(document["by"], BY_BYTES),
            fields.moment(document["at"]),
            tuple(fields.few(document["ids"], _letter_id, MOST_SHOWN)),
        )
    except MALFORMED as error:
        raise malformed("shown", error) from None


def _letter_id(value: object) -> LetterId:
    found = read_letter_id(fields.text(value))
    if found is None:
        raise MalformedPart("expected the ID of a dead letter")
    return found
