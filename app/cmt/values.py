"""Finds rows that cannot be sent at all. Pure."""

from __future__ import annotations

from app.delivery import errors as registry
from app.delivery.errors import ErrorEntry
from app.profile.entities import DataExtension, Row
from app.profile.xml_text import character_named, is_xml_text


def unsendable(table: DataExtension, row: Row, *, keys_only: bool) -> tuple[ErrorEntry, str] | None:
    """Why a row must not be sent, and which column is the reason; None: it can be sent.

    Every primary-key column needs a value: a key with an empty column could address another row, or all rows.

    Args:
        table: the row's data extension.
        row: the row as the caller gave it.
        keys_only: only the primary key will be sent (a delete).
    """
    for column in table.primary_key:
        value = row.get(column)
        if value is None or value == "":
            return registry.CMT_ROW_MISSING_KEY, f"{table.customer_key}, column {column}."
    columns = table.primary_key if keys_only else row
    # One check of all values together, because almost every row is fine.
    if is_xml_text("".join([value for column in columns if isinstance(value := row[column], str)])):
        return None
    for column in columns:
        value = row[column]
        if isinstance(value, str) and not is_xml_text(value):
            return registry.CMT_NOT_XML_TEXT, f"{table.customer_key}, column {column}: {character_named(value)}."
    return None
