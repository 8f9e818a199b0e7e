"""Errors of single rows (HTTP 200, one Result each), and the wording of errors that no public source documents.

Codes: vendor pages "310000-310099 DataExtension Object" and "70000-71999 Custom Object". The texts are ours, close in
style to the real ones. Clients must not depend on them, except on the text of a deadlock, which only its ending
identifies.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# The answer to a Delete of a row that does not exist. It is not documented; an error is the stricter assumption.
DELETE_MISSING_IS_ERROR = True

NO_KEY = 310001
DELETE_TARGET_MISSING = 310002
ALREADY_EXISTS = 310003
UPDATE_TARGET_MISSING = 310004
PROCESSING = 310006
VALIDATION = 310007
UNSUPPORTED_OBJECT = 5
UNEXPECTED = 2
BATCH_TIMED_OUT = 71000
VALUE_GENERAL = 70000
VALUE_NULL = 70001
VALUE_TOO_LONG = 70002
INVALID_DATA_EXTENSION = 70003
VALUE_EMPTY = 70004
ROW_SKIPPED = 71002

# SQL Server's own text; only its ending distinguishes a deadlock from a permanent error.
DEADLOCK_TEXT = (
    "Transaction (Process ID 87) was deadlocked on lock resources with another process and has been chosen as the "
    "deadlock victim. Rerun the transaction."
)
# Also SQL Server's text: two rows of one request have the same key.
DUPLICATE_KEY_TEXT = (
    "Violation of PRIMARY KEY constraint. Cannot insert duplicate key in object. The statement has been terminated."
)


@dataclass(frozen=True, slots=True)
class RowColumnError:
    """One entry of KeyErrors or ValueErrors."""

    column: str
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a row was refused: ErrorCode and StatusMessage of its Result, and details by column.

    `status` is the Result's StatusCode, `overall` the answer's OverallStatus, if it does not follow from the rows.
    """

    code: int | None
    message: str
    key_errors: tuple[RowColumnError, ...] = field(default=())
    value_errors: tuple[RowColumnError, ...] = field(default=())
    status: str = "Error"
    overall: str | None = None


def without_key(column: str, value: str | None) -> RowError:
    """A primary-key column is absent (None) or empty."""
    code, what = (VALUE_NULL, "is missing") if value is None else (VALUE_EMPTY, "is empty")
    message = f"The primary key column [{column}] {what}."
    return RowError(NO_KEY, f"No key found. {message}", key_errors=(RowColumnError(column, code, message),))


def unknown_columns(customer_key: str, columns: list[str], in_keys: bool) -> RowError:
    errors = tuple(
        RowColumnError(column, VALUE_GENERAL, f"The column [{column}] does not exist in the data extension.")
        for column in columns
    )
    message = f"Invalid columns for data extension {customer_key}: {', '.join(columns)}."
    if in_keys:
        return RowError(VALIDATION, message, key_errors=errors)
    return RowError(VALIDATION, message, value_errors=errors)


def unknown_data_extension(customer_key: str) -> RowError:
    return RowError(INVALID_DATA_EXTENSION, f"There is no data extension with the key or name '{customer_key}'.")


def unsupported_object(object_type: str | None) -> RowError:
    """An object type is not supported. Without xsi:type, the text is the one that users report from live tenants."""
    if object_type is None:
        return RowError(UNSUPPORTED_OBJECT, "Requested value 'APIObject' was not found.")
    return RowError(UNSUPPORTED_OBJECT, f"Object type {object_type} is not supported, only DataExtensionObject is.")


def already_exists() -> RowError:
    return RowError(ALREADY_EXISTS, "Add only: a row with this primary key exists already.")


def update_target_missing() -> RowError:
    return RowError(UPDATE_TARGET_MISSING, "Update only: there is no row with this primary key.")


def delete_target_missing() -> RowError:
    return RowError(DELETE_TARGET_MISSING, "Delete: there is no row with this primary key.")


def invalid_value(column: str, value: str, is_key: bool) -> RowError:
    """A validation error that quotes the value, as the real ones do."""
    text = f"The value '{value}' is not valid for the column [{column}]."
    error = (RowColumnError(column, VALUE_GENERAL, text),)
    if is_key:
        return RowError(VALIDATION, f"Errors occurred with keys specified. {text}", key_errors=error)
    return RowError(VALIDATION, f"Errors occurred with values specified. {text}", value_errors=error)


def refused_values(customer_key: str, keys: list[RowColumnError], values: list[RowColumnError]) -> RowError:
    """Columns refuse their values; the messages quote the values."""
    what = "keys" if keys else "values"
    message = f"Errors occurred with {what} specified for data extension {customer_key}. {(keys or values)[0].message}"
    return RowError(VALIDATION, message, key_errors=tuple(keys), value_errors=tuple(values))


def refused_value(column: str, code: int, value: str, reason: str) -> RowColumnError:
    """A column refuses a value. `reason` follows the value in the message: "is not a valid date."."""
    return RowColumnError(column, code, f"The value '{value}' for column [{column}] {reason}")


def null_refused(column: str) -> RowColumnError:
    return RowColumnError(column, VALUE_NULL, f"The column [{column}] does not allow null values.")


def same_key_twice() -> RowError:
    """A later row of a request has the key of an earlier one."""
    return RowError(ROW_SKIPPED, f"The row was skipped. {DUPLICATE_KEY_TEXT}")


def deadlock(code: int = PROCESSING) -> RowError:
    """A deadlock. Both codes occur with this text and also with permanent errors."""
    return RowError(code, DEADLOCK_TEXT)


def ok_but_unknown() -> RowError:
    """The row says OK although the whole batch timed out (the vendor page on 71000)."""
    return RowError(BATCH_TIMED_OUT, "The batch timed out in singleton mode.", status="OK")
