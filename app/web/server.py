"""The web application, and the server that runs it in a worker's event loop."""

from __future__ import annotations

import asyncio
import logging
import ssl
from concurrent.futures import ThreadPoolExecutor

import structlog
from aiohttp import web

from app.settings import WebSettings
from app.web.auth import TokenVerifier
from app.web.connections import HEAD_SECONDS, LINGER_SECONDS, TLS_SECONDS, Runner
from app.web.letter_value import LARGEST_VALUE_BYTES
from app.web.middleware import add_headers, answer_errors, log_requests
from app.web.routes import ROUTES
from app.web.state import QUESTION_THREADS, QUESTIONS, SETTINGS, STATE, VERIFIER, WebState

log = structlog.stdlib.get_logger(__name__)

# When the worker stops, a request that is being answered gets this much time.
SHUTDOWN_SECONDS = 2.0


class WebServerError(Exception):
    """The web server cannot start; the text says why and what to do."""


def make_app(state: WebState, settings: WebSettings) -> web.Application:
    """The application with all routes."""
    app = web.Application(middlewares=[log_requests, answer_errors], client_max_size=LARGEST_VALUE_BYTES)
    app[STATE] = state
    app[SETTINGS] = settings
    app[VERIFIER] = TokenVerifier(settings)
    app[QUESTIONS] = ThreadPoolExecutor(QUESTION_THREADS, thread_name_prefix="web-question")
    app.on_cleanup.append(_end_questions)
    app.on_response_prepare.append(add_headers)
    for route in ROUTES:
        if route.method == "GET":
            app.router.add_get(route.path, route.handler)  # answers HEAD too
        else:
            app.router.add_route(route.method, route.path, route.handler)
    return app


async def _end_questions(app: web.Application) -> None:
    app[QUESTIONS].shutdown(wait=False, cancel_futures=True)


class WebServer:
    """Serves on ``WEB_HOST:WEB_PORT``, with TLS if there is a certificate. Port 0 chooses a free one; see ``port``."""

    def __init__(self, state: WebState, settings: WebSettings) -> None:
        self._state = state
        self._settings = settings
        self._runner: Runner | None = None
        self._listener: asyncio.Server | None = None
        self.port = settings.port

    @property
    def url(self) -> str:
        """The server's address, for use on this machine."""
        scheme = "https" if self._settings.tls_cert else "http"
        host = self._settings.host
        shown = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host  # noqa: S104 - not bound here
        return f"{scheme}://{shown}:{self.port}"

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            WebServerError: the port is taken, the address is not one of this machine, or the certificate is unusable.
        """
        runner = Runner(
            make_app(self._state, self._settings),
            keepalive_timeout=HEAD_SECONDS,
            lingering_time=LINGER_SECONDS,
            access_log=None,  # it would log paths; see ``log_requests``
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_SECONDS,
            logger=_server_log,
        )
        await runner.setup()
        try:
            assert runner.server is not None
            tls = self._tls()
            self._listener = await asyncio.get_running_loop().create_server(
                runner.server,
                self._settings.host,
                self._settings.port,
                ssl=tls,
                ssl_handshake_timeout=TLS_SECONDS if tls else None,
            )
        except OSError as error:
            await runner.cleanup()
            raise WebServerError(
                f"cannot listen on WEB_HOST {self._settings.host}, WEB_PORT {self._settings.port}: "
                f"{error.strerror or error}; choose another port, or 0 for a free one"
            ) from error
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self.port = self._listener.sockets[0].getsockname()[1]
        log.info("web server listens", url=self.url)

    async def stop(self) -> None:
        """Stop listening. Requests that are being answered get ``SHUTDOWN_SECONDS``."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _tls(self) -> ssl.SSLContext | None:
        if self._settings.tls_cert is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._settings.tls_cert, self._settings.tls_key, password="")
        except (ssl.SSLError, OSError) as error:
            raise WebServerError(
                f"WEB_TLS_CERT and WEB_TLS_KEY are not a PEM certificate and its PEM key without a passphrase: {error}"
            ) from None
        return context


# For errors in aiohttp's own code. Errors in requests are logged in connections.py and middleware.py.
_server_log = logging.getLogger(__name__ + ".protocol")
