"""The simulator: Marketing Cloud (tokens, SOAP) and ServiceNow (incidents), in memory, on one port."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import TracebackType

from aiohttp import web

from app.bundled import schema_path
from app.simulator.auth_endpoint import AuthEndpoint
from app.simulator.control import Control
from app.simulator.definitions import read_catalogue, read_zone
from app.simulator.faults import Faults
from app.simulator.incidents import IncidentTable
from app.simulator.journal import CallJournal
from app.simulator.row_errors import DELETE_MISSING_IS_ERROR
from app.simulator.servicenow_endpoint import Credentials, ServiceNowEndpoint
from app.simulator.soap_endpoint import SoapEndpoint
from app.simulator.store import RowStore
from app.simulator.tokens import Tokens

# Enough for a batch of 50 objects, each as large as the largest Kafka record.
MAX_BODY_BYTES = 64 * 1024 * 1024
# How many connections may wait to be accepted: a benchmark opens hundreds at once.
_BACKLOG = 1024
# How long a stop waits for running requests.
_SHUTDOWN_SECONDS = 2.0
_SOAP_ADDRESS = re.compile(r'(<(?:\w+:)?address\s[^>]*?location=")[^"]*(")')


class Simulator:
    """One simulator on one port; an asynchronous context manager.

    `port` 0 means a free port. `latency_ms` is added to every SOAP call. `token_ttl` is in seconds. `data_extensions`
    is a file in the format of the bundled data-extensions.json; `time_zone` is the time zone of its dates. Without
    `servicenow_credentials` (user, password) the incident table accepts every caller. With `seed`, the probabilities of
    faults give the same results on every run.

    Raises DefinitionError for unusable data extensions or time zones, and OSError from start() if the port is taken.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        latency_ms: float = 0,
        client_id: str = "simulator",
        client_secret: str = "simulator-secret",  # noqa: S107 - the documented default of a stand-in
        token_ttl: int = 1079,
        data_extensions: Path | None = None,
        time_zone: str = "UTC-6",
        servicenow_credentials: tuple[str, str] | None = None,
        delete_missing_is_error: bool = DELETE_MISSING_IS_ERROR,
        seed: int = 0,
    ) -> None:
        self._host = host
        self._port = port
        self._client_secret = client_secret
        self._servicenow_login = servicenow_credentials or ("simulator", "simulator")
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None
        zone = read_zone(time_zone)
        self.store = RowStore(read_catalogue(data_extensions or schema_path("data-extensions.json"), zone))
        self.tokens = Tokens(client_id, client_secret, token_ttl)
        self.faults = Faults(seed)
        self.journal = CallJournal()
        self.incidents = IncidentTable()
        self._soap = SoapEndpoint(
            self.store,
            self.tokens,
            self.faults,
            self.journal,
            latency_ms=latency_ms,
            stopping=self._stopping,
            delete_missing_is_error=delete_missing_is_error,
        )
        self._auth = AuthEndpoint(self.tokens, self.faults, self._stopping)
        credentials = Credentials(*servicenow_credentials) if servicenow_credentials else None
        self._servicenow = ServiceNowEndpoint(self.incidents, self.faults, credentials, self._stopping)
        self._control = Control(self.store, self.tokens, self.faults, self.journal, self.incidents, self._soap)

    @property
    def url(self) -> str:
        """The address of authentication, SOAP, ServiceNow and /_sim, without a slash at the end."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    def environment(self) -> dict[str, str]:
        """The settings with which a worker uses this simulator."""
        username, password = self._servicenow_login
        return {
            "CMT_AUTH_URL": self.url,
            "CMT_CLIENT_ID": self.tokens.client_id,
            "CMT_CLIENT_SECRET": self._client_secret,
            "SERVICENOW_URL": self.url,
            "SERVICENOW_USERNAME": username,
            "SERVICENOW_PASSWORD": password,
        }

    async def start(self) -> None:
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, backlog=_BACKLOG).start()
        except OSError:
            await runner.cleanup()
            raise
        self._port = runner.addresses[0][1]
        self._runner = runner

    async def stop(self) -> None:
        """Answers running requests and releases held connections. May be called twice."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Simulator:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        incident = "/api/now/table/incident"
        application.add_routes(
            [
                # Plain routes for the two spellings that clients use are found without a search; other spellings come
                # after them.
                web.post("/Service.asmx", self._soap.handle),
                web.post("/service.asmx", self._soap.handle),
                web.post("/v2/token", self._auth.token),
                web.post("/v1/requestToken", self._auth.request_token),
                web.get("/etframework.wsdl", self._wsdl),
                web.get("/platform/v1/endpoints/soap", self._soap_address),
                web.get(incident, self._servicenow.find),
                web.post(incident, self._servicenow.create),
                web.get(f"{incident}/{{sys_id}}", self._servicenow.show),
                web.patch(f"{incident}/{{sys_id}}", self._servicenow.update),
                web.put(f"{incident}/{{sys_id}}", self._servicenow.update),
                web.post("/oauth_token.do", self._servicenow.oauth_token),
                *self._control.routes(),
                web.post("/{path:(?i:service\\.asmx)}", self._soap.handle),
            ]
        )
        return application

    async def _wsdl(self, request: web.Request) -> web.Response:
        try:
            text = _read_wsdl()
        except FileNotFoundError as error:
            return web.Response(status=404, text=f"No WSDL to serve: {error}")
        here = f"{request.scheme}://{request.host}/Service.asmx"
        return web.Response(text=_SOAP_ADDRESS.sub(rf"\g<1>{here}\g<2>", text), content_type="text/xml")

    async def _soap_address(self, request: web.Request) -> web.Response:
        return web.json_response({"url": f"{request.scheme}://{request.host}/Service.asmx"})


def _read_wsdl() -> str:
    return schema_path("cmt.wsdl").read_text(encoding="utf-8")
