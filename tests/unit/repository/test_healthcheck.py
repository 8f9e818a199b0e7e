"""The container's health check asks the worker where its own environment says it listens."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from runpy import run_path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "deploy" / "healthcheck.py"
health_url = run_path(str(SCRIPT))["health_url"]


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers /healthz with ``status``; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def check(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={**os.environ, "WEB_HOST": "0.0.0.0", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "http://127.0.0.1:6066/healthz"),
        ({"WEB_HOST": "0.0.0.0", "WEB_PORT": "7000"}, "http://127.0.0.1:7000/healthz"),
        ({"WEB_HOST": "::"}, "http://[::1]:6066/healthz"),
        ({"WEB_HOST": "10.0.0.7", "WEB_TLS_CERT": "cert.pem"}, "https://10.0.0.7:6066/healthz"),
    ],
)
def test_it_asks_where_the_worker_listens(environment: dict[str, str], url: str) -> None:
    assert health_url(environment) == url


def test_a_worker_that_answers_is_healthy_whatever_proxy_is_set() -> None:
    with answering(200) as port:
        assert check(WEB_PORT=str(port), http_proxy="http://127.0.0.1:1").returncode == 0


def test_a_worker_that_answers_with_an_error_is_not() -> None:
    with answering(503) as port:
        result = check(WEB_PORT=str(port))
    assert result.returncode == 1
    assert "503" in result.stderr


def test_no_worker_is_not_healthy_and_says_where_it_looked() -> None:
    with answering(200) as port:
        pass
    result = check(WEB_PORT=str(port))
    assert result.returncode == 1
    assert f"http://127.0.0.1:{port}/healthz" in result.stderr
