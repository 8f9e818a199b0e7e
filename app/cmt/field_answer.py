"""The columns of a data extension, out of the answer to a Retrieve of DataExtensionField. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from app.cmt.reader import RetrieveAnswer
from app.profile.column_types import ColumnType, Field, FieldType

_KNOWN = {kind.value.casefold(): kind for kind in FieldType}
# Lengths have four digits at most; a number of any length must not become an int.
_DIGITS_MOST = 9


def fields_of(answer: RetrieveAnswer) -> list[Field]:
    """The columns; those without a name, which nobody could use, are left out."""
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
    """None also for 0: of a text it means that no length is said."""
    if text is None or len(text) > _DIGITS_MOST or not (text.isascii() and text.isdigit()):
        return None
    return int(text) or None


def _truth(text: str | None) -> bool:
    return (text or "").casefold() in ("true", "1")
