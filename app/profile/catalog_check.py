"""Compares the configured data extensions with those that Marketing Cloud has. Pure.

A difference is a warning for the worker: it goes on, and Marketing Cloud accepts or refuses each row. ``check`` lists
them too, and calls those wrong that are not ``harmless``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.profile.column_types import ColumnTypes, Field, FieldType
from app.profile.entities import CONSUMER_ID_COLUMN, DataExtension


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between a data extension and its configuration.

    ``harmless``: the program can work like this, if the operator wants it so.
    """

    text: str
    remedy: str
    harmless: bool = False

    def __str__(self) -> str:
        return f"{self.text} {self.remedy}"


def learned_types(table: DataExtension, fields: Sequence[Field]) -> ColumnTypes:
    """The types of the columns, by column name as the configuration spells it."""
    found = ((table.column(field.name), field.type) for field in fields)
    return {column: kind for column, kind in found if column is not None and kind is not None}


def differences(
    table: DataExtension, fields: Sequence[Field], consumer_id_length: int | None = None
) -> Iterator[Difference]:
    """The differences, one by one.

    Args:
        table: the data extension as it is configured.
        fields: the columns that Marketing Cloud describes; empty: it has no data extension of that key.
        consumer_id_length: the length of a consumer ID in the parent's data extension.
    """
    key = table.customer_key
    if not fields:
        yield Difference(
            f"{key}: Marketing Cloud shows no such data extension in this account.",
            "Check customerKey, and whether the package may read it; for one that a parent account shares, set "
            '"sharedFrom".',
        )
        return
    by_name = {field.name.casefold(): field for field in fields}
    known = {column: by_name[column.casefold()] for column in table.columns if column.casefold() in by_name}
    if missing := [column for column in table.columns if column not in known]:
        yield Difference(
            f"{key} has no column {', '.join(missing)}: rows that name it are refused.",
            "Add it in Marketing Cloud, or remove it from CMT_DATA_EXTENSIONS.",
        )
    extra = [field for field in fields if table.column(field.name) is None]
    if needed := [field.name for field in extra if field.required and not field.has_default]:
        yield Difference(
            f"{key}: column {', '.join(needed)} needs a value, but is not configured: new rows are refused.",
            "Add it to CMT_DATA_EXTENSIONS, or make it nullable in Marketing Cloud.",
        )
    if others := [field.name for field in extra if not field.required or field.has_default]:
        yield Difference(
            f"{key} also has column {', '.join(others)}, which is not configured: an UPDATE that deletes rows and "
            "posts them empties it.",
            "If it must keep its values, use SYNC_STRATEGY=reconcile.",
            harmless=True,
        )
    yield from _key_differences(table, fields, known)
    for column, field in known.items():
        yield from _type_differences(table, column, field, consumer_id_length)


def _key_differences(table: DataExtension, fields: Sequence[Field], known: dict[str, Field]) -> Iterator[Difference]:
    key = table.customer_key
    keys = {field.name.casefold() for field in fields if field.primary_key}
    if not keys:
        yield Difference(
            f"{key} has no primary key: its rows can be neither updated nor deleted.",
            f"Make a data extension with the primary key {', '.join(table.primary_key)}.",
        )
    elif keys != {column.casefold() for column in table.primary_key}:
        names = ", ".join(field.name for field in fields if field.primary_key)
        yield Difference(
            f"{key}: the primary key is {names}, not {', '.join(table.primary_key)} as configured.",
            "Correct primaryKey in CMT_DATA_EXTENSIONS, or make a data extension with the configured key.",
        )
    for column in table.primary_key:
        field = known.get(column)
        if field is not None and field.type is not None and field.type.field_type is FieldType.DATE:
            yield Difference(
                f"{key}: key column {column} is a Date. Fractions of a second are not returned, so rows may not be "
                "found by their keys; each delete is verified.",
                "Use a text column as key.",
                harmless=True,
            )


def _type_differences(
    table: DataExtension, column: str, field: Field, consumer_id_length: int | None
) -> Iterator[Difference]:
    key = table.customer_key
    if field.type is None:
        return
    declared = table.declared.get(column)
    if declared is not None and declared.field_type is not field.type.field_type:
        yield Difference(
            f"{key}: column {column} is {field.type}, not {declared} as configured.",
            "Correct types in CMT_DATA_EXTENSIONS, or the column in Marketing Cloud.",
        )
        return
    wanted = declared.length if declared is not None else None
    if column == CONSUMER_ID_COLUMN and consumer_id_length is not None:
        wanted = max(wanted or 0, consumer_id_length)
    if wanted is not None and field.type.length is not None and field.type.length < wanted:
        yield Difference(
            f"{key}: column {column} is too short: {field.type}, {wanted} characters are needed.",
            "Lengthen it in Marketing Cloud.",
        )
