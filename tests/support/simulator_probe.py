"""The simulator in its own process, and its control API: faults, calls, rows, incidents."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from app.broker.free_port import free_port
from app.profile.entities import Catalog, EntityType
from app.profile.holdings.projection import Rows
from tests.support.worker_process import plain_environment, wait_for

START_SECONDS = 20.0

_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Call:
    """One call that the simulator received; ``seq`` is the order in which calls took effect. ``at``: ISO 8601."""

    seq: int
    at: str
    operation: str
    data_extension: str
    consumer_id: str | None
    status: str
    rows: tuple[Mapping[str, str | None], ...]

    def __str__(self) -> str:
        return f"{self.operation} {self.data_extension}" + ("" if self.status == "ok" else f" {self.status}")


@dataclass(frozen=True, slots=True)
class SimulatorProbe:
    """Talks to a running simulator."""

    url: str

    def environment(self) -> dict[str, str]:
        """The settings with which a worker uses it."""
        return {
            "CMT_AUTH_URL": self.url,
            "CMT_CLIENT_ID": "simulator",
            "CMT_CLIENT_SECRET": "simulator-secret",
            "SERVICENOW_URL": self.url,
            "SERVICENOW_USERNAME": "simulator",
            "SERVICENOW_PASSWORD": "simulator",
        }

    def request(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        with _http.open(urllib.request.Request(self.url + path, body, method=method), timeout=30) as answer:
            return json.load(answer)

    def reset(self) -> None:
        """Clear rows, calls, faults and incidents; tokens stay."""
        self.request("POST", "/_sim/reset")

    def add_fault(self, kind: str, **rule: object) -> str:
        """Add a fault; ``rule`` has the names of the HTTP API (``consumerId``, ``dataExtension``, ``times`` ...)."""
        return str(self.request("POST", "/_sim/faults", {"kind": kind, **rule})["id"])

    @contextmanager
    def fault(self, kind: str, **rule: object) -> Iterator[None]:
        """A fault for the length of a ``with`` block."""
        fault_id = self.add_fault(kind, **rule)
        try:
            yield
        finally:
            if any(fault["id"] == fault_id for fault in self.request("GET", "/_sim/faults")["faults"]):
                self.request("DELETE", f"/_sim/faults/{fault_id}")

    def calls(self, consumer: str | None = None, since: int = 0) -> list[Call]:
        """The calls of one consumer or all, oldest first, with their rows."""
        query = {"since": str(since), "rows": "true"} | ({"consumer": consumer} if consumer else {})
        return [
            Call(
                seq=call["seq"],
                at=call["at"],
                operation=call["operation"],
                data_extension=call["dataExtension"] or "",
                consumer_id=call["consumerId"],
                status=call["status"],
                rows=tuple(call["rows"]),
            )
            for call in self.request("GET", f"/_sim/calls?{urlencode(query)}")["calls"]
        ]

    def said(self, consumer: str, since: int = 0) -> list[str]:
        """The calls of a consumer in short form: ``Update CMT_Pet`` or ``Update CMT_Pet error``."""
        return [str(call) for call in self.calls(consumer, since)]

    def rows(self, catalog: Catalog, consumer: str | None = None) -> Rows:
        """The held rows of one consumer or all, in the form of ``expected_rows``."""
        query = f"?{urlencode({'ConsumerId': consumer})}" if consumer else ""
        held: Rows = {}
        for entity in EntityType:
            table = catalog[entity]
            rows = self.request("GET", f"/_sim/rows/{table.customer_key}{query}")["rows"]
            held[entity] = {tuple(str(row[column]) for column in table.primary_key): row for row in rows}
        return held

    def incidents(self) -> list[dict[str, Any]]:
        return list(self.request("GET", "/_sim/incidents")["incidents"])

    def incidents_of(self, fingerprint: str, group: str | None = None) -> list[dict[str, Any]]:
        """The incidents with this fingerprint (``<reason>:<entity>:<operation>``), of one group or of any."""
        named = [(one["correlation_id"].partition(":"), one) for one in self.incidents()]
        return [one for (owner, _, what), one in named if what == fingerprint and group in (None, owner)]

    def stats(self) -> dict[str, Any]:
        return dict(self.request("GET", "/_sim/stats"))

    def faults_fired(self) -> Counter[str]:
        return Counter(self.stats()["faultsFired"])


@contextmanager
def running_simulator(log: Path, *options: str) -> Iterator[SimulatorProbe]:
    """A simulator on a free port for the length of a ``with`` block."""
    port = free_port()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "simulator", "--port", str(port), *options],
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            probe = SimulatorProbe(f"http://127.0.0.1:{port}")

            def answers() -> bool:
                assert process.poll() is None, f"the simulator ended:\n{log.read_text()}"
                try:
                    return bool(probe.stats())
                except OSError:
                    return False

            wait_for(answers, lambda: f"an answer of the simulator; its log:\n{log.read_text()}", START_SECONDS)
            yield probe
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
