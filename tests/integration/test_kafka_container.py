"""A container is used only if an engine answers; a stand-in engine plays the cases."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.broker import sources
from app.broker.container_broker import ContainerBroker, engine_answers, environment
from app.broker.distribution import BrokerStartError, java, libraries
from app.broker.free_port import free_port
from app.broker.local_broker import LocalBroker


class _Engine(BaseHTTPRequestHandler):
    """Answers a ping as an engine does, and refuses everything else."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.endswith("/_ping"):
            self._answer(200, "text/plain", b"OK")
        elif path.endswith("/version"):
            self._answer(200, "application/json", b'{"ApiVersion": "1.44", "MinAPIVersion": "1.24", "Version": "25"}')
        else:
            self._answer(500, "application/json", b'{"message": "no space left on device"}')

    def do_POST(self) -> None:
        self.do_GET()

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        pass


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    yield server
    server.shutdown()
    server.server_close()


def test_an_engine_that_answers_is_found(engine: ThreadingHTTPServer) -> None:
    assert engine_answers()


def test_no_engine_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port()}")

    assert not engine_answers()


def test_an_engine_that_hangs_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    # Accepts connections (the kernel does) but never answers.
    silent = ThreadingHTTPServer(("127.0.0.1", 0), _Engine)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{silent.server_port}")
    begun = time.monotonic()
    try:
        assert not engine_answers()
    finally:
        silent.server_close()

    assert time.monotonic() - begun < 5


def test_an_engine_that_cannot_start_the_image_is_a_clear_error(engine: ThreadingHTTPServer) -> None:
    with pytest.raises(BrokerStartError, match=r"could not start apache/kafka:.*no space left on device"):
        ContainerBroker().start()


def test_a_local_kafka_takes_over_when_the_engine_cannot(
    engine: ThreadingHTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    with sources.broker() as running:
        assert isinstance(running, LocalBroker)

    assert "Trying a local Apache Kafka instead" in caplog.text


def test_kept_data_are_never_put_into_a_container(engine: ThreadingHTTPServer, tmp_path: Path) -> None:
    with sources.broker(data=tmp_path) as running:
        assert isinstance(running, LocalBroker)
    assert (tmp_path / "logs" / "meta.properties").exists()


def test_the_images_own_start_program_understands_the_environment(tmp_path: Path) -> None:
    """``KafkaDockerWrapper`` turns the environment into server.properties and formats with it, as in the container."""
    folders = {name: tmp_path / name for name in ("default", "mounted", "final")}
    for folder in folders.values():
        folder.mkdir()
    for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
        (folders["default"] / name).write_text("\n")
    line = [java(), "-cp", f"{libraries()}/*", "kafka.docker.KafkaDockerWrapper", "setup"]
    for name, folder in folders.items():
        line += [f"--{name}-configs-dir", str(folder)]
    variables = environment(19092) | {"CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw", "KAFKA_LOG_DIRS": str(tmp_path / "logs")}

    done = subprocess.run(line, env=os.environ | variables, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    written = (folders["final"] / "server.properties").read_text().splitlines()
    assert "advertised.listeners=PLAINTEXT://127.0.0.1:19092" in written
    assert "auto.create.topics.enable=false" in written
    assert (tmp_path / "logs" / "meta.properties").exists()
