"""A worker as operators run it: in its own process, configured by the environment, observed over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

READY_SECONDS = 45.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05

# Ignores the environment's proxies: everything here is on loopback.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def plain_environment() -> dict[str, str]:
    """This process's environment without any settings of the program."""
    ours = ("KAFKA_", "CMT_", "SYNC_", "SERVICENOW_", "WEB_", "LOG_", "KPI_", "DATA_DIR")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def wait_for(condition: Callable[[], object], what: Callable[[], str], within: float) -> None:
    """Return when the condition holds; if it does not in time (seconds), ``what`` describes what was seen instead."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what()}"
        time.sleep(POLL_SECONDS)


@dataclass
class WorkerProcess:
    """One worker. ``settings``: its environment, including ``WEB_PORT``. ``log``: the file for its stderr."""

    settings: Mapping[str, str]
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _output: IO[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings['WEB_PORT']}"

    # The process

    def start(self) -> WorkerProcess:
        """Start the worker, or start it again; the log is appended to."""
        self.close()
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app", "worker"],
            env=plain_environment() | dict(self.settings),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
        )
        return self

    def ready(self, within: float = READY_SECONDS) -> WorkerProcess:
        """Return when the worker says that it is ready."""

        def answered() -> bool:
            assert self.running, f"the worker ended with exit code {self.exit_code}:\n{self.log_tail()}"
            return self.status("/readyz")[0] == 200

        wait_for(answered, lambda: f"/readyz says {self.status('/readyz')}; its log:\n{self.log_tail()}", within)
        return self

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    @property
    def pid(self) -> int | None:
        """The process ID; None if it does not run."""
        return self._process.pid if self._process is not None and self.running else None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "not started"
        self._process.send_signal(number)

    def kill9(self) -> None:
        """Kill it at once, as the kernel would."""
        assert self._process is not None, "not started"
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def terminate(self, within: float = STOP_SECONDS) -> int:
        """Ask it to stop; returns its exit code."""
        assert self._process is not None, "not started"
        self._process.terminate()
        return self.ended(within)

    def ended(self, within: float = STOP_SECONDS) -> int:
        """Wait until it ends by itself; returns its exit code."""
        assert self._process is not None, "not started"
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within:g} s; its log:\n{self.log_tail()}") from None

    def close(self) -> None:
        """Leave nothing running."""
        if self.running:
            self.signal(signal.SIGCONT)
            self.kill9()
        if self._output is not None:
            self._output.close()
            self._output = None

    def peak_memory(self) -> int:
        """The most memory that it has used so far, in bytes (Linux: VmHWM)."""
        assert self._process is not None, "not started"
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    # What it says

    def status(self, path: str) -> tuple[int, Any]:
        """HTTP status and JSON of an answer; (0, reason) if there is none."""
        try:
            with _http.open(self.url + path, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError as error:
            return 0, str(error)

    def get(self, path: str) -> Any:
        """The JSON of an answer; fails if the answer is an error."""
        status, document = self.status(path)
        assert status == 200, f"GET {path}: {status} {document}; the log:\n{self.log_tail()}"
        return document

    def text(self, path: str) -> str:
        """The text of an answer that is not JSON."""
        with _http.open(self.url + path, timeout=10) as answer:
            return str(answer.read().decode())

    def totals(self) -> dict[str, Any]:
        """Wait until the worker's read models are complete; returns all events by outcome."""
        wait_for(lambda: self.get("/api/kpi/totals")["complete"], lambda: "complete totals", READY_SECONDS)
        return dict(self.get("/api/kpi/totals"))

    def consumer(self, consumer_id: str) -> dict[str, Any] | None:
        """What is known of a consumer; None: it was never seen."""
        path = f"/api/consumers/{quote(consumer_id, safe='')}"
        status, document = self.status(path)
        if status == 404:
            return None
        assert status == 200, f"GET {path}: {status} {document}"
        return dict(document)

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log_text().splitlines()[-lines:])

    def log_entries(self) -> list[dict[str, Any]]:
        """All lines of the log that are JSON objects."""
        return [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]

    def last_words(self) -> str:
        """Why it ended: it logs this once, as an error."""
        assert not [line for line in self.log_text().splitlines() if not line.startswith("{")], self.log_tail()
        [said] = [entry for entry in self.log_entries() if entry["event"] == "cannot go on"]
        assert said["level"] == "error"
        return str(said["reason"])

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        total = 0.0
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        for line in self.text("/metrics").splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(part in series for part in wanted):
                total += float(value)
        return total
