"""`/api/now/table/incident` and `/oauth_token.do`: the part of ServiceNow that incidents need."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from app.simulator.answers import transport_fault
from app.simulator.faults import FaultKind, FaultRule, Faults
from app.simulator.incidents import HeldIncident, IncidentTable, QueryError

RETRY_AFTER_SECONDS = 5
_BEARER_TTL_SECONDS = 1799


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password of the table, for basic authentication or to get a bearer token."""

    username: str
    password: str


class ServiceNowEndpoint:
    """The endpoint. Without credentials it accepts every caller."""

    def __init__(
        self, table: IncidentTable, faults: Faults, credentials: Credentials | None, stopping: asyncio.Event
    ) -> None:
        self._table = table
        self._faults = faults
        self._credentials = credentials
        self._stopping = stopping
        self._bearers: set[str] = set()

    async def oauth_token(self, request: web.Request) -> web.Response:
        """Grants password and client_credentials; for the latter, client id and secret count as user and password."""
        fields = await request.post()
        if self._credentials is not None:
            given = Credentials(
                str(fields.get("username") or fields.get("client_id") or ""),
                str(fields.get("password") or fields.get("client_secret") or ""),
            )
            if not _same(given, self._credentials):
                return _json({"error": "access_denied", "error_description": "access_denied"}, 401)
        bearer = secrets.token_urlsafe(32)
        self._bearers.add(bearer)
        return _json(
            {
                "access_token": bearer,
                "scope": "useraccount",
                "token_type": "Bearer",
                "expires_in": _BEARER_TTL_SECONDS,
            }
        )

    async def find(self, request: web.Request) -> web.Response:
        return await self._answer(request, lambda: self._find(request))

    async def show(self, request: web.Request) -> web.Response:
        return await self._answer(request, lambda: self._result(self._table.get(request.match_info["sys_id"]), request))

    async def create(self, request: web.Request) -> web.Response:
        sent = await _object(request)
        return await self._answer(request, lambda: self._create(request, sent))

    async def update(self, request: web.Request) -> web.Response:
        sent = await _object(request)
        return await self._answer(request, lambda: self._update(request, sent))

    def _find(self, request: web.Request) -> web.Response:
        limit, offset = request.query.get("sysparm_limit", "10000"), request.query.get("sysparm_offset", "0")
        if not limit.isdecimal() or not offset.isdecimal():
            return _error(400, "Invalid parameter", "sysparm_limit and sysparm_offset must be numbers")
        try:
            found = self._table.query(request.query.get("sysparm_query", ""))
        except QueryError as error:
            return _error(400, "Invalid query", str(error))
        page = found[int(offset) : int(offset) + int(limit)]
        headers = {"X-Total-Count": str(len(found))}
        return _json({"result": [_record(incident, request) for incident in page]}, 200, headers)

    def _create(self, request: web.Request, sent: dict[str, Any] | None) -> web.Response:
        if sent is None:
            return _error(400, "Exception while reading request", "The payload is not valid JSON")
        incident = self._table.create(sent)
        location = f"{request.scheme}://{request.host}/api/now/table/incident/{incident.fields['sys_id']}"
        return _json({"result": _record(incident, request)}, 201, {"Location": location})

    def _update(self, request: web.Request, sent: dict[str, Any] | None) -> web.Response:
        if sent is None:
            return _error(400, "Exception while reading request", "The payload is not valid JSON")
        return self._result(self._table.update(request.match_info["sys_id"], sent), request)

    def _result(self, incident: HeldIncident | None, request: web.Request) -> web.Response:
        if incident is None:
            return _error(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
        return _json({"result": _record(incident, request)})

    async def _answer(self, request: web.Request, carry_out: Callable[[], web.Response]) -> web.Response:
        """The answer, or the answer of an injected fault, before or after the request was carried out."""
        verdict = self._faults.for_incident()
        fault = verdict.fault
        await asyncio.sleep(verdict.delay_before_ms / 1000)
        if fault is not None and not fault.after:
            return await self._failure(request, fault)
        if not self._lets_in(request.headers.get("Authorization", "")):
            headers = {"WWW-Authenticate": 'Basic realm="Service-now"'}
            return _error(401, "User Not Authenticated", "Required to provide Auth information", headers)
        response = carry_out()
        await asyncio.sleep(verdict.delay_after_ms / 1000)
        return response if fault is None else await self._failure(request, fault)

    async def _failure(self, request: web.Request, fault: FaultRule) -> web.Response:
        if fault.kind is FaultKind.INCIDENT_429:
            headers = {
                "Retry-After": str(RETRY_AFTER_SECONDS),
                "X-RateLimit-Limit": "1",
                "X-RateLimit-Reset": str(int(time.time()) + RETRY_AFTER_SECONDS),
            }
            return _error(429, "Rate limit exceeded", "Too many requests", headers)
        response = await transport_fault(request, fault, self._stopping)
        return response or _error(500, "Unknown error", "The operation could not be completed")

    def _lets_in(self, authorization: str) -> bool:
        if self._credentials is None:
            return True
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return value.strip() in self._bearers
        try:
            username, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return scheme.lower() == "basic" and _same(Credentials(username, password), self._credentials)


def _same(given: Credentials, wanted: Credentials) -> bool:
    same_user = hmac.compare_digest(given.username.encode(), wanted.username.encode())
    same_password = hmac.compare_digest(given.password.encode(), wanted.password.encode())
    return same_user and same_password


async def _object(request: web.Request) -> dict[str, Any] | None:
    try:
        sent = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        return None
    return sent if isinstance(sent, dict) else None


def _record(incident: HeldIncident, request: web.Request) -> dict[str, str]:
    record = incident.as_record()
    wanted = request.query.get("sysparm_fields")
    return record if not wanted else {name: record.get(name, "") for name in wanted.split(",")}


def _error(status: int, message: str, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    return _json({"error": {"message": message, "detail": detail}, "status": "failure"}, status, headers)


def _json(document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=orjson.dumps(document), status=status, headers=headers, content_type="application/json", charset="utf-8"
    )
