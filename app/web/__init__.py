"""HTTP: the API, the pages, health and metrics of a worker."""

from app.web.server import WebServer, WebServerError
from app.web.state import WebState

__all__ = ["WebServer", "WebServerError", "WebState"]
