"""The control API for tests, `/_sim`: held rows, received calls, active faults."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from app.simulator.column_types import UNTYPED, ValueRefused, fold
from app.simulator.definitions import HeldDataExtension
from app.simulator.faults import FaultKind, FaultRule, Faults
from app.simulator.incidents import IncidentTable
from app.simulator.journal import CallJournal
from app.simulator.retrieves import as_read
from app.simulator.soap_endpoint import SoapEndpoint
from app.simulator.store import RowStore, StoredRow
from app.simulator.tokens import Tokens

# Long lists are written in parts of this many entries, so that other requests run in between.
_PART = 2000


class Control:
    def __init__(
        self,
        store: RowStore,
        tokens: Tokens,
        faults: Faults,
        journal: CallJournal,
        incidents: IncidentTable,
        soap: SoapEndpoint,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._faults = faults
        self._journal = journal
        self._incidents = incidents
        self._soap = soap

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_sim/data-extensions", self.data_extensions),
            web.get("/_sim/rows/{data_extension}", self.rows),
            web.get("/_sim/calls", self.calls),
            web.post("/_sim/faults", self.add_fault),
            web.get("/_sim/faults", self.list_faults),
            web.delete("/_sim/faults", self.remove_faults),
            web.delete("/_sim/faults/{id}", self.remove_fault),
            web.get("/_sim/incidents", self.list_incidents),
            web.get("/_sim/stats", self.stats),
            web.post("/_sim/reset", self.reset),
        ]

    async def data_extensions(self, _: web.Request) -> web.Response:
        extensions = [
            {
                "entity": table.definition.entity,
                "customerKey": table.definition.customer_key,
                "name": table.definition.name,
                "primaryKey": table.definition.primary_key,
                "columns": table.definition.columns,
                "types": {
                    column: kind.field_type for column, kind in table.definition.types.items() if kind is not UNTYPED
                },
                "rows": len(table),
            }
            for table in self._store.tables()
        ]
        return _json({"dataExtensions": extensions})

    async def rows(self, request: web.Request) -> web.StreamResponse:
        """Rows of a data extension, oldest first: the texts last sent, or with `as=read` those that a Retrieve returns.

        Every other query parameter names a column and the text that must have been sent last.
        """
        key = request.match_info["data_extension"]
        table = self._store.table(key)
        if table is None:
            return _problem(404, f"there is no data extension {key!r}; GET /_sim/data-extensions lists them")
        definition = table.definition
        wanted: dict[str, set[str]] = {}
        form = "sent"
        for name, value in request.query.items():
            column = definition.column(name)
            if column is None and name == "as":
                form = value
            elif column is None:
                return _problem(400, f"{key} has no column {name!r}; it has {', '.join(definition.columns)}")
            else:
                wanted.setdefault(column, set()).add(value)
        if form not in ("sent", "read"):
            return _problem(400, f"as must be sent or read, not {form!r}")
        found = [
            row
            for row in table.candidates(_folded(definition, wanted))
            if all(row.sent.get(column) in texts for column, texts in wanted.items())
        ]
        if form == "read":
            return await _stream(request, "rows", found, lambda row: orjson.dumps(_as_read(definition, row)))
        return await _stream(request, "rows", found, lambda row: orjson.dumps(row.sent))

    async def calls(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        numbers = {name: query[name] for name in ("since", "limit") if query.get(name)}
        for name, value in numbers.items():
            if not value.isdecimal():
                return _problem(400, f"{name} must be a number that is not negative, not {value!r}")
        with_rows = query.get("rows", "false").lower() in ("true", "1")
        limit = int(numbers["limit"]) if "limit" in numbers else None
        # A list, so that new calls do not change it while it is written.
        calls = list(self._journal.calls(query.get("consumer"), int(numbers.get("since", 0)), limit))
        return await _stream(request, "calls", calls, lambda call: call.as_json(with_rows))

    async def add_fault(self, request: web.Request) -> web.Response:
        try:
            rule = FaultRule.model_validate_json(await request.read())
        except ValidationError as error:
            reasons = [
                f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_context=False)
            ]
            return _problem(400, f"not a fault: {'; '.join(reasons)}. Kinds: {', '.join(FaultKind)}")
        if rule.data_extension is not None:
            table = self._store.table(rule.data_extension)
            if table is None:
                known = ", ".join(held.definition.customer_key for held in self._store.tables())
                return _problem(400, f"not a fault: there is no data extension {rule.data_extension!r}, only {known}")
            rule = rule.model_copy(update={"data_extension": table.definition.customer_key})
        rule_id = self._faults.add(rule)
        if rule.at_once:
            self._tokens.expire_all()
            self._faults.spend(rule_id)
        return _json({"id": rule_id})

    async def list_faults(self, _: web.Request) -> web.Response:
        return _json({"faults": self._faults.active(), "spent": self._faults.spent()})

    async def remove_faults(self, _: web.Request) -> web.Response:
        return _json({"removed": self._faults.clear()})

    async def remove_fault(self, request: web.Request) -> web.Response:
        if not self._faults.remove(request.match_info["id"]):
            return _problem(404, f"no fault {request.match_info['id']!r} is in force; GET /_sim/faults lists them")
        return _json({"removed": 1})

    async def list_incidents(self, _: web.Request) -> web.Response:
        return _json({"incidents": [incident.as_document() for incident in self._incidents.all()]})

    async def stats(self, _: web.Request) -> web.Response:
        return _json(
            {
                "calls": self._journal.total,
                "callsKept": len(self._journal),
                "callsByOperation": self._journal.by_operation,
                "callsByStatus": +self._journal.by_status,
                "largeBatches": self._soap.large_batches,
                "rows": {table.definition.customer_key: len(table) for table in self._store.tables()},
                "tokensIssued": self._tokens.issued,
                "tokensRefused": self._tokens.refused,
                "faultsFired": {str(kind): count for kind, count in self._faults.fired.items()},
                "incidents": len(self._incidents),
            }
        )

    async def reset(self, _: web.Request) -> web.Response:
        """Clears everything except the tokens, so that clients can go on."""
        self._store.clear()
        self._soap.clear()
        self._journal.clear()
        self._faults.reset()
        self._incidents.clear()
        self._tokens.issued = self._tokens.refused = 0
        return _json({"reset": True})


def _folded(definition: HeldDataExtension, wanted: Mapping[str, set[str]]) -> dict[str, tuple[Hashable, ...]]:
    """Folded values for the index. A text that its column refuses was never written."""
    found: dict[str, tuple[Hashable, ...]] = {}
    for column, texts in wanted.items():
        with contextlib.suppress(ValueRefused):
            found[column] = tuple(fold(definition.types[column].parse(text)) for text in texts)
    return found


def _as_read(definition: HeldDataExtension, row: StoredRow) -> dict[str, str | None]:
    return as_read(definition, row.values, row.values)


async def _stream(
    request: web.Request, name: str, items: list[Any], dump: Callable[[Any], bytes]
) -> web.StreamResponse:
    """Writes `{"<name>": [...]}`, in parts if it is long."""
    start, end = f'{{"{name}":['.encode(), b"]}"
    if len(items) <= _PART:
        body = start + b",".join(map(dump, items)) + end
        return web.Response(body=body, content_type="application/json", charset="utf-8")
    response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
    await response.prepare(request)
    for first in range(0, len(items), _PART):
        await response.write((b"," if first else start) + b",".join(map(dump, items[first : first + _PART])))
        await asyncio.sleep(0)
    await response.write_eof(end)
    return response


def _json(document: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json", charset="utf-8")


def _problem(status: int, detail: str) -> web.Response:
    return _json({"error": detail}, status)
