"""Incidents in ServiceNow (vendor pages "Table API", "OAuth 2.0", "Inbound REST API rate limiting").

``correlation_id`` is not unique there: looking up before creating is the caller's part.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from app import __version__
from app.domain.retry_after import retry_after_seconds
from app.incidents.tickets import Incident, TicketError
from app.settings import ConfigurationError, ServiceNowSettings

TIMEOUT_SECONDS = 30.0
# One desk, one request at a time; a second connection for the token.
_CONNECTIONS = 2
_TABLE = "/api/now/table/incident"
# Resolved, closed, cancelled in the standard state model.
_DONE_STATES = "6,7,8"
# A bearer token is replaced this long before its end.
_EARLY_SECONDS = 30.0

_HINTS = {
    401: "check SERVICENOW_USERNAME and SERVICENOW_PASSWORD, or the client ID and secret",
    403: "the user may not read and write incidents (role itil, or web_service_admin for the API)",
    404: "check SERVICENOW_URL",
    429: "its rate limit is used up",
}


class ServiceNow:
    """The incident table of one instance. Use as an async context manager.

    Args:
        settings: address and credentials; OAuth 2.0 client credentials when there is a client ID, else basic.
        timeout_seconds: for one request.
        clock: monotonic seconds.

    Raises:
        ConfigurationError: no address, or a user name that basic authentication cannot carry (RFC 7617, 2).
    """

    def __init__(
        self,
        settings: ServiceNowSettings,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if settings.url is None:
            raise ConfigurationError(["SERVICENOW_URL: is required but not set"])
        if ":" in (settings.username or ""):
            raise ConfigurationError(["SERVICENOW_USERNAME: must not contain a colon"])
        self._url = settings.url
        self._settings = settings
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._clock = clock
        self._bearer = ""
        self._bearer_until = float("-inf")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=self._timeout,
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=ssl.create_default_context()),
            # Plain http is for this machine only and must not travel through a proxy.
            trust_env=urlsplit(self._url).scheme == "https",
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"profile-sync/{__version__}", "Accept": "application/json"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def find_open(self, correlation_id: str) -> Incident | None:
        """The newest open incident with this correlation ID."""
        query = f"correlation_id={correlation_id}^stateNOT IN{_DONE_STATES}^ORDERBYDESCnumber"
        parameters = {"sysparm_query": query, "sysparm_limit": "1", "sysparm_fields": "sys_id,number"}
        found = await self._table("GET", "", parameters, None)
        if not isinstance(found, list):
            raise TicketError("ServiceNow's answer to a search is not a list of incidents")
        return _incident(found[0]) if found else None

    async def create(self, fields: Mapping[str, str]) -> Incident:
        """Open an incident; an assignment group is given by name."""
        return _incident(await self._table("POST", "", {"sysparm_input_display_value": "true"}, dict(fields)))

    async def add_work_note(self, incident: Incident, text: str) -> None:
        """Add a work note to an incident."""
        await self._table("PATCH", f"/{incident.sys_id}", {}, {"work_notes": text})

    async def _table(
        self, method: str, path: str, parameters: Mapping[str, str], body: Mapping[str, str] | None
    ) -> Any:
        status, document = await self._authorized(method, path, parameters, body)
        if status == 401 and self._settings.client_id is not None:
            self._bearer_until = float("-inf")  # revoked or expired early: once more with a new one
            status, document = await self._authorized(method, path, parameters, body)
        if status not in (200, 201) or not isinstance(document, dict) or "result" not in document:
            raise _refusal(f"{method} incident", status, None)
        return document["result"]

    async def _authorized(
        self, method: str, path: str, parameters: Mapping[str, str], body: Mapping[str, str] | None
    ) -> tuple[int, Any]:
        headers = {"Authorization": await self._authorization()}
        return await self._request(method, _TABLE + path, headers=headers, params=parameters, json=body)

    async def _authorization(self) -> str:
        settings = self._settings
        if settings.client_id is None:
            password = settings.password.get_secret_value() if settings.password else ""
            return aiohttp.encode_basic_auth(settings.username or "", password)
        if self._clock() >= self._bearer_until:
            self._bearer, life = await self._new_bearer(settings.client_id)
            self._bearer_until = self._clock() + max(life - _EARLY_SECONDS, life / 2)
        return f"Bearer {self._bearer}"

    async def _new_bearer(self, client_id: str) -> tuple[str, float]:
        secret = self._settings.client_secret
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": secret.get_secret_value() if secret else "",
        }
        status, document = await self._request("POST", "/oauth_token.do", data=form)
        value = document.get("access_token") if isinstance(document, dict) else None
        if status != 200 or not isinstance(value, str) or not value:
            raise _refusal("token request", status, None)
        life = document.get("expires_in")
        return value, float(life) if isinstance(life, int | float) else _EARLY_SECONDS

    async def _request(self, method: str, path: str, **arguments: Any) -> tuple[int, Any]:
        """Status and JSON of an answer; None for what is no JSON.

        Raises:
            TicketError: no answer, a server error, or a request to slow down.
        """
        if self._session is None:
            raise RuntimeError("ServiceNow is used outside its context")
        try:
            async with self._session.request(method, self._url + path, allow_redirects=False, **arguments) as response:
                content = await response.read()
                retry_after = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
        except TimeoutError:
            raise TicketError(f"ServiceNow did not answer within {self._timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            # The error's text may hold the proxy's credentials.
            raise TicketError(f"no connection to ServiceNow ({type(error).__name__})") from None
        if response.status == 429 or response.status >= 500:
            raise _refusal(f"{method} {path}", response.status, retry_after)
        try:
            return response.status, json.loads(content)
        except ValueError:
            return response.status, None


def _incident(record: Any) -> Incident:
    if isinstance(record, dict) and isinstance(record.get("sys_id"), str) and record["sys_id"]:
        return Incident(record["sys_id"], str(record.get("number") or ""))
    raise TicketError("ServiceNow's answer is not an incident")


def _refusal(what: str, status: int, retry_after: float | None) -> TicketError:
    if status in (200, 201):
        return TicketError(f"ServiceNow's answer to {what} is not what its API promises; a sleeping instance?")
    hint = f"; {_HINTS[status]}" if status in _HINTS else ""
    return TicketError(f"ServiceNow answered {what} with HTTP {status}{hint}", retry_after)
