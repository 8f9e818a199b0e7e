"""Create, Update and Delete of one row, with strict checks of primary keys, columns and types."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.simulator import row_errors
from app.simulator.column_types import Value, ValueRefused, fold
from app.simulator.definitions import HeldDataExtension
from app.simulator.filters import Row
from app.simulator.row_errors import RowColumnError, RowError
from app.simulator.soap_reader import WriteObject
from app.simulator.store import Key, RowStore, StoredRow, Table, Values

_SAVE_ACTIONS = {"UpdateAdd", "AddOnly", "UpdateOnly"}


@dataclass(frozen=True, slots=True)
class RowWrite:
    """One object of a request, checked but not applied. `error`: why it must not be applied.

    `row`: the texts as sent. `values`: the values that the columns make of them.
    """

    sent: WriteObject
    table: Table | None
    row: Row
    error: RowError | None = None
    key: Key = ()
    values: Values = field(default_factory=dict)

    @property
    def data_extension(self) -> str:
        """The customer key of the data extension; if there is none, the name that the client sent."""
        return self.table.definition.customer_key if self.table is not None else self.sent.customer_key

    def consumer(self, consumer_column: str) -> str | None:
        return self.row.get(consumer_column)


def prepare(store: RowStore, operation: str, sent: WriteObject) -> RowWrite:
    """Resolves data extension, columns and values. Key columns may be in Keys or, except for Delete, in Properties."""
    table = store.table(sent.customer_key)
    if sent.object_type != "DataExtensionObject" or table is None:
        row = sent.properties | sent.keys
        if sent.object_type != "DataExtensionObject":
            return RowWrite(sent, table, row, row_errors.unsupported_object(sent.object_type))
        return RowWrite(sent, table, row, row_errors.unknown_data_extension(sent.customer_key))
    definition = table.definition
    properties, unknown_properties = _by_column(definition, sent.properties)
    keys, unknown_keys = _by_column(definition, sent.keys)
    row = properties | keys
    if unknown_keys or unknown_properties:
        unknown = unknown_keys or unknown_properties
        error = row_errors.unknown_columns(definition.customer_key, unknown, in_keys=bool(unknown_keys))
        return RowWrite(sent, table, sent.properties | sent.keys | row, error)
    identifying = keys if operation == "Delete" else row
    for column in definition.primary_key:
        if not (value := identifying.get(column)):
            return RowWrite(sent, table, row, row_errors.without_key(column, value))
    values, refused = _values(definition, identifying if operation == "Delete" else row)
    if refused is not None:
        return RowWrite(sent, table, row, refused)
    return RowWrite(sent, table, row, None, tuple([fold(values[column]) for column in definition.primary_key]), values)


def apply(
    write: RowWrite, operation: str, save_action: str | None, delete_missing_is_error: bool = True
) -> RowError | None:
    """Changes the table. An update does not change columns that it does not name."""
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
    if present is not None:
        # The key keeps its first spelling.
        kept = {column: present.values[column] for column in table.definition.primary_key}
        table.put(key, StoredRow({**present.sent, **write.row}, {**present.values, **write.values, **kept}))
        return None
    missing, defaults = _defaults(table.definition, write.values)
    if missing:
        return row_errors.refused_values(table.definition.customer_key, [], list(map(row_errors.null_refused, missing)))
    table.put(key, StoredRow(write.row, {**write.values, **defaults}))
    return None


def _values(definition: HeldDataExtension, row: Row) -> tuple[Values, RowError | None]:
    values: dict[str, Value | None] = {}
    refused: list[RowColumnError] = []
    for column, text in row.items():
        kind = definition.types[column]
        try:
            values[column] = value = None if text is None else kind.parse(text)
        except ValueRefused as error:
            refused.append(row_errors.refused_value(column, error.code, text or "", str(error)))
            continue
        if value is None and (kind.required or column in definition.primary_key):
            refused.append(row_errors.null_refused(column))
    if not refused:
        return values, None
    keys = [error for error in refused if error.column in definition.primary_key]
    others = [error for error in refused if error.column not in definition.primary_key]
    return values, row_errors.refused_values(definition.customer_key, keys, others)


def _defaults(definition: HeldDataExtension, values: Values) -> tuple[list[str], Values]:
    """For a new row: the required columns that it lacks, and the defaults of columns that have one."""
    if not definition.complete_rows:
        return [], {}
    absent = [column for column in definition.complete_rows if column not in values]
    defaults = {column: kind.parse(kind.default) for column in absent if (kind := definition.types[column]).default}
    return [column for column in absent if column not in defaults], defaults


def _by_column(definition: HeldDataExtension, sent: dict[str, str | None]) -> tuple[dict[str, str | None], list[str]]:
    """The values by the defined spelling of their column, and the names that are not columns."""
    known: dict[str, str | None] = {}
    unknown: list[str] = []
    for name, value in sent.items():
        column = definition.column(name)
        if column is None:
            unknown.append(name)
        else:
            known[column] = value
    return known, unknown
