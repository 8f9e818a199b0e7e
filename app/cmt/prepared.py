"""Builds the messages of ``Wire`` fast: zeep builds each form once, later only names and values are filled in.

At the start zeep builds samples with a marker in each place that differs from call to call. The samples are cut at the
markers, and a message is joined from the pieces. zeep and the WSDL stay the authority: the constructor compares the
results with zeep's for every data extension, and a test does so for arbitrary rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from xml.sax.saxutils import escape

from lxml import etree

from app.cmt.wire import Message, Wire
from app.profile.entities import Catalog, DataExtension, EntityType, Row, as_text
from app.settings import ConfigurationError

# Markers; plain words, so that nothing in them is escaped in a message.
_TABLE, _CONSUMER, _AFTER = "place-of-the-table", "place-of-the-consumer", "place-of-the-request-id"
_KEY, _KEY_VALUE = "place-of-a-key", "place-of-its-value"
_COLUMN, _VALUE, _NULL = "place-of-a-column", "place-of-a-value", "place-of-a-null"

_OPEN, _CLOSE = "<[^/<>][^<>]*>", "</[^<>]+>"
_PROPERTY_FORM = re.compile(f"({_OPEN}{_OPEN}){_COLUMN}({_CLOSE}{_OPEN}){_VALUE}({_CLOSE}{_CLOSE})")
_NULL_FORM = re.compile(f"({_OPEN}{_OPEN}){_NULL}({_CLOSE}{_CLOSE})")
_KEY_FORM = re.compile(f"({_OPEN}{_OPEN}){_KEY}({_CLOSE}{_OPEN}){_KEY_VALUE}({_CLOSE}{_CLOSE})")
# May stand between an object's tag and its table: the account that shares the data extension.
_OWNER = f"(?:{_OPEN}{_OPEN}[0-9]+{_CLOSE}{_CLOSE})?"
_OBJECT_FORM = re.compile(rf"<(?P<name>[^\s<>/]+)(?:\s[^<>]*)?>{_OWNER}{_OPEN}(?P<table>{_TABLE}).*</(?P=name)>")

# A literal carriage return would be read as a line feed (XML 1.0, 2.11).
_REFERENCES = {"\r": "&#13;"}
# A text in which nothing needs escaping; almost every value is one.
_PLAIN = re.compile("[^&<>\r]*")

# A name and a value between three pieces of text.
_Pair = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Form:
    """A write in pieces: ``lead``, the objects, ``tail``.

    An object is ``head``, table, ``after_table``, properties, ``after_properties``, keys, ``after_keys``.
    """

    action: str
    before_token: bytes
    lead: str
    head: str
    after_table: str
    after_properties: str
    after_keys: str
    tail: str
    key: _Pair

    def message(self, objects: Sequence[str]) -> Message:
        """The message with these objects, which are written out already."""
        body = "".join((self.lead, *objects, self.tail))
        return Message(self.action, self.before_token, body.encode())

    def shape(self, table: DataExtension) -> _Shape:
        """The parts of an object that are the same for all rows of a data extension."""
        before, between, _ = self.key
        return _Shape(
            head=f"{self.head}{_text(table.customer_key)}{self.after_table}",
            keys=tuple((column, f"{before}{_text(column)}{between}") for column in table.primary_key),
        )

    def object(self, shape: _Shape, row: Row, properties: str) -> str:
        """One object written out."""
        after = self.key[2]
        keys = [f"{before}{_text(as_text(row[column]) or '')}{after}" for column, before in shape.keys]
        return "".join((shape.head, properties, self.after_properties, *keys, self.after_keys))


@dataclass(frozen=True, slots=True)
class _Shape:
    """The text before an object's properties, and each key column with the text before its value."""

    head: str
    keys: tuple[tuple[str, str], ...]


class _Columns(dict[str, str]):
    """A column's name between two pieces of text, by column. Made at first use, because a row may name any column."""

    def __init__(self, before: str, after: str) -> None:
        super().__init__()
        self._before, self._after = before, after

    def __missing__(self, column: str) -> str:
        written = self[column] = f"{self._before}{_text(column)}{self._after}"
        return written


class PreparedWire:
    """Builds the messages of ``Wire``.

    Raises:
        ConfigurationError: the WSDL cannot be used, or its messages have a form that cannot be taken apart.
    """

    def __init__(self, catalog: Catalog, wsdl: Path | None = None) -> None:
        self._catalog = catalog
        wire = Wire(catalog, wsdl)
        upsert, delete = _samples(wire, None)
        self._property, self._null = _property_forms(upsert)
        self._upsert = _form(upsert)
        self._delete = _form(delete)
        tables = {entity: catalog[entity] for entity in EntityType}
        # An object of a data extension that a parent account shares begins with that account.
        owners = {table.shared_from for table in tables.values()}
        forms = {owner: tuple(map(_form, _samples(wire, owner))) for owner in owners}
        before, between, self._after_value = self._property
        self._values, self._nulls = _Columns(before, between), _Columns(*self._null)
        self._upserts = {entity: forms[table.shared_from][0].shape(table) for entity, table in tables.items()}
        self._deletes = {entity: forms[table.shared_from][1].shape(table) for entity, table in tables.items()}
        self._first_pages = {entity: wire.retrieve(entity, _CONSUMER) for entity in EntityType}
        self._next_pages = {entity: wire.retrieve(entity, _CONSUMER, after=_AFTER) for entity in EntityType}
        self._fields = {entity: wire.fields(entity) for entity in EntityType}
        self._compare_with(wire)

    def fields(self, entity: EntityType) -> Message:
        """Asks for the columns of a data extension."""
        return self._fields[entity]

    def upsert(self, rows: Sequence[tuple[EntityType, Row]]) -> Message:
        """Writes rows, inserting those that do not exist; they may be of several data extensions."""
        return self._upsert.message([self._upserted(entity, row) for entity, row in rows])

    def delete(self, keys: Sequence[tuple[EntityType, Row]]) -> Message:
        """Deletes rows by their primary keys; other columns are left out."""
        return self._delete.message([self._delete.object(self._deletes[entity], row, "") for entity, row in keys])

    def retrieve(self, entity: EntityType, consumer_id: str, *, after: str | None = None) -> Message:
        """Asks for a consumer's rows with all columns; ``after`` is the RequestID of the previous page."""
        form = self._first_pages[entity] if after is None else self._next_pages[entity]
        body = form.after.replace(_CONSUMER.encode(), _text(consumer_id).encode(), 1)
        if after is not None:
            # The request ID follows the consumer ID, which could hold the marker's words. So search from the end.
            head, _, tail = body.rpartition(_AFTER.encode())
            body = b"".join((head, _text(after).encode(), tail))
        return Message(form.action, form.before, body)

    def _upserted(self, entity: EntityType, row: Row) -> str:
        primary_key, after = self._catalog[entity].primary_key, self._after_value
        columns = [column for column in row if column not in primary_key] or primary_key
        texts = [value if type(value := row[column]) is str else as_text(value) for column in columns]
        # One search over all values together, because almost no row has anything to escape.
        if not _PLAIN.fullmatch("".join(filter(None, texts))):
            texts = [text and _text(text) for text in texts]
        nulls, values = self._nulls, self._values
        properties = [
            nulls[column] if text is None else f"{values[column]}{text}{after}"
            for column, text in zip(columns, texts, strict=True)
        ]
        return self._upsert.object(self._upserts[entity], row, "".join(properties))

    def _compare_with(self, wire: Wire) -> None:
        for entity in EntityType:
            table = self._catalog[entity]
            full: Row = {column: f"<{column}> & \r\n" for column in table.columns}
            null: Row = {column: full[column] if column in table.primary_key else None for column in table.columns}
            rows = [(entity, full), (entity, null), (entity, table.key_of(full))]
            for ours, zeeps in (
                (self.upsert(rows), wire.upsert(rows)),
                (self.delete(rows), wire.delete(rows)),
                (self.retrieve(entity, "a & b"), wire.retrieve(entity, "a & b")),
                (self.retrieve(entity, "a & b", after="<c>"), wire.retrieve(entity, "a & b", after="<c>")),
            ):
                if canonical(ours) != canonical(zeeps):
                    _cannot(f"a prepared {ours.action} of {table.customer_key} differs from zeep's")


def _samples(wire: Wire, owner: str | None) -> tuple[Message, Message]:
    """An upsert and a delete with marked places."""
    table = DataExtension(_TABLE, (_KEY,), (_KEY, _COLUMN, _NULL), shared_from=owner)
    sampler = wire.for_catalog(Catalog(dict.fromkeys(EntityType, table)))
    row: Row = {_KEY: _KEY_VALUE, _COLUMN: _VALUE, _NULL: None}
    return sampler.upsert([(EntityType.CONSUMER, row)]), sampler.delete([(EntityType.CONSUMER, row)])


def canonical(message: Message) -> bytes:
    """A message in canonical form (Canonical XML 1.0), which does not depend on its spelling."""
    document: bytes = etree.tostring(etree.fromstring(message.with_token("token")), method="c14n")
    return document


def _text(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else escape(value, _REFERENCES)


def _cannot(reason: str) -> NoReturn:
    raise ConfigurationError([f"CMT_WSDL: messages cannot be prepared from it: {reason}"])


def _property_forms(message: Message) -> tuple[_Pair, tuple[str, str]]:
    text = message.after.decode()
    plain, null = _PROPERTY_FORM.search(text), _NULL_FORM.search(text)
    if plain is None or null is None or plain.end() != null.start():
        _cannot("properties have an unknown form")
    return (plain[1], plain[2], plain[3]), (null[1], null[2])


def _form(message: Message) -> _Form:
    text = message.after.decode()
    row, key = _OBJECT_FORM.search(text), _KEY_FORM.search(text)
    if row is None or key is None:
        _cannot("objects have an unknown form")
    plain, null = _PROPERTY_FORM.search(text), _NULL_FORM.search(text)
    properties_start = plain.start() if plain else key.start()
    properties_end = null.end() if null else key.start()
    return _Form(
        action=message.action,
        before_token=message.before,
        lead=text[: row.start()],
        head=text[row.start() : row.start("table")],
        after_table=text[row.end("table") : properties_start],
        after_properties=text[properties_end : key.start()],
        after_keys=text[key.end() : row.end()],
        tail=text[row.end() :],
        key=(key[1], key[2], key[3]),
    )
