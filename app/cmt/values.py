"""How the values of a row become the texts that SOAP carries, and which rows cannot be sent at all. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

from app.domain import errors as registry
from app.domain.entities import DataExtension, Row, Scalar
from app.domain.errors import ErrorEntry

# XML 1.0, production 2 (Char): everything else cannot stand in a document, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# A number with more digits than this before or after the point is no number of a data extension (38 digits at most);
# written out it could fill the memory, as "1E+999999999" would.
_PLAIN_DIGITS = 100


def as_text(value: Scalar) -> str | None:
    """The text of a value; None for a null.

    >>> [as_text(value) for value in ("Ann", True, 5, Decimal("4.50"), Decimal("1E+2"), None)]
    ['Ann', 'true', '5', '4.50', '100', None]
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) <= _PLAIN_DIGITS:
        return format(value, "f")
    return str(value)


def is_xml_text(text: str) -> bool:
    """Whether XML can carry a text."""
    return _NOT_XML.search(text) is None


def unsendable(table: DataExtension, row: Row, *, keys_only: bool) -> tuple[ErrorEntry, str] | None:
    """Why a row must not be sent, and because of which column; None when it can be.

    Every primary-key column needs a value: a key with a hole could address another row, or all of them.

    Args:
        table: the row's data extension.
        row: the row as the caller gave it.
        keys_only: only the primary key will be sent (a delete).
    """
    for column in table.primary_key:
        value = row.get(column)
        if value is None or value == "":
            return registry.CMT_ROW_MISSING_KEY, column
    for column in table.primary_key if keys_only else row:
        value = row[column]
        if isinstance(value, str) and not is_xml_text(value):
            return registry.CMT_NOT_XML_TEXT, column
    return None
