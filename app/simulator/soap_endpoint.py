"""`POST /Service.asmx`: one SOAP call from bytes to bytes, with faults, latency and the journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from aiohttp import web

from app.simulator import row_errors
from app.simulator.answer_fields import Shape
from app.simulator.answers import (
    DROPPING,
    LOGIN_FAILED,
    SOAP_FAULTS,
    TOKEN_EXPIRED,
    fault_response,
    odd_answer,
    soap_response,
    transport_fault,
)
from app.simulator.definitions import Target
from app.simulator.faults import FaultKind, FaultRule, Faults, FaultVerdict
from app.simulator.filters import Row
from app.simulator.journal import Call, CallJournal, Status
from app.simulator.metadata import described
from app.simulator.retrieves import Retrieves
from app.simulator.row_errors import RowError
from app.simulator.soap_reader import OPERATIONS, NotSoapError, NotXmlError, SoapRequest, read_request
from app.simulator.soap_writer import SoapFault, describe_payload, new_id, write_payload
from app.simulator.store import Key, RowStore
from app.simulator.tokens import Tokens, TokenState
from app.simulator.writes import RowWrite, apply, prepare

# The soft limit of objects in a synchronous call (vendor page "API Limits and Guidelines"); larger calls are counted.
SOFT_BATCH_LIMIT = 50

# The operations of the WSDL; one that is not simulated gets a fault that says so.
_KNOWN_ACTIONS = frozenset(
    {"Create", "Retrieve", "Update", "Delete", "Query", "Describe", "Execute", "Perform", "Configure", "Schedule"}
    | {"VersionInfo", "Extract", "GetSystemStatus"}
)


@dataclass(frozen=True, slots=True)
class _Work:
    """A call that was read and accepted, before it takes effect."""

    request: SoapRequest
    operation: str
    writes: tuple[RowWrite, ...]
    targets: tuple[Target, ...]


class SoapEndpoint:
    """Answers SOAP calls from a store. Every call waits `latency_ms` before it takes effect."""

    def __init__(
        self,
        store: RowStore,
        tokens: Tokens,
        faults: Faults,
        journal: CallJournal,
        *,
        latency_ms: float,
        stopping: asyncio.Event,
        delete_missing_is_error: bool = row_errors.DELETE_MISSING_IS_ERROR,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._faults = faults
        self._journal = journal
        self._latency = latency_ms / 1000
        self._stopping = stopping
        self._delete_missing_is_error = delete_missing_is_error
        self._retrieves = Retrieves(store)
        self.large_batches = 0

    async def handle(self, http: web.Request) -> web.Response:
        started = time.perf_counter()
        body = await http.read()
        try:
            request = read_request(body)
        except NotXmlError:
            return web.Response(status=400, text="Bad Request")
        except NotSoapError as error:
            return fault_response(http, SoapFault("Client", f"Server was unable to read request: {error}."))
        refused = _refused_action(http, request)
        if refused is not None:
            return fault_response(http, refused, request)
        work = self._look_at(request)
        if self._latency:
            await asyncio.sleep(self._latency)
        # Before the faults, because a call whose token is refused must not use up a fault.
        refused = self._refused_token(request)
        verdict = FaultVerdict() if refused else self._faults.for_soap(work.operation, work.targets)
        fault = verdict.fault
        if verdict.delay_before_ms:
            await asyncio.sleep(verdict.delay_before_ms / 1000)
        if fault is not None and fault.kind is FaultKind.EXPIRE_TOKENS and not fault.after:
            self._tokens.expire_all()
            fault = None
        # Nothing is awaited from here to the journal entry, so entries are in the order of effects.
        refused = self._refused_token(request)
        if refused is not None:
            self._journal.settle(self._record_all(work, "fault"), _ms_since(started))
            return fault_response(http, refused, request)
        if fault is not None and not fault.after:
            return await self._fail(http, work, fault, self._record_all(work, _fault_status(fault)), started)
        payload, calls = self._carry_out(work)
        if fault is not None and fault.kind is not FaultKind.EXPIRE_TOKENS:
            self._journal.settle(calls, _ms_since(started), _fault_status(fault))
        if verdict.delay_after_ms:
            await asyncio.sleep(verdict.delay_after_ms / 1000)
        if fault is not None and fault.kind is FaultKind.EXPIRE_TOKENS:
            self._tokens.expire_all()
        elif fault is not None:
            return await self._fail(http, work, fault, calls, started)
        response = soap_response(payload, f"{work.operation}Response", request)
        self._journal.settle(calls, _ms_since(started))
        return response

    def clear(self) -> None:
        """Forgets remaining pages and counts."""
        self._retrieves.clear()
        self.large_batches = 0

    def _refused_token(self, request: SoapRequest) -> SoapFault | None:
        if request.login is not None and not request.token:
            return None if self._tokens.accepts(*request.login) else LOGIN_FAILED
        match self._tokens.state(request.token):
            case TokenState.VALID:
                return None
            case TokenState.EXPIRED:
                return TOKEN_EXPIRED
        return LOGIN_FAILED

    def _look_at(self, request: SoapRequest) -> _Work:
        operation = OPERATIONS[request.payload]
        if request.retrieve is not None:
            return _Work(request, operation, (), (self._retrieves.target(request.retrieve),))
        if operation == "Describe":
            return _Work(request, operation, (), ((None, None),))
        writes = tuple(prepare(self._store, operation, sent) for sent in request.objects)
        if len(writes) > SOFT_BATCH_LIMIT:
            self.large_batches += 1
        return _Work(request, operation, writes, tuple(self._target(write) for write in writes))

    def _target(self, write: RowWrite) -> Target:
        return write.data_extension, write.consumer(self._store.catalogue.consumer_column)

    def _carry_out(self, work: _Work) -> tuple[str, list[Call]]:
        if work.request.retrieve is not None:
            payload, failed_retrieve = self._retrieves.answer(work.request.retrieve, work.targets[0])
            return payload, self._record_all(work, "error" if failed_retrieve else "ok")
        if work.operation == "Describe":
            return describe_payload(map(described, work.request.described)), self._record_all(work, "ok")
        results = [(write.sent, self._write(work, write, twice)) for write, twice in _with_twins(work)]
        failed = {write.data_extension for write, (_, error) in zip(work.writes, results, strict=True) if error}
        return write_payload(work.operation, results), self._record_all(work, "ok", failed)

    def _write(self, work: _Work, write: RowWrite, twice: bool) -> RowError | None:
        rule = self._faults.for_row(work.operation, self._target(write))
        if twice:
            return row_errors.same_key_twice()
        if rule is None or rule.after:
            error = apply(write, work.operation, work.request.save_action, self._delete_missing_is_error)
            if rule is None or error is not None:
                return error
        return _row_error(rule, write)

    def _record_all(self, work: _Work, status: Status, failed: set[str] | None = None) -> list[Call]:
        """Adds one entry per data extension of the call; those in `failed` get the status error."""
        at = time.time()
        if not work.writes:
            return [self._journal.record(at, work.operation, *target, status) for target in work.targets]
        groups: dict[str, list[Row]] = {}
        consumers: dict[str, str | None] = {}
        for write, (data_extension, consumer) in zip(work.writes, work.targets, strict=True):
            key = data_extension or ""
            groups.setdefault(key, []).append(write.row)
            consumers[key] = consumers.get(key) or consumer
        return [
            self._journal.record(
                at, work.operation, key, consumers[key], "error" if failed and key in failed else status, rows
            )
            for key, rows in groups.items()
        ]

    async def _fail(
        self, http: web.Request, work: _Work, rule: FaultRule, calls: list[Call], started: float
    ) -> web.Response:
        response = await transport_fault(http, rule, self._stopping)
        if response is None and rule.kind is FaultKind.ANSWER:
            response = odd_answer(http, rule, work.request, work.operation, new_id())
        elif response is None:
            soap_fault = SOAP_FAULTS[rule.kind]
            if rule.kind is FaultKind.SERVER_FAULT:
                soap_fault = replace(soap_fault, text=soap_fault.text.replace("Request", work.operation))
            response = fault_response(http, soap_fault, work.request)
        self._journal.settle(calls, _ms_since(started))
        return response


def _with_twins(work: _Work) -> Iterator[tuple[RowWrite, bool]]:
    """Each write of a call, and whether an earlier write has the same key, so that it is skipped."""
    seen: set[tuple[str, Key]] = set()
    for write in work.writes:
        identity = (write.data_extension, write.key)
        yield write, write.error is None and work.operation != "Delete" and identity in seen
        seen.add(identity)


def _refused_action(http: web.Request, request: SoapRequest) -> SoapFault | None:
    """A fault if SOAPAction (header or wsa:Action, quoted or not) or the payload is not a supported operation."""
    action = http.headers.get("SOAPAction", "").strip().strip('"') or request.action or ""
    if action and action not in _KNOWN_ACTIONS:
        return SoapFault("Client", f"Server did not recognize the value of HTTP Header SOAPAction: {action}.")
    if request.payload not in OPERATIONS:
        text = f"{request.payload} is not simulated: only Create, Update, Delete, Retrieve and Describe are."
        return SoapFault("Server", text, row_errors.UNSUPPORTED_OBJECT)
    return None


def _row_error(rule: FaultRule, write: RowWrite) -> RowError:
    match rule.kind:
        case FaultKind.ROW_ERROR_TRANSIENT:
            return row_errors.deadlock()
        case FaultKind.DEADLOCK_ROW:
            return row_errors.deadlock(row_errors.UNEXPECTED)
        case FaultKind.OK_BUT_UNKNOWN:
            return row_errors.ok_but_unknown()
        case FaultKind.ANSWER:
            status = rule.row_status or "Error"
            return RowError(rule.row_code, rule.row_message or "", status=status, overall=rule.overall_status)
    return _refused_value(write)


def _refused_value(write: RowWrite) -> RowError:
    """A validation error on the first column with a value, preferably not a key column."""
    keys = write.table.definition.primary_key if write.table is not None else ()
    filled = {column: value for column, value in write.row.items() if value}
    column = next((column for column in filled if column not in keys), next(iter(filled), ""))
    return row_errors.invalid_value(column, filled.get(column) or "", is_key=column in keys)


def _fault_status(rule: FaultRule) -> Status:
    if rule.kind is FaultKind.ANSWER and rule.shape is Shape.OVERALL:
        return "error"
    return "dropped" if rule.kind in DROPPING else "fault"


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
