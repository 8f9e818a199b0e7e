"""Sends a call until it is answered or given up: renews tokens, repeats at once, and waits while throttled."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Awaitable, Callable

from app.cmt.call import OK, Result, SoapCall
from app.cmt.errors import AnswerVerdict, CallError, CallFailed, entry_of, told
from app.cmt.in_flight import InFlight
from app.cmt.observer import CallObserver
from app.cmt.rate import RateLimit
from app.cmt.request_id import request_id_of
from app.cmt.results import NoResult, call_error
from app.cmt.rights import Right
from app.cmt.throttled import Throttled
from app.cmt.token_answer import Token
from app.cmt.tokens import TokenClient
from app.delivery import errors as registry
from app.delivery.errors import ErrorClass
from app.delivery.permit import Permit
from app.http.answer import Answer, FailureKind, TransportFailed
from app.http.transport import HttpTransport
from app.profile.entities import Catalog

# How often a call is repeated at once, and the longest pause before a repeat (random, so that lanes do not all repeat
# at the same moment).
REPEATS = 2
REPEAT_SECONDS = 0.2
# A call that timed out is not repeated: it has taken long enough, and the caller decides about another attempt.
REPEATED = frozenset({registry.CMT_CONNECTION.code, registry.CMT_UNAVAILABLE.code, registry.CMT_MALFORMED.code})

# The observer's label for a call with rows of several entity types.
MIXED = "mixed"


class CallSender:
    """Sends the calls of one account.

    Args:
        catalog: the data extensions of the calls; texts and metrics about rights name them.
        timeout_seconds: how long one request may take.
        patience: see ``CmtClient``.
    """

    def __init__(
        self,
        catalog: Catalog,
        timeout_seconds: float,
        *,
        transport: HttpTransport,
        tokens: TokenClient,
        in_flight: InFlight,
        rate: RateLimit,
        observe: CallObserver,
        patience: float | None,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._catalog = catalog
        self._timeout_seconds = timeout_seconds
        self._transport = transport
        self._tokens = tokens
        self._in_flight = in_flight
        self._rate = rate
        self._observe = observe
        self._patience = patience
        self._sleep = sleep
        self._denied: set[tuple[Right, str]] = set()  # rights that were missing when a call last needed them

    def for_catalog(self, catalog: Catalog) -> CallSender:
        """A sender for other data extensions of the same account; everything else is shared."""
        other = copy.copy(self)
        other._catalog = catalog
        return other

    async def send(self, call: SoapCall[Result]) -> Result:
        """Send a call until it is answered; raises ``CallFailed`` when it is given up."""
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
            in_time = time.monotonic() - began < self._timeout_seconds
            if repeats == REPEATS or not in_time or error.code not in REPEATED or error.retry_after is not None:
                raise CallFailed(error)
            repeats += 1
            await self._sleep(random.uniform(0, REPEAT_SECONDS))  # noqa: S311 - spreads load, guards nothing

    async def _until_let(self, throttled: Throttled, error: CallError, permit: Permit) -> None:
        """Wait until a throttled call may be sent again; raises ``CallFailed`` when it is given up instead."""
        wait = throttled.again(
            time.monotonic(),
            self._in_flight.answered,
            error.retry_after,
            random.random(),  # noqa: S311 - spreads load, guards nothing
        )
        if wait is None:
            raise CallFailed(error)
        await permit.wait(wait)

    async def _attempt(self, call: SoapCall[Result], token: Token, on_good_answer: Callable[[], None]) -> Result:
        """Send one request and read its answer; raises ``NoResult``. The observer is told, unless it was cancelled."""
        started = time.perf_counter()
        outcome = ""
        try:
            headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{call.message.action}"'}
            body = call.message.with_token(token.value)
            answer = await self._transport.post(
                token.soap_url, body, headers, permit=call.permit, on_good_answer=on_good_answer
            )
            result = _read(call, answer)
            outcome = call.label(result)
            return result
        except TransportFailed as failure:
            entry = entry_of(failure)
            outcome = entry.code
            # Marketing Cloud may still carry out a request that timed out, and so overwrite a write that follows soon.
            given_up = failure.sent and failure.kind is FailureKind.TIMEOUT
            wait = self._timeout_seconds if given_up else None
            if given_up and call.operation != "retrieve":
                call.permit.may_land_late(self._timeout_seconds)
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

    def _note_rights(self, call: SoapCall[Result], outcome: str) -> None:
        right = Right.READ if call.operation == "retrieve" else Right.WRITE
        for entity in call.entities:
            place = right, self._catalog[entity].customer_key
            if outcome == registry.CMT_PERMISSION.code:
                self._denied.add(place)
                self._observe.right(right, entity.value, place[1], granted=False)
            elif outcome == OK and place in self._denied:
                self._denied.discard(place)
                self._observe.right(right, entity.value, place[1], granted=True)

    def _describe(self, call: SoapCall[Result]) -> str:
        names = ", ".join(self._catalog[entity].customer_key for entity in call.entities)
        return f"{call.message.action} of {names}"


def _read(call: SoapCall[Result], answer: Answer) -> Result:
    try:
        return call.read(answer)
    except NoResult as problem:
        problem.request_id = request_id_of(answer.body)
        raise


def _effect(failure: TransportFailed, operation: str) -> str:
    if not failure.sent:
        return " Nothing was sent."
    return "" if operation == "retrieve" else " Whether the write happened is unknown."
