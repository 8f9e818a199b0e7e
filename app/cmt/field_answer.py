"""Reads the columns of a data extension from the answer to a Retrieve of DataExtensionField. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from app.cmt.reader import RetrieveAnswer
from app.profile.column_types import ColumnType, Field, FieldType

_KNOWN = {kind.value.casefold(): kind for kind in FieldType}
# Real lengths have at most four digits. Longer numbers are not converted, because an answer could hold huge ones.
_DIGITS_MOST = 9


def fields_of(answer: RetrieveAnswer) -> list[Field]:
    """The columns. A column without a name is left out, because no row can use it."""
    return [field for row in answer.rows if (field := _field(row)).name]


def _field(row: Mapping[str, str | None]) -> Field:
    kind = _KNOWN.get((row.get("FieldType") or "").casefold())
    return Field(
        name=row.get("Name") or "",
        type=None if kind is None else ColumnType(kind, _number(row.get("MaxLength")), _number(row.get("Scale")) or 0),
        required=_truth(row.get("IsRequired")),
        primary_key=_truth(row.get("IsPrimaryKey")),
        has_default=bool(row.get("DefaultValue")),
    )


def _number(text: str | None) -> int | None:
    """None also for 0: for a text column, 0 means that no length is stated."""
    if text is None or len(text) > _DIGITS_MOST or not (text.isascii() and text.isdigit()):
        return None
    return int(text) or None


def _truth(text: str | None) -> bool:
    return (text or "").casefold() in ("true", "1")
