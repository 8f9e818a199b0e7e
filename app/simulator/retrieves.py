"""Retrieve: rows of a data extension, data extensions and their fields; paging with ContinueRequest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from app.simulator import filters
from app.simulator.definitions import HeldDataExtension, Target
from app.simulator.filters import UnusableFilter
from app.simulator.metadata import OBJECT_TYPES
from app.simulator.soap_reader import RetrieveRequest
from app.simulator.soap_writer import new_id, retrieve_payload, row_result
from app.simulator.store import RowStore, Values

# The page size of a Retrieve (vendor page "API Limits and Guidelines").
PAGE_ROWS = 2500
# The most Retrieves whose pages were not read to the end. The oldest is forgotten, so that memory stays bounded.
OPEN_RETRIEVES = 1000


class RetrieveError(ValueError):
    """The Retrieve fails; the text goes into OverallStatus, after "Error: "."""


@dataclass(frozen=True, slots=True)
class _Page:
    """The remaining results of a Retrieve, as they were when it began."""

    target: Target
    rest: list[Values]
    write: Callable[[Values], str]
    size: int


class Retrieves:
    """Answers Retrieve requests from a store and remembers the remaining pages."""

    def __init__(self, store: RowStore) -> None:
        self._store = store
        self._open: OrderedDict[str, _Page] = OrderedDict()

    def target(self, request: RetrieveRequest) -> Target:
        """The data extension (customer key) and the consumer of the request, as far as it names them."""
        if request.continue_request:
            page = self._open.get(request.continue_request)
            return page.target if page else (None, None)
        required = filters.required_values(request.condition)
        key = _row_key(request.object_type)
        if key is not None:
            definition = self._store.catalogue.find(key)
            if definition is None:
                return key, None
            named = (values[0] for column, values in required.items() if values and self._is_consumer(column))
            return definition.customer_key, next(named, None)
        asked = required.get("DataExtension.CustomerKey") or required.get("CustomerKey") or required.get("Name")
        definition = self._store.catalogue.find(asked[0]) if asked else None
        return (definition.customer_key if definition else None), None

    def answer(self, request: RetrieveRequest, target: Target) -> tuple[str, bool]:
        """The payload of the answer, and whether it is an error. `target`: as target() returned it."""
        try:
            page = self._page(request, target)
        except (RetrieveError, UnusableFilter) as error:
            return retrieve_payload(f"Error: {error}", new_id()), True
        request_id = new_id()
        status = "OK"
        if len(page.rest) > page.size:
            status = "MoreDataAvailable"
            self._open[request_id] = replace(page, rest=page.rest[page.size :])
            if len(self._open) > OPEN_RETRIEVES:
                self._open.popitem(last=False)
        return retrieve_payload(status, request_id, map(page.write, page.rest[: page.size])), False

    def clear(self) -> None:
        self._open.clear()

    def _is_consumer(self, column: str) -> bool:
        consumer_column = self._store.catalogue.consumer_column
        return column == consumer_column or column.lower() == consumer_column.lower()

    def _page(self, request: RetrieveRequest, target: Target) -> _Page:
        if request.continue_request:
            page = self._open.get(request.continue_request)
            if page is None:
                raise RetrieveError("The RequestID sent through ContinueRequest does not exist.")
            return page
        if request.filter_error:
            raise RetrieveError(request.filter_error)
        key = _row_key(request.object_type)
        rows, write = self._metadata(request) if key is None else self._rows(key, request)
        return _Page(target, rows, write, min(PAGE_ROWS, request.batch_size or PAGE_ROWS))

    def _rows(self, key_or_name: str, request: RetrieveRequest) -> tuple[list[Values], Callable[[Values], str]]:
        table = self._store.table(key_or_name)
        if table is None:
            raise RetrieveError(f"Data extension does not exist: {key_or_name}")
        # The real endpoint answers OK without rows to a wildcard, and so hides the mistake.
        if "*" in request.properties:
            return [], lambda row: row_result({}, ())
        definition = table.definition
        columns = _columns(definition, request)
        condition = request.condition and filters.bind(
            request.condition, definition.column, lambda column: definition.types[column].parse
        )
        candidates = table.candidates(filters.required_values(condition))
        rows = [row.values for row in candidates if condition is None or filters.matches(condition, row.values)]
        return rows, lambda values: row_result(as_read(definition, values, columns), columns)

    def _metadata(self, request: RetrieveRequest) -> tuple[list[Values], Callable[[Values], str]]:
        kind = OBJECT_TYPES.get(request.object_type)
        if kind is None:
            raise RetrieveError(
                f"Unable to find a handler for object type: {request.object_type}. "
                "Object types are case-sensitive, check spelling."
            )
        _require_known(request.properties, kind.properties, request.object_type)
        condition = None
        if request.condition:
            condition = filters.bind(request.condition, lambda name: name if name in kind.properties else None)
        every: Iterable[Values] = (row for definition in self._store.catalogue for row in kind.rows(definition))
        rows = [row for row in every if condition is None or filters.matches(condition, row)]
        return rows, lambda row: kind.result(row, request.properties)


def as_read(definition: HeldDataExtension, values: Values, columns: Iterable[str]) -> dict[str, str | None]:
    """These columns of a row, as a Retrieve returns them."""
    return {column: definition.types[column].shown(values.get(column)) for column in columns}


def _row_key(object_type: str) -> str | None:
    """Key or name in `DataExtensionObject[...]`; None for every other object type.

    >>> _row_key("DataExtensionObject[CMT_Pet]")
    'CMT_Pet'
    """
    start, separator, rest = object_type.partition("[")
    return rest[:-1] if separator and start.rstrip() == "DataExtensionObject" and rest.endswith("]") else None


def _columns(definition: HeldDataExtension, request: RetrieveRequest) -> list[str]:
    known = {name: column for name in request.properties if (column := definition.column(name)) is not None}
    _require_known(request.properties, known, "DataExtensionObject")
    return [known[name] for name in request.properties]


def _require_known(asked: Iterable[str], known: Iterable[str], object_type: str) -> None:
    asked = list(asked)
    if not asked:
        raise RetrieveError(f"The Request holds no Properties: name the fields of {object_type} to retrieve")
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise RetrieveError(
            f"The Request Property(s) {', '.join(unknown)} do not match with the fields of {object_type} retrieve"
        )
