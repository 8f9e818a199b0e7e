"""The site of all measurements: a local broker, a folder, and the means to start and query programs."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

from app.broker.child_process import end, spawn_bound
from app.broker.free_port import free_port
from app.broker.local_broker import LocalBroker
from app.demo.environment import without_own_variables
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of

IN_FLIGHT = 64
PARTITIONS = 8
GRACE_SECONDS = 20.0
START_SECONDS = 60.0
LOOK_SECONDS = 0.1

# Ignores the environment's proxies: everything here is on loopback.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Running:
    """A running program. ``url``: the address of its API, if it has one."""

    process: Popen[bytes]
    log: Path
    url: str

    def get(self, path: str) -> Any:
        """JSON from its API; None if there is no good answer."""
        return get_json(self.url + path)


@dataclass(frozen=True, slots=True)
class Site:
    """A running broker and a temporary folder."""

    broker: LocalBroker
    folder: Path

    def kafka(self, topic: str) -> KafkaSettings:
        """Settings with a new group for a topic."""
        # Not read from the environment, which may name another Kafka.
        return KafkaSettings.model_construct(
            bootstrap_servers=self.broker.bootstrap_servers,
            topic=topic,
            group=f"bench-{uuid.uuid4().hex[:8]}",
            partitions=PARTITIONS,
        )

    def log(self, kafka: KafkaSettings) -> Path:
        """The log of the programs of a group; each program appends to it."""
        return self.folder / f"{pipeline_of(kafka).group}.log"

    @contextmanager
    def running(
        self, line: Sequence[str], kafka: KafkaSettings, more: Mapping[str, str], data: Path | None = None
    ) -> Iterator[Running]:
        """A program for the length of a ``with`` block, configured like a worker and ended with SIGTERM."""
        pipeline = pipeline_of(kafka)
        log = self.log(kafka)
        port = free_port()
        environment = {
            **without_own_variables(os.environ),
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA_TOPIC": pipeline.topic,
            "KAFKA_GROUP": pipeline.group,
            "KAFKA_PARTITIONS": str(kafka.partitions),
            "SYNC_CONCURRENCY": str(IN_FLIGHT),
            "WEB_PORT": str(port),
            "WEB_AUTH": "off",
            "LOG_FORMAT": "console",
            "DATA_DIR": str(data or self.folder / f"{pipeline.group}-data"),
            # No call is made there unless a measurement says otherwise.
            "CMT_AUTH_URL": "http://127.0.0.1:9",
            "CMT_CLIENT_ID": "bench",
            "CMT_CLIENT_SECRET": "bench-secret",
            **more,
        }
        process = spawn_bound(line, output=log, environment=environment)
        try:
            yield Running(process, log, f"http://127.0.0.1:{port}")
        finally:
            end(process, grace_seconds=GRACE_SECONDS)

    @contextmanager
    def simulator(self) -> Iterator[dict[str, str]]:
        """A simulator for the length of a ``with`` block; yields the settings that its clients need."""
        log = self.folder / f"simulator-{uuid.uuid4().hex[:8]}.log"
        line = [sys.executable, "-P", "-m", "app", "simulator"]
        process = spawn_bound(line, output=log, environment=without_own_variables(os.environ))
        try:

            def announced() -> str:
                return next((text for text in log.read_text().splitlines() if "Use it with: " in text), "")

            until(announced, START_SECONDS, f"the simulator did not start, see {log}")
            pairs = (pair.partition("=") for pair in shlex.split(announced().partition("Use it with: ")[2]))
            yield {name: value for name, _, value in pairs}
        finally:
            end(process, grace_seconds=GRACE_SECONDS)


@contextmanager
def site() -> Iterator[Site]:
    """A local broker on a free port; it and its data are removed afterwards.

    Raises:
        BrokerStartError: Java or Maven is missing, or Kafka did not start.
    """
    with tempfile.TemporaryDirectory(prefix="profile-sync-bench-") as folder, LocalBroker() as broker:
        yield Site(broker, Path(folder))


def until(condition: Callable[[], object], within: float, otherwise: str) -> None:
    """Return when the condition holds.

    Raises:
        TimeoutError: it did not hold within ``within`` seconds.
    """
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} (waited {within:g} s)")
        time.sleep(LOOK_SECONDS)


def get_json(url: str) -> Any:
    """The JSON at an address; None if there is no good answer."""
    try:
        with _http.open(url, timeout=10) as answer:
            return json.loads(answer.read())
    except (urllib.error.URLError, OSError, ValueError):
        return None
