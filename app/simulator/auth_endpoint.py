"""`POST /v2/token` and the legacy `POST /v1/requestToken`: JSON or form bodies, account id as number or text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from app.simulator.answers import transport_fault
from app.simulator.faults import FaultKind, FaultRule, Faults
from app.simulator.tokens import Tokens

# The scope of a package with rights on data extensions, for clients that check it.
_SCOPE = "offline data_extensions_read data_extensions_write list_and_subscribers_read list_and_subscribers_write"
_INVALID_CLIENT = {
    "error": "invalid_client",
    "error_description": "Client authentication failed. Make sure that the client ID and client secret are valid and "
    "that the package is installed and enabled.",
    "error_uri": "https://developer.salesforce.com/docs",
}
# Error codes and Retry-After of the REST side: vendor page "Rate Limiting".
_RATE_LIMITED = {"message": "Rate limit exceeded.", "errorcode": 50100, "documentation": ""}
RETRY_AFTER_SECONDS = 5


class AuthEndpoint:
    def __init__(self, tokens: Tokens, faults: Faults, stopping: asyncio.Event) -> None:
        self._tokens = tokens
        self._faults = faults
        self._stopping = stopping

    async def token(self, request: web.Request) -> web.Response:
        """OAuth 2 client credentials. The instance addresses end with "/" and are those that the client used."""
        return await self._answer(request, lambda fields: self._token(request, fields))

    async def request_token(self, request: web.Request) -> web.Response:
        """The endpoint of legacy packages; with `?legacy=1` it also returns a token for the `oAuth` header."""
        return await self._answer(request, lambda fields: self._legacy_token(request, fields))

    def _token(self, request: web.Request, fields: Mapping[str, Any]) -> web.Response:
        grant = fields.get("grant_type", "client_credentials")
        if grant != "client_credentials":
            description = f"The grant type {grant} is not supported, only client_credentials is."
            return _json({"error": "unsupported_grant_type", "error_description": description}, 400)
        if not self._tokens.accepts(str(fields.get("client_id", "")), str(fields.get("client_secret", ""))):
            return _json(_INVALID_CLIENT, 401)
        account = fields.get("account_id")
        here = f"{request.scheme}://{request.host}/"
        return _json(
            {
                "access_token": self._tokens.issue(None if account is None else str(account)),
                "token_type": "Bearer",
                "expires_in": self._tokens.ttl,
                "scope": _SCOPE,
                "soap_instance_url": here,
                "rest_instance_url": here,
            }
        )

    def _legacy_token(self, request: web.Request, fields: Mapping[str, Any]) -> web.Response:
        if not self._tokens.accepts(str(fields.get("clientId", "")), str(fields.get("clientSecret", ""))):
            return _json({"message": "Unauthorized", "errorcode": 1, "documentation": ""}, 401)
        answer: dict[str, Any] = {"accessToken": self._tokens.issue_legacy(), "expiresIn": self._tokens.ttl}
        if request.query.get("legacy") == "1":
            answer["legacyToken"] = self._tokens.issue_legacy()
        if fields.get("accessType") == "offline":
            answer["refreshToken"] = self._tokens.issue_legacy()
        return _json(answer)

    async def _answer(
        self, request: web.Request, carry_out: Callable[[Mapping[str, Any]], web.Response]
    ) -> web.Response:
        """The answer, or the answer of an injected fault, before or after a token was issued."""
        fields = await _fields(request)
        verdict = self._faults.for_token()
        fault = verdict.fault
        await asyncio.sleep(verdict.delay_before_ms / 1000)
        if fault is not None and not fault.after:
            return await self._failure(request, fault)
        if fields is None:
            description = "The request body must be a JSON object or a form."
            return _json({"error": "invalid_request", "error_description": description}, 400)
        response = carry_out(fields)
        await asyncio.sleep(verdict.delay_after_ms / 1000)
        return response if fault is None else await self._failure(request, fault)

    async def _failure(self, request: web.Request, fault: FaultRule) -> web.Response:
        if fault.kind is FaultKind.TOKEN_429:
            return _json(_RATE_LIMITED, 429, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        response = await transport_fault(request, fault, self._stopping)
        return response or _json({"message": "Internal Server Error", "errorcode": 0, "documentation": ""}, 500)


async def _fields(request: web.Request) -> Mapping[str, Any] | None:
    """The fields of a JSON object or a form; None if the body is neither."""
    body = await request.read()
    # curl -d always says "form", so JSON is recognised by its first character.
    if request.content_type == "application/x-www-form-urlencoded" and not body.lstrip().startswith(b"{"):
        return dict((await request.post()).items())
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) else None


def _json(document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=orjson.dumps(document), status=status, headers=headers, content_type="application/json", charset="utf-8"
    )
