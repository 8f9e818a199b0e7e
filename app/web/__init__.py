"""The HTTP side of a worker: API, pages, probes and metrics."""

from app.web.server import WebServer, WebServerError
from app.web.state import WebState

__all__ = ["WebServer", "WebServerError", "WebState"]
