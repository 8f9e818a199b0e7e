"""Incidents in ServiceNow (vendor pages "Table API", "OAuth 2.0", "Inbound REST API rate limiting").

``correlation_id`` is not unique there, so the caller must search before it creates. Answers need care. A search may be
empty because the user may not read incidents. It may find a foreign incident because a part of the query was ignored.
An update may be carried out only in part.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import structlog

from app import __version__
from app.http.retry_after import retry_after_seconds
from app.incidents.bounded import read_bounded, read_json, stated_reason
from app.incidents.tickets import Incident, TicketError
from app.observe.redaction import mask_text
from app.settings import ConfigurationError, ServiceNowSettings

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 30.0
# The desk makes one request at a time; the second connection is for the token.
_CONNECTIONS = 2
# Limits of an answer's head: the length of a line or field, and the number of fields.
_HEAD_BYTES, _HEAD_FIELDS = 8190, 100
_TABLE = "/api/now/table/incident"
# Resolved, closed, cancelled in the standard state model.
_RESOLVED = "6"
_DONE_STATES = (_RESOLVED, "7", "8")
# For a search. Ours is the first result, unless a part of the query was ignored.
_FOUND_AT_MOST = 10
# A sys_id becomes part of an address.
_SYS_ID = re.compile(r"[0-9A-Za-z]{1,32}")
_NUMBER = re.compile(r"[0-9A-Za-z_-]{1,40}")
_BEARER = re.compile(r"[\x21-\x7e]{1,8000}")
# A bearer token is replaced this long before it expires. A longer lifetime than the second number is not believed.
_EARLY_SECONDS = 30.0
_LONGEST_LIFE_SECONDS = 86_400.0
# The values of close_code differ between instances; SERVICENOW_FIELDS may set another one.
_CLOSE_CODE = "Solution provided"
_WHEN_RESOLVED = ("close_code", "close_notes")

_HINTS = {
    401: "check SERVICENOW_USERNAME and SERVICENOW_PASSWORD, or the client ID and secret",
    403: "the user may not read and write incidents (role itil, or web_service_admin for the API), or a policy demands "
    "more fields (set them in SERVICENOW_FIELDS)",
    404: "check SERVICENOW_URL",
    429: "its rate limit is used up",
}
# ServiceNow understood the request and refused it.
_REFUSED = frozenset({400, 403, 404, 405, 409, 422})


class ServiceNow:
    """The incident table of one instance; an async context manager.

    Args:
        settings: address and credentials. With a client ID, OAuth 2.0 client credentials are used, else basic
            authentication.
        timeout_seconds: for one request.
        clock: monotonic seconds.

    Raises:
        ConfigurationError: the address is missing, or basic authentication cannot carry the user name (RFC 7617, 2).
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
            # Plain http is allowed to this machine only, so it must not go through a proxy.
            trust_env=urlsplit(self._url).scheme == "https",
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": f"profile-sync/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            auto_decompress=False,
            max_line_size=_HEAD_BYTES,
            max_field_size=_HEAD_BYTES,
            max_headers=_HEAD_FIELDS,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def find_open(self, correlation_id: str) -> Incident | None:
        """The newest open incident with this correlation ID."""
        query = f"correlation_id={correlation_id}^stateNOT IN{','.join(_DONE_STATES)}^ORDERBYDESCnumber"
        parameters = {
            "sysparm_query": query,
            "sysparm_limit": str(_FOUND_AT_MOST),
            "sysparm_fields": "sys_id,number,correlation_id,state",
        }
        found = await self._table("GET", "", parameters, None)
        if not isinstance(found, list):
            raise TicketError("ServiceNow's answer to a search is not a list of incidents")
        incidents = [(_incident(record), record) for record in found[:_FOUND_AT_MOST]]
        # ServiceNow ignores parts of a query that it does not understand or may not apply, and then finds others.
        ours = (i for i, r in incidents if r.get("correlation_id") == correlation_id and _is_open(r) is not False)
        return next(ours, None)

    async def is_open(self, incident: Incident) -> bool | None:
        """Whether an incident is neither resolved, closed nor cancelled; None if the user may not read it."""
        try:
            record = await self._table("GET", f"/{_safe(incident.sys_id)}", {"sysparm_fields": "sys_id,state"}, None)
        except TicketError as error:
            if error.refused:
                return None
            raise
        return _is_open(record)

    async def create(self, fields: Mapping[str, str]) -> Incident:
        """Open an incident. The assignment group is given by name. ``SERVICENOW_FIELDS`` override ``fields``."""
        own = {name: value for name, value in (self._settings.fields or {}).items() if name not in _WHEN_RESOLVED}
        # The correlation ID is not overridden: a later search finds the incident by it.
        body = {**fields, **own, "correlation_id": fields["correlation_id"]}
        return _incident(await self._table("POST", "", {"sysparm_input_display_value": "true"}, body))

    async def add_work_note(self, incident: Incident, text: str) -> None:
        """Add a work note to an incident."""
        await self._table("PATCH", f"/{_safe(incident.sys_id)}", {}, {"work_notes": text})

    async def resolve(self, incident: Incident, text: str) -> bool:
        """Add a work note and set the state to resolved; if that is refused, add only the note."""
        closing = {"close_code": _CLOSE_CODE, "close_notes": text}
        closing |= {name: value for name, value in (self._settings.fields or {}).items() if name in _WHEN_RESOLVED}
        body = {"work_notes": text, "state": _RESOLVED, **closing}
        try:
            record = await self._table(
                "PATCH", f"/{_safe(incident.sys_id)}", {"sysparm_input_display_value": "true"}, body
            )
        except TicketError as error:
            if not error.refused:
                raise
            log.warning("incident not resolved, only a note added", incident=incident.number, problem=str(error))
            await self.add_work_note(incident, text)
            return False
        if _is_open(record):
            log.warning("incident not resolved, the user may not change its state", incident=incident.number)
            return False
        return True

    async def _table(
        self, method: str, path: str, parameters: Mapping[str, str], body: Mapping[str, str] | None
    ) -> Any:
        status, document = await self._authorized(method, path, parameters, body)
        if status == 401 and self._settings.client_id is not None:
            self._bearer_until = float("-inf")  # revoked or expired early: retry once with a new token
            status, document = await self._authorized(method, path, parameters, body)
        if status not in (200, 201) or not isinstance(document, dict) or "result" not in document:
            raise _refusal(f"{method} incident", status, None, document)
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
        if status != 200 or not isinstance(value, str) or not _BEARER.fullmatch(value):
            raise _refusal("token request", status, None, document)
        return value, _life(document.get("expires_in"))

    async def _request(self, method: str, path: str, **arguments: Any) -> tuple[int, Any]:
        """Status and JSON document of an answer; the document is None if the body is not JSON.

        Raises:
            TicketError: there was no answer, it was too large, or it was a server error or HTTP 429.
        """
        if self._session is None:
            raise RuntimeError("ServiceNow is used outside its context")
        try:
            async with self._session.request(method, self._url + path, allow_redirects=False, **arguments) as response:
                status = response.status
                retry_after = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
                content = await read_bounded(response)
        except TimeoutError:
            raise TicketError(f"ServiceNow did not answer within {self._timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Only the type: the error's text may hold the proxy's credentials.
            raise TicketError(f"no connection to ServiceNow ({type(error).__name__})") from None
        document = read_json(content)
        if status == 429 or status >= 500:
            raise _refusal(f"{method} {path}", status, retry_after, document)
        return status, document


def _incident(record: Any) -> Incident:
    sys_id = record.get("sys_id") if isinstance(record, dict) else None
    if not isinstance(sys_id, str) or not _SYS_ID.fullmatch(sys_id):
        raise TicketError("ServiceNow's answer is not an incident: it has no sys_id")
    number = record.get("number")
    return Incident(sys_id, number if isinstance(number, str) and _NUMBER.fullmatch(number) else "")


def _safe(sys_id: str) -> str:
    """The key, checked before it becomes part of an address: a remembered one was read from a topic."""
    if not _SYS_ID.fullmatch(sys_id):
        raise TicketError("the remembered incident has no valid sys_id", refused=True)
    return sys_id


def _is_open(record: Any) -> bool | None:
    """Whether a record's state is an open one; None if the state is missing, because the user may not read it."""
    state = record.get("state") if isinstance(record, dict) else None
    return None if not isinstance(state, str) or not state else state not in _DONE_STATES


def _life(seconds: Any) -> float:
    """The lifetime of a bearer token in seconds; short if the answer gives none that can be believed."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST_LIFE_SECONDS:
        return _EARLY_SECONDS
    return float(seconds)


def _refusal(what: str, status: int, retry_after: float | None, document: Any) -> TicketError:
    said = mask_text(stated_reason(document))
    reason = f" ({said})" if said else ""
    if status in (200, 201):
        return TicketError(
            f"ServiceNow's answer to {what} does not follow its API; is the instance hibernating?{reason}"
        )
    hint = f"; {_HINTS[status]}" if status in _HINTS else ""
    return TicketError(
        f"ServiceNow answered {what} with HTTP {status}{reason}{hint}", retry_after, refused=status in _REFUSED
    )
