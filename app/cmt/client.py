"""Calls to Marketing Cloud: upsert, delete and retrieve rows.

What happens inside a call, so that callers need not care: tokens are fetched and renewed; a call that was refused
because of its token is repeated once with a new one; a call whose connection broke or whose answer was no SOAP message
is repeated at once, at most twice (all three operations may safely be repeated); calls keep to the configured rate,
and fewer are under way at a time while Marketing Cloud throttles; a throttled call waits and is sent again, if asked
for (``patience``).
Everything else is for the caller to decide: a failed call raises ``CallFailed``, a failed row is a ``RowResult``.
"""

from __future__ import annotations

import asyncio
import copy
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Generic, Self, TypeVar

from app.cmt.errors import AnswerVerdict, CallError, CallFailed, entry_of, told
from app.cmt.in_flight import InFlight
from app.cmt.observer import CallObserver, Unobserved
from app.cmt.prepared import PreparedWire
from app.cmt.rate import RateLimit
from app.cmt.results import (
    Mask,
    NoResult,
    RowResult,
    call_error,
    field_page,
    names_of,
    refused_row,
    retrieve_page,
    write_results,
)
from app.cmt.rights import Right
from app.cmt.throttled import Throttled, wait_seconds
from app.cmt.token_answer import Token
from app.cmt.tokens import TokenClient
from app.cmt.values import unsendable
from app.cmt.wire import Message
from app.delivery import errors as registry
from app.delivery.errors import ErrorClass
from app.delivery.permit import Permit
from app.delivery.value_class import value_class
from app.http.answer import Answer, FailureKind, TransportFailed
from app.http.transport import HttpTransport, NotCertificates
from app.profile.column_types import Field
from app.profile.entities import CONSUMER_ID_COLUMN, Catalog, EntityType, Row
from app.profile.xml_text import character_named, is_xml_text
from app.settings import CmtSettings, ConfigurationError

# Immediate repeats of a call, and the longest pause before one (jittered, so that lanes do not come back together).
REPEATS = 2
REPEAT_SECONDS = 0.2
# After a timeout the wait has been long enough: the next attempt is the caller's.
REPEATED = frozenset({registry.CMT_CONNECTION.code, registry.CMT_UNAVAILABLE.code, registry.CMT_MALFORMED.code})
THROTTLED_ROW = registry.CMT_RATE_LIMITED.code
# 2,500 rows a page: no consumer has as many; a server that always says "more" must not keep us forever.
PAGES_MOST = 100

# Labels of metrics: a call that went well, one with rows of several entity types, and one that asks for columns.
OK, MIXED = "ok", "mixed"
FIELDS = "fields"

_Result = TypeVar("_Result")


class _Always:
    """The permit of a caller that needs none."""

    def __call__(self) -> None:
        """Go on."""

    async def wait(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def may_land_late(self, seconds: float) -> None:
        """Nothing follows that it could overwrite."""


always: Permit = _Always()


@value_class(frozen=True, slots=True)
class _Call(Generic[_Result]):
    """One call, ready to be sent as often as needed. ``label`` says how it ended for the observer."""

    message: Message
    operation: str
    entities: tuple[EntityType, ...]
    read: Callable[[Answer], _Result]
    label: Callable[[_Result], str]
    masked: Mask
    permit: Permit


class CmtClient:
    """One account of Marketing Cloud. Use as an async context manager.

    Args:
        settings: address, credentials, timeout and rate.
        catalog: the data extensions.
        concurrency: how many calls the caller makes at the same time.
        observe: where metrics go.
        patience: a throttled call is sent again and again; for so many seconds if others get through meanwhile. None:
            it fails at once.

    Raises:
        ConfigurationError: the WSDL or the CA file cannot be used.
    """

    def __init__(
        self,
        settings: CmtSettings,
        catalog: Catalog,
        *,
        concurrency: int = 64,
        observe: CallObserver | None = None,
        patience: float | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._observe: CallObserver = observe or Unobserved()
        self._sleep = sleep
        self._patience = patience
        self._denied: set[tuple[Right, str]] = set()  # rights that were missing when they were needed last
        self._names = names_of(catalog)
        self._wire = PreparedWire(catalog, settings.wsdl)
        self._in_flight = InFlight(concurrency)
        self._rate = RateLimit(settings.rate_per_second, sleep=sleep)
        # One more for the token, so that calls that wait for it do not keep it from being fetched.
        try:
            self._transport = HttpTransport(
                timeout_seconds=settings.timeout_seconds, limit=concurrency + 1, ca_file=settings.ca_file
            )
        except NotCertificates as problem:
            raise ConfigurationError([f"CMT_CA_FILE: {problem}"]) from None
        self._tokens = TokenClient(settings, self._transport.post, on_refresh=self._observe.token, sleep=sleep)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self._transport)
        self._open.push_async_callback(self._tokens.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def for_catalog(self, catalog: Catalog) -> CmtClient:
        """Calls with other data extensions in the same account: token, connections, rate and limit are shared.

        Good while this client is open; not to be opened itself.
        """
        other = copy.copy(self)
        other._catalog, other._names = catalog, names_of(catalog)
        other._wire = PreparedWire(catalog, self._settings.wsdl)
        return other

    @property
    def calls_allowed(self) -> float:
        """How many calls may be under way now: ``concurrency``, or fewer when Marketing Cloud throttles."""
        return self._in_flight.limit

    async def token(self) -> Token:
        """A token, for a check of the configuration.

        Raises:
            CallFailed: none can be had.
        """
        return await self._tokens.get()

    async def upsert(self, rows: Sequence[tuple[EntityType, Row]], *, permit: Permit = always) -> list[RowResult]:
        """Write rows in one call, inserting those that are not there.

        Args:
            rows: all columns to write; None writes a null. May be of several entity types; the vendor advises against
                more than 50.
            permit: called right before every send; what it raises goes to the caller.

        Returns:
            One result for each row, in their order. A row that cannot be sent (no key, not XML text) has its result
            without having been sent.

        Raises:
            CallFailed: there is no result for any row.
        """
        return await self._write("upsert", rows, self._wire.upsert, permit)

    async def delete(self, keys: Sequence[tuple[EntityType, Row]], *, permit: Permit = always) -> list[RowResult]:
        """Delete rows by their primary keys in one call; rows that are gone already are fine. Else as ``upsert``."""
        return await self._write("delete", keys, self._wire.delete, permit)

    async def retrieve(self, entity: EntityType, consumer_id: str, *, permit: Permit = always) -> list[Row]:
        """All rows of a consumer: all columns, values as text, one call for each page of 2,500.

        A null comes back as an empty text or as None, as the server pleases.

        Raises:
            CallFailed: not all rows could be had.
        """
        if not is_xml_text(consumer_id):
            entry, table = registry.CMT_NOT_XML_TEXT, self._catalog[entity]
            where = f"Retrieve of {table.customer_key}, column {CONSUMER_ID_COLUMN}: {character_named(consumer_id)}."
            raise CallFailed(CallError(entry.code, f"{entry.meaning} {where}"))
        rows: list[Row] = []
        next_id: str | None = None
        for _ in range(PAGES_MOST):
            page = await self._send(
                _Call(
                    self._wire.retrieve(entity, consumer_id, after=next_id),
                    "retrieve",
                    (entity,),
                    lambda answer: retrieve_page(answer, consumer_id, self._catalog[entity]),
                    lambda page: OK,
                    Mask(({CONSUMER_ID_COLUMN: consumer_id},), self._names),
                    permit,
                )
            )
            rows.extend(page.rows)
            next_id = page.next_id
            if next_id is None:
                return rows
        raise CallFailed(CallError(registry.CMT_MALFORMED.code, f"Retrieve: no end after {PAGES_MOST} pages."))

    async def fields(self, entity: EntityType) -> list[Field]:
        """The columns of an entity's data extension as Marketing Cloud describes them; none: it shows no such one.

        Raises:
            CallFailed: they could not be had.
        """
        fields, next_id = await self._send(
            _Call(
                self._wire.fields(entity), FIELDS, (entity,), field_page, lambda page: OK, Mask((), self._names), always
            )
        )
        if next_id is not None:
            problem = f"Retrieve: more columns of {self._catalog[entity].customer_key} than fit on a page."
            raise CallFailed(CallError(registry.CMT_MALFORMED.code, problem))
        return fields

    async def _write(
        self,
        label: str,
        rows: Sequence[tuple[EntityType, Row]],
        build: Callable[[Sequence[tuple[EntityType, Row]]], Message],
        permit: Permit,
    ) -> list[RowResult]:
        keys_only = label == "delete"
        refused: dict[int, RowResult] = {}
        for ordinal, (entity, row) in enumerate(rows):
            if problem := unsendable(self._catalog[entity], row, keys_only=keys_only):
                refused[ordinal] = refused_row(ordinal, *problem)
        sent = [pair for ordinal, pair in enumerate(rows) if ordinal not in refused] if refused else rows
        if not sent:
            return list(refused.values())
        answered = await self._write_all(label, sent, build, permit)
        if not refused:
            return answered
        answers = iter(answered)
        return [refused.get(ordinal) or replace(next(answers), ordinal=ordinal) for ordinal in range(len(rows))]

    async def _write_all(
        self,
        label: str,
        rows: Sequence[tuple[EntityType, Row]],
        build: Callable[[Sequence[tuple[EntityType, Row]]], Message],
        permit: Permit,
    ) -> list[RowResult]:
        """The results of rows that can be sent. Rows that are throttled alone are sent again without the others."""
        message = build(rows)
        masked = Mask([row for _, row in rows], self._names)
        results = await self._send(
            _Call(
                message,
                label,
                tuple(dict.fromkeys([entity for entity, _ in rows])),
                lambda answer: write_results(answer, message.action, masked),
                _first_problem,
                masked,
                permit,
            )
        )
        again = [] if self._patience is None else [result.ordinal for result in results if result.code == THROTTLED_ROW]
        if not again:
            return results
        await permit.wait(wait_seconds(0, None, random.random()))  # noqa: S311 - spreads load, guards nothing
        repeated = await self._write_all(label, [rows[ordinal] for ordinal in again], build, permit)
        for ordinal, result in zip(again, repeated, strict=True):
            results[ordinal] = replace(result, ordinal=ordinal)
        return results

    async def _send(self, call: _Call[_Result]) -> _Result:
        """Send a call until it has an answer or must be given up."""
        began = time.monotonic()
        repeats, renewed = 0, False
        throttled: Throttled | None = None
        while True:
            try:
                async with self._in_flight.call() as under_way:
                    await self._rate.turn()
                    token = await self._tokens.get()
                    try:
                        result = await self._attempt(call, token, under_way.over)
                    except NoResult as problem:
                        if problem.verdict.entry.error_class is ErrorClass.THROTTLED and under_way.throttled():
                            self._rate.throttled()
                        raise
                    under_way.went_well()
                    self._rate.went_well()
            except NoResult as problem:
                error = call_error(problem, self._describe(call), call.masked)
                if problem.verdict.token_refused:
                    self._tokens.invalidate(token)
                    if renewed:
                        raise CallFailed(error) from None
                    renewed = True
                    continue
            except CallFailed as no_token:
                error = no_token.error
            else:
                self._tokens.accepted(token)
                return result
            if self._patience is not None and registry.lookup(error.code).error_class is ErrorClass.THROTTLED:
                throttled = throttled or Throttled(self._patience, time.monotonic(), self._in_flight.answered)
                await self._until_let(throttled, error, call.permit)
                began, repeats = time.monotonic(), 0
                continue
            in_time = time.monotonic() - began < self._settings.timeout_seconds
            if repeats == REPEATS or not in_time or error.code not in REPEATED or error.retry_after is not None:
                raise CallFailed(error)
            repeats += 1
            await self._sleep(random.uniform(0, REPEAT_SECONDS))  # noqa: S311 - spreads load, guards nothing

    async def _until_let(self, throttled: Throttled, error: CallError, permit: Permit) -> None:
        """Wait as long as a throttled call has to; raises ``CallFailed`` when it is left to its event."""
        wait = throttled.again(
            time.monotonic(),
            self._in_flight.answered,
            error.retry_after,
            random.random(),  # noqa: S311 - spreads load, guards nothing
        )
        if wait is None:
            raise CallFailed(error)
        await permit.wait(wait)

    async def _attempt(self, call: _Call[_Result], token: Token, on_good_answer: Callable[[], None]) -> _Result:
        """One request and its answer; raises ``NoResult``. The observer learns of it, unless it was cancelled."""
        started = time.perf_counter()
        outcome = ""
        try:
            headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{call.message.action}"'}
            body = call.message.with_token(token.value)
            answer = await self._transport.post(
                token.soap_url, body, headers, permit=call.permit, on_good_answer=on_good_answer
            )
            result = call.read(answer)
            outcome = call.label(result)
            return result
        except TransportFailed as failure:
            entry = entry_of(failure)
            outcome = entry.code
            # A request that was given up may still be carried out: what follows too soon may be overtaken by it.
            given_up = failure.sent and failure.kind is FailureKind.TIMEOUT
            wait = self._settings.timeout_seconds if given_up else None
            if given_up and call.operation != "retrieve":
                call.permit.may_land_late(self._settings.timeout_seconds)
            verdict = AnswerVerdict(entry, outcome_unknown=failure.sent)
            raise NoResult(verdict, f"{told(failure)}.{_effect(failure, call.operation)}", wait) from None
        except NoResult as problem:
            outcome = problem.verdict.entry.code
            raise
        finally:
            if outcome:
                entity = call.entities[0].value if len(call.entities) == 1 else MIXED
                self._observe.call(call.operation, entity, outcome, time.perf_counter() - started)
                if self._denied or outcome == registry.CMT_PERMISSION.code:
                    self._note_rights(call, outcome)

    def _note_rights(self, call: _Call[_Result], outcome: str) -> None:
        right = Right.READ if call.operation == "retrieve" else Right.WRITE
        for entity in call.entities:
            place = right, self._catalog[entity].customer_key
            if outcome == registry.CMT_PERMISSION.code:
                self._denied.add(place)
                self._observe.right(right, entity.value, place[1], granted=False)
            elif outcome == OK and place in self._denied:
                self._denied.discard(place)
                self._observe.right(right, entity.value, place[1], granted=True)

    def _describe(self, call: _Call[_Result]) -> str:
        names = ", ".join(self._catalog[entity].customer_key for entity in call.entities)
        return f"{call.message.action} of {names}"


def _effect(failure: TransportFailed, operation: str) -> str:
    if not failure.sent:
        return " Nothing was sent."
    return "" if operation == "retrieve" else " Whether the write happened is unknown."


def _first_problem(results: Sequence[RowResult]) -> str:
    for result in results:
        if not result.ok:
            return result.code or ""
    return OK
