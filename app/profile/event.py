"""Consumer-profile events: one change of one consumer.

The public description of the format is ``schemas/consumer-profile-event.schema.json``; a test proves that both agree.
``event_reader.py`` makes events of records.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic.alias_generators import to_camel

from app.delivery.outcome import MARKET_PATTERN
from app.profile.entities import CHILD_TYPES, CONSUMER_ID_COLUMN, EntityType, Row

# RFC 3339 date-time, as a pattern: most validators treat JSON Schema's "format" as an annotation only.
TIME_PATTERN = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)"
    r"(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
ID_LENGTH = 512


class Operation(StrEnum):
    """What happened to the consumer."""

    NEW = "NEW"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class DeleteScope(StrEnum):
    """What a DELETE removes: the whole profile, or the rows that the event lists by their keys."""

    PROFILE = "PROFILE"
    ENTITIES = "ENTITIES"


def has_utf8_form(text: str) -> bool:
    """Whether UTF-8 can encode a text.

    JSON can escape half of a surrogate pair, but headers, durable records and XML cannot hold it.
    """
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _encodable(text: str) -> str:
    if not has_utf8_form(text):
        raise ValueError("must be text that UTF-8 can hold")
    return text


Identifier = Annotated[StrictStr, Field(min_length=1, max_length=ID_LENGTH), AfterValidator(_encodable)]
# Decimal, not float: a number is sent with the digits that it was received with.
Value = StrictStr | StrictBool | StrictInt | Annotated[Decimal, Field(strict=True)] | None


class _EndsAtFirstFault(FailFast):
    """Stops at the first fault of each row and each list, because an event may hold a megabyte of faults."""

    __hash__ = object.__hash__  # its base has none, and a Union needs it


Columns = Annotated[dict[str, Value], _EndsAtFirstFault()]
Rows = Annotated[tuple[Columns, ...], _EndsAtFirstFault()]
ChildRows = Annotated[dict[EntityType, Rows], _EndsAtFirstFault()]


class ProfileEvent(BaseModel):
    """One change of one consumer. Field names on the wire are in camelCase."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True)

    event_id: Identifier
    operation: Operation
    consumer_id: Identifier
    market: Annotated[StrictStr, Field(pattern=MARKET_PATTERN)]
    occurred_at: Annotated[StrictStr, Field(pattern=TIME_PATTERN)]
    consumer: Columns | None = None
    entities: ChildRows = Field(default_factory=dict)
    delete_scope: DeleteScope | None = None

    @model_validator(mode="after")
    def _scoped(self) -> Self:
        if EntityType.CONSUMER in self.entities:
            raise ValueError('the parent row belongs into "consumer", not into "entities"')
        if self.operation is Operation.DELETE:
            if self.delete_scope is None and self.entities:
                raise ValueError('a DELETE that lists "entities" needs "deleteScope"')
            if self.delete_scope is DeleteScope.ENTITIES and not self.entities:
                raise ValueError('deleteScope ENTITIES needs "entities"')
        else:
            if self.consumer is None:
                raise ValueError(f'{self.operation} needs "consumer", the parent row')
            if self.delete_scope is not None:
                raise ValueError('"deleteScope" belongs to DELETE only')
        return self

    @property
    def deletes_profile(self) -> bool:
        """Whether the event deletes the whole profile, as a DELETE without scope and rows does."""
        return self.operation is Operation.DELETE and self.delete_scope is not DeleteScope.ENTITIES

    @property
    def is_full_state(self) -> bool:
        """Whether the event alone states everything about the consumer; all but a DELETE of single rows do."""
        return self.operation is not Operation.DELETE or self.deletes_profile

    def rows(self) -> list[tuple[EntityType, Row]]:
        """The child rows in writing order, with ``ConsumerId`` filled in."""
        if not self.entities:
            return []
        return [
            (entity, {CONSUMER_ID_COLUMN: self.consumer_id, **row})
            for entity in CHILD_TYPES
            for row in self.entities.get(entity, ())
        ]
