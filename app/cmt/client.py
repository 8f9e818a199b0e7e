"""Calls to Marketing Cloud: upsert, delete and retrieve rows.

The client does this inside a call:

* It fetches and renews tokens. A call that was refused because of its token is repeated once with a new one.
* A call whose connection broke, or whose answer was no SOAP message, is repeated at once, at most twice. All three
  operations may safely be repeated.
* Calls keep to the configured rate. Fewer are in flight while Marketing Cloud throttles.
* A throttled call waits and is sent again, if the caller asks for that (``patience``).

The caller decides everything else: a failed call raises ``CallFailed``, a failed row is a ``RowResult``.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from app.cmt.call import FIELDS, OK, SoapCall, always
from app.cmt.call_sender import CallSender
from app.cmt.errors import CallError, CallFailed
from app.cmt.in_flight import InFlight
from app.cmt.observer import CallObserver, Unobserved
from app.cmt.prepared import PreparedWire
from app.cmt.rate import RateLimit
from app.cmt.results import (
    Mask,
    RowResult,
    field_page,
    names_of,
    refused_row,
    retrieve_page,
    write_results,
)
from app.cmt.throttled import wait_seconds
from app.cmt.token_answer import Token
from app.cmt.tokens import TokenClient
from app.cmt.values import unsendable
from app.cmt.wire import Message
from app.delivery import errors as registry
from app.delivery.permit import Permit
from app.http.transport import HttpTransport, NotCertificates
from app.profile.column_types import Field
from app.profile.entities import CONSUMER_ID_COLUMN, Catalog, EntityType, Row
from app.profile.xml_text import character_named, is_xml_text
from app.settings import CmtSettings, ConfigurationError

THROTTLED_ROW = registry.CMT_RATE_LIMITED.code
# A page has 2,500 rows; no consumer has that many pages. A Retrieve ends even if the server always says "more".
PAGES_MOST = 100


class CmtClient:
    """One account of Marketing Cloud. Use as an async context manager.

    Args:
        settings: address, credentials, timeout and rate.
        catalog: the data extensions.
        concurrency: how many calls the caller makes at the same time.
        observe: is told how calls ended.
        patience: how many seconds a throttled call is sent again while other calls get through; without a limit while
            none do. None: it fails at once.

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
        observer: CallObserver = observe or Unobserved()
        self._patience = patience
        self._names = names_of(catalog)
        self._wire = PreparedWire(catalog, settings.wsdl)
        self._in_flight = InFlight(concurrency)
        # One connection more, for the token: calls that wait for a token must not keep it from being fetched.
        try:
            self._transport = HttpTransport(
                timeout_seconds=settings.timeout_seconds, limit=concurrency + 1, ca_file=settings.ca_file
            )
        except NotCertificates as problem:
            raise ConfigurationError([f"CMT_CA_FILE: {problem}"]) from None
        self._tokens = TokenClient(settings, self._transport.post, on_refresh=observer.token, sleep=sleep)
        self._sender = CallSender(
            catalog,
            settings.timeout_seconds,
            transport=self._transport,
            tokens=self._tokens,
            in_flight=self._in_flight,
            rate=RateLimit(settings.rate_per_second, sleep=sleep),
            observe=observer,
            patience=patience,
            sleep=sleep,
        )
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
        """A client for other data extensions of the same account: token, connections, rate and limit are shared.

        It works while this client is open; do not open it itself.
        """
        other = copy.copy(self)
        other._catalog, other._names = catalog, names_of(catalog)
        other._wire = PreparedWire(catalog, self._settings.wsdl)
        other._sender = self._sender.for_catalog(catalog)
        return other

    @property
    def calls_allowed(self) -> float:
        """How many calls may be in flight now: ``concurrency``, or fewer while Marketing Cloud throttles."""
        return self._in_flight.limit

    async def token(self) -> Token:
        """A token, for a check of the configuration.

        Raises:
            CallFailed: the request for a token failed.
        """
        return await self._tokens.get()

    async def upsert(self, rows: Sequence[tuple[EntityType, Row]], *, permit: Permit = always) -> list[RowResult]:
        """Write rows in one call, inserting those that do not exist.

        Args:
            rows: all columns to write; None writes a null. The rows may be of several entity types. The vendor advises
                against more than 50.
            permit: called right before every send; what it raises goes to the caller.

        Returns:
            One result for each row, in the same order. A row that cannot be sent (no key, not XML text) gets a result
            without being sent.

        Raises:
            CallFailed: the call failed as a whole; no row has a result.
        """
        return await self._write("upsert", rows, self._wire.upsert, permit)

    async def delete(self, keys: Sequence[tuple[EntityType, Row]], *, permit: Permit = always) -> list[RowResult]:
        """Delete rows by their primary keys in one call. Deleting a row that is gone succeeds. Else as ``upsert``."""
        return await self._write("delete", keys, self._wire.delete, permit)

    async def retrieve(self, entity: EntityType, consumer_id: str, *, permit: Permit = always) -> list[Row]:
        """All rows of a consumer, with all columns and values as text. One call for each page of 2,500 rows.

        A null comes back as an empty text or as None, depending on the server.

        Raises:
            CallFailed: not all rows could be read.
        """
        if not is_xml_text(consumer_id):
            entry, table = registry.CMT_NOT_XML_TEXT, self._catalog[entity]
            where = f"Retrieve of {table.customer_key}, column {CONSUMER_ID_COLUMN}: {character_named(consumer_id)}."
            raise CallFailed(CallError(entry.code, f"{entry.meaning} {where}"))
        rows: list[Row] = []
        next_id: str | None = None
        for _ in range(PAGES_MOST):
            page = await self._sender.send(
                SoapCall(
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
        """The columns of an entity's data extension as Marketing Cloud describes them.

        An empty list means that Marketing Cloud shows no such data extension.

        Raises:
            CallFailed: the columns could not be read.
        """
        fields, next_id = await self._sender.send(
            SoapCall(
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
        """The results of rows that can be sent. If only some rows are throttled, these are sent again alone."""
        message = build(rows)
        masked = Mask([row for _, row in rows], self._names)
        results = await self._sender.send(
            SoapCall(
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


def _first_problem(results: Sequence[RowResult]) -> str:
    for result in results:
        if not result.ok:
            return result.code or ""
    return OK
