"""Digests of rows: of the rows that a settled event wants, and of the rows that are held. Pure.

A digest is 6 bytes of BLAKE2b over consumer ID, key and the ``form`` of each value, so equal rows of two consumers have
different digests. It is not encryption: anyone who can read the records can try values. Two different rows have the
same digest once in 10^14 cases.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timezone
from functools import cached_property, lru_cache
from hashlib import blake2b

from app.profile.column_types import ColumnType
from app.profile.entities import (
    CHILD_TYPES,
    CONSUMER_ID_COLUMN,
    Catalog,
    DataExtension,
    EntityType,
    Row,
    Scalar,
    as_text,
)
from app.profile.event import Operation, ProfileEvent
from app.profile.holdings.row_list import (
    COLUMNS_LENGTH,
    COMPLETE,
    LETTERS,
    PART,
    PLACE_LENGTH,
    ListedRow,
    Rows,
    columns_of,
    key_text,
    written,
)
from app.profile.keys import same_key_text
from app.profile.values import (
    ValueKind,
    alike,
    form,
    loosely_alike,
    same_key_value,
    typed_form,
    wanted_form,
)

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_PARENT = EntityType.CONSUMER
_KINDS = tuple(ValueKind)
_UNNAMED, _TEXT, _UNCHECKED = ValueKind.UNNAMED, ValueKind.TEXT, ValueKind.UNCHECKED


HeldKey = tuple[EntityType, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Matched:
    """The listed rows, compared with the held ones.

    missing: listed rows that are not held.
    different: listed rows that are held with other values.
    found: held primary keys of listed rows.
    doubtful: held primary keys that may be another spelling of a missing row's key.
    """

    missing: tuple[ListedRow, ...] = ()
    different: tuple[ListedRow, ...] = ()
    found: frozenset[HeldKey] = frozenset()
    doubtful: frozenset[HeldKey] = frozenset()


@dataclass(frozen=True)
class Digests:
    """Makes and checks the digests of rows of one catalog. Create it once per catalog: it caches what it needs."""

    catalog: Catalog

    @cached_property
    def head(self) -> str:
        """The digests of place and columns that a list begins with."""
        tables = [self.catalog[entity] for entity in EntityType]
        place: tuple[object, ...] = (
            self.catalog.account_id,
            *((table.customer_key, table.primary_key) for table in tables),
            *(table.shared_from for table in tables if table.shared_from),
        )
        columns: object = [table.columns for table in tables]
        if self.catalog.has_types:
            # Types change the form of values, so the values of a list that was made without them cannot be checked.
            types = [sorted((name, str(kind)) for name, kind in table.types.items()) for table in tables]
            columns = (columns, types, [str(table.zone) for table in tables])
        return _hash(repr(place))[:PLACE_LENGTH] + _hash(repr(columns))[:COLUMNS_LENGTH]

    @property
    def place(self) -> str:
        """The digest of account, data extensions and primary keys."""
        return self.head[:PLACE_LENGTH]

    @cached_property
    def _columns(self) -> Mapping[EntityType, tuple[tuple[str, bool, ColumnType | None], ...]]:
        """The columns of each data extension: name, whether it is part of the digest, and its type if known."""
        return {
            entity: tuple(
                (column, column not in _key_columns(entity, table), table.types.get(column)) for column in table.columns
            )
            for entity, table in self.catalog.data_extensions.items()
        }

    @cached_property
    def _keys(self) -> Mapping[EntityType, tuple[str, ...]]:
        """The columns that identify a row within its consumer."""
        return {
            entity: tuple(column for column in table.primary_key if column != CONSUMER_ID_COLUMN)
            for entity, table in self.catalog.data_extensions.items()
        }

    def of_event(self, event: ProfileEvent) -> str:
        """The list (``row_list.py``) of the rows that should be held after this event reached Marketing Cloud."""
        if event.operation is Operation.DELETE:
            return (COMPLETE if event.is_full_state else PART) + self.head
        clear_unnamed = event.operation is Operation.UPDATE
        rows: Rows = {}
        if event.consumer is not None:
            rows[LETTERS[_PARENT], ""] = self._of(_PARENT, event.consumer, event, "", clear_unnamed=False)
        for entity in CHILD_TYPES if event.entities else ():
            if not (listed := event.entities.get(entity)):
                continue
            letter, columns = LETTERS[entity], self._keys[entity]
            for row in listed:  # ``read_event`` leaves one row per key
                key = key_text([as_text(row[column]) or "" for column in columns])
                rows[letter, key] = self._of(entity, row, event, key, clear_unnamed=clear_unnamed)
        return written(clear_unnamed, self.head, rows)

    def match(self, listed: Iterable[ListedRow], held: Mapping[EntityType, Sequence[Row]], consumer_id: str) -> Matched:
        """Find the listed rows among the held ones."""
        missing, different, found = [], [], set()
        for wanted in listed:
            rows = held.get(wanted.entity, ())
            if not wanted.entity.is_parent:
                rows = [row for row in rows if self._is_key_of(wanted, row, consumer_id)]
            if not rows:
                missing.append(wanted)
            elif not any(self._holds(wanted, row, consumer_id) for row in rows):
                different.append(wanted)
            found |= {(wanted.entity, self._key(wanted.entity, row)) for row in rows}
        doubtful = {
            (wanted.entity, self._key(wanted.entity, row))
            for wanted in missing
            if not wanted.entity.is_parent
            for row in held.get(wanted.entity, ())
            if self._may_be_key_of(wanted, row)
        }
        return Matched(tuple(missing), tuple(different), frozenset(found), frozenset(doubtful - found))

    def _holds(self, listed: ListedRow, held: Row, consumer_id: str) -> bool:
        """Whether a held row of that key has the listed values; True if they cannot be checked."""
        if listed.kinds is None or listed.digest is None:
            return True
        columns, zone = self._columns[listed.entity], self.catalog[listed.entity].zone
        forms = [
            form(held.get(column), kind) if known is None else _typed(held.get(column), known, zone)
            for (column, counts, known), kind in zip(columns, _kinds(listed.kinds), strict=False)
            if counts and kind not in (_UNNAMED, _UNCHECKED)
        ]
        return _digest(consumer_id, listed.entity, key_text(listed.key), forms) == listed.digest

    def checks_all(self, listed: ListedRow) -> bool:
        """Whether every value that the event named for this row can be checked."""
        return listed.kinds is not None and _UNCHECKED not in _kinds(listed.kinds)

    def _is_key_of(self, listed: ListedRow, held: Row, consumer_id: str) -> bool:
        """Whether a held row has a listed row's key; if the kinds of the key are unknown, whether it may have it."""
        table = self.catalog[listed.entity]
        wanted = dict(zip(self._keys[listed.entity], listed.key, strict=False)) | {CONSUMER_ID_COLUMN: consumer_id}
        if listed.kinds is None:
            return self._may_be_key_of(listed, held) and alike(held.get(CONSUMER_ID_COLUMN), consumer_id)
        kinds = dict(zip(table.columns, _kinds(listed.kinds), strict=False))
        return all(
            same_key_value(held.get(column), wanted[column], column, table)
            if column in table.types
            else _same_key(held.get(column), wanted[column], kinds[column])
            for column in table.primary_key
        )

    def _may_be_key_of(self, listed: ListedRow, held: Row) -> bool:
        """Whether a held row's key may be another spelling of a listed row's key."""
        table, columns = self.catalog[listed.entity], self._keys[listed.entity]
        return all(
            loosely_alike(held.get(column), column, table) == loosely_alike(text, column, table)
            for column, text in zip(columns, listed.key, strict=False)
        )

    def _key(self, entity: EntityType, row: Row) -> tuple[str, ...]:
        return tuple(as_text(value) or "" for value in self.catalog[entity].key_of(row).values())

    def _of(
        self, entity: EntityType, row: Row, event: ProfileEvent, key: str, *, clear_unnamed: bool
    ) -> tuple[str, str]:
        kinds: list[ValueKind] = []
        forms: list[str] = []
        zone = self.catalog[entity].zone
        for column, counts, known in self._columns[entity]:
            if column not in row:
                if not clear_unnamed:
                    kinds.append(_UNNAMED)
                    continue
                kind, text = _TEXT, "="
            elif known is not None:
                formed = typed_form(row[column], known, zone)
                kind, text = (_UNCHECKED, "") if formed is None else (_TEXT, formed)
            else:
                value = row[column]
                if type(value) is str and value[4:5] != "-":  # what ``wanted_form`` would return, without the call
                    kind, text = _TEXT, "=" + value
                else:
                    kind, text = wanted_form(value)
            kinds.append(kind)
            if counts and kind is not _UNCHECKED:
                forms.append(text)
        return _written_kinds(bytes(kinds)), _digest(event.consumer_id, entity, key, forms)


def _key_columns(entity: EntityType, table: DataExtension) -> tuple[str, ...]:
    """The columns that are not in the digest, because a list holds them in clear; of a parent row, the consumer ID."""
    return (CONSUMER_ID_COLUMN,) if entity.is_parent else (CONSUMER_ID_COLUMN, *table.primary_key)


def digests_of(text: str, catalog: Catalog) -> Digests:
    """The digests that can check a list. A list from before the types were known needs digests without types."""
    digests = Digests(catalog)
    if catalog.has_types and columns_of(text) != columns_of(COMPLETE + digests.head):
        untyped = Digests(catalog.typed({}))
        if columns_of(text) == columns_of(COMPLETE + untyped.head):
            return untyped
    return digests


def _typed(held: Scalar, kind: ColumnType, zone: timezone) -> str:
    """The form of a held value; a value that does not fit the column's type equals no wanted value."""
    formed = typed_form(held, kind, zone)
    return f"?{as_text(held)}" if formed is None else formed


def _same_key(held: Scalar, wanted: str, kind: ValueKind) -> bool:
    if same_key_text(as_text(held) or "", wanted):
        return True
    if kind is _UNCHECKED:
        return alike(held, wanted)
    known = _TEXT if kind is _UNNAMED else kind
    return form(held, known) == form(wanted, known)


def _digest(consumer_id: str, entity: EntityType, key: str, forms: list[str]) -> str:
    return _hash("\0".join((consumer_id, entity, key, *forms)))


def _hash(text: str) -> str:
    # A value may contain half of a surrogate pair.
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return b2a_base64(digest, newline=False).decode()


@lru_cache(maxsize=4096)
def _written_kinds(kinds: bytes) -> str:
    if len(kinds) % 2:
        kinds += bytes((_UNNAMED,))
    return "".join(_DIGITS[first * 8 + second] for first, second in zip(kinds[::2], kinds[1::2], strict=True))


@lru_cache(maxsize=4096)
def _kinds(written_kinds: str) -> tuple[ValueKind, ...]:
    numbers = [_DIGITS.index(character) for character in written_kinds]
    return tuple(_KINDS[kind] for number in numbers for kind in divmod(number, 8))
