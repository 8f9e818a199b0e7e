"""Create, Update and Delete of one row: strict in primary keys and columns, strict in nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from app.simulator import row_errors
from app.simulator.definitions import DataExtension
from app.simulator.filters import Row
from app.simulator.row_errors import RowError
from app.simulator.soap_reader import WriteObject
from app.simulator.store import Key, Store, Table

_SAVE_ACTIONS = {"UpdateAdd", "AddOnly", "UpdateOnly"}


@dataclass(frozen=True, slots=True)
class Write:
    """One object of a request, looked at but not applied: `error` when it must not be, else `key` and `row`."""

    sent: WriteObject
    table: Table | None
    key: Key
    row: Row
    error: RowError | None

    @property
    def data_extension(self) -> str:
        """Customer key of the data extension; what the client named when there is none."""
        return self.table.definition.customer_key if self.table is not None else self.sent.customer_key

    def consumer(self, consumer_column: str) -> str | None:
        return self.row.get(consumer_column)


def prepare(store: Store, operation: str, sent: WriteObject) -> Write:
    """Resolves data extension and columns. A key column may stand in Keys or, except for Delete, in Properties."""
    table = store.table(sent.customer_key)
    if sent.object_type != "DataExtensionObject" or table is None:
        row = sent.properties | sent.keys
        if sent.object_type != "DataExtensionObject":
            return Write(sent, table, (), row, row_errors.unsupported_object(sent.object_type))
        return Write(sent, table, (), row, row_errors.unknown_data_extension(sent.customer_key))
    definition = table.definition
    properties, unknown_properties = _by_column(definition, sent.properties)
    keys, unknown_keys = _by_column(definition, sent.keys)
    row = properties | keys
    error: RowError | None = None
    if unknown_keys or unknown_properties:
        unknown = unknown_keys or unknown_properties
        error = row_errors.unknown_columns(definition.customer_key, unknown, in_keys=bool(unknown_keys))
        row = sent.properties | sent.keys | row
    identifying = keys if operation == "Delete" else row
    key: list[str] = []
    for column in definition.primary_key:
        value = identifying.get(column)
        if not value and error is None:
            error = row_errors.without_key(column, value)
        key.append(value or "")
    return Write(sent, table, tuple(key), row, error)


def apply(
    write: Write, operation: str, save_action: str | None, delete_missing_is_error: bool = True
) -> RowError | None:
    """Changes the table. An update leaves columns alone that it does not name."""
    if write.error is not None or write.table is None:
        return write.error
    table, key = write.table, write.key
    if operation == "Delete":
        if not table.remove(key) and delete_missing_is_error:
            return row_errors.delete_target_missing()
        return None
    action = save_action if save_action in _SAVE_ACTIONS else {"Create": "AddOnly"}.get(operation, "UpdateOnly")
    present = table.get(key)
    if present is not None and action == "AddOnly":
        return row_errors.already_exists()
    if present is None and action == "UpdateOnly":
        return row_errors.update_target_missing()
    table.put(key, {**(present or {}), **write.row})
    return None


def _by_column(definition: DataExtension, sent: dict[str, str | None]) -> tuple[dict[str, str | None], list[str]]:
    """Values by the defined spelling of their column, and the names that are no column."""
    known: dict[str, str | None] = {}
    unknown: list[str] = []
    for name, value in sent.items():
        column = definition.column(name)
        if column is None:
            unknown.append(name)
        else:
            known[column] = value
    return known, unknown
