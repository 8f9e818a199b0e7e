"""Apache Kafka on this machine, for demo and tests: one node, KRaft, reachable from 127.0.0.1 only."""

from __future__ import annotations

import signal
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from app.broker.broker_config import Ports, SecureListener, as_properties_file, single_node
from app.broker.child_process import end, spawn_bound
from app.broker.distribution import BrokerStartError, java, libraries
from app.broker.free_port import free_port
from app.broker.readiness import answers, listens
from app.broker.scratch_folder import ScratchFolder

HOST = "127.0.0.1"

# A start takes about 4 s on an idle machine, and far longer on a busy one.
START_SECONDS = 90.0
# A clean stop takes 1-2 s.
STOP_SECONDS = 20.0
# Another program may take a free port between the look and the start.
_PORT_ATTEMPTS = 5
_LOG_LINES = 15

# Few log lines, little memory and a quick start, rather than speed over hours: serial collector, first compiler only.
_JVM = (
    "-Xms128m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


class _PortTaken(Exception):
    """Another program listens on the port that was meant for the broker."""


class LocalBroker:
    """Apache Kafka that can be started, stopped, killed, frozen, and started again with the same port and data.

    ``port``: 0 chooses a free one at the first start and keeps it. ``data``: a folder that outlives the broker; without
    it ``close`` deletes the records. ``extra_config``: server properties that override the defaults.
    """

    def __init__(
        self,
        port: int = 0,
        data: Path | None = None,
        *,
        extra_config: Mapping[str, str] | None = None,
        secure: Sequence[SecureListener] = (),
        heap_mb: int = 512,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._wanted_port = port
        self._kept_data = data
        self._extra_config = dict(extra_config or {})
        self._secure = tuple(secure)
        self._heap_mb = heap_mb
        self._start_seconds = start_seconds
        self._cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._data: Path | None = None
        self._scratch: ScratchFolder | None = None
        self._ports: Ports | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """The address for plain clients, e.g. ``127.0.0.1:19092``; fixed from the first start on."""
        return f"{HOST}:{self._known_ports().client}"

    def secure_bootstrap_servers(self, name: str) -> str:
        """The address of the secure listener with that name."""
        names = [listener.name for listener in self._secure]
        return f"localhost:{self._known_ports().secure[names.index(name)]}"

    @property
    def running(self) -> bool:
        """Whether the broker's process exists, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process ID of the broker.

        Raises:
            RuntimeError: the broker does not run.
        """
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("The local broker does not run")
        return self._process.pid

    @property
    def log_file(self) -> Path:
        """Kafka's own log."""
        return self._folder() / "broker.log"

    def log_tail(self, start: int = 0) -> str:
        """The last lines of Kafka's log. ``start``: the number of bytes to skip, because they are older."""
        if not self.log_file.exists():
            return "(no log)"
        text = self.log_file.read_bytes()[start:].decode(errors="replace")
        return "\n".join(text.strip().splitlines()[-_LOG_LINES:]) or "(nothing)"

    def start(self) -> None:
        """Start the broker and wait until it answers and every partition has a leader.

        Raises:
            BrokerStartError: Java, Maven or a free port is missing, or Kafka ended; with the last lines of its log.
        """
        if self.running:
            return
        jars, executable = libraries(), java()
        for _ in range(_PORT_ATTEMPTS):
            ports = self._pick_ports()
            try:
                self._start_once(executable, jars, ports)
            except _PortTaken:
                continue
            self._ports = ports
            return
        if self._wanted_port or self._ports:
            raise BrokerStartError(
                f"{HOST}:{ports.client} is taken by another program: stop it, or choose another port."
            )
        raise BrokerStartError(f"No port of {HOST} stayed free long enough to start a broker; try again.")

    def stop(self) -> None:
        """Stop the broker cleanly, and kill it if it does not stop in time. The data stays for the next start."""
        if self._process is not None:
            self.thaw()
            end(self._process, grace_seconds=STOP_SECONDS)
            self._process = None

    def kill(self) -> None:
        """Kill the broker (SIGKILL), as in a crash; the data stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Start the broker again with the same port and data; stop it first if it runs.

        Raises:
            BrokerStartError: as for ``start``.
        """
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Suspend the broker (SIGSTOP): connections stay open, but nothing is answered."""
        if self.running:
            self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen broker continue."""
        if self.running:
            self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop the broker, and delete its data unless it is in a folder of the caller."""
        # Data that is deleted anyway needs no clean stop.
        if self._kept_data is None:
            self.kill()
        else:
            self.stop()
        if self._scratch is not None:
            self._scratch.remove()
            self._scratch = self._data = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _known_ports(self) -> Ports:
        if self._ports is None:
            raise RuntimeError("The local broker has no address before its first start")
        return self._ports

    def _pick_ports(self) -> Ports:
        # Clients know the ports of the first start, so later starts keep them. The controller's port may change.
        if self._ports is not None:
            return replace(self._ports, controller=free_port(self._ports.client, *self._ports.secure))
        client = self._wanted_port or free_port()
        return Ports(client, free_port(client), tuple(free_port(client) for _ in self._secure))

    def _folder(self) -> Path:
        if self._data is None:
            try:
                if self._kept_data is not None:
                    self._kept_data.mkdir(parents=True, exist_ok=True)
                    self._data = self._kept_data.resolve()
                else:
                    self._scratch = ScratchFolder()
                    self._data = self._scratch.path
            except OSError as error:
                raise BrokerStartError(
                    f"The broker cannot keep its data in {error.filename}: {error.strerror}. Choose another folder."
                ) from error
        return self._data

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _start_once(self, executable: str, jars: Path, ports: Ports) -> None:
        folder = self._folder()
        if listens(HOST, ports.client):
            raise _PortTaken
        properties = single_node(folder, ports, self._secure, self._extra_config)
        config = folder / "server.properties"
        config.touch(mode=0o600)  # may hold passwords of the secure listeners
        config.write_text(as_properties_file(properties), encoding="utf-8")
        command = [executable, f"-Xmx{self._heap_mb}m", *_JVM, "-cp", f"{jars}/*"]
        if not (folder / "logs" / "meta.properties").exists():
            self._format(command, config)
        written = self.log_file.stat().st_size if self.log_file.exists() else 0
        process = spawn_bound([*command, "kafka.Kafka", str(config)], output=self.log_file)
        try:
            self._wait_until_ready(process, ports, written)
        except BaseException:
            end(process, grace_seconds=0.5)
            raise
        self._process = process

    def _format(self, command: Sequence[str], config: Path) -> None:
        line = [*command, "kafka.tools.StorageTool", "format", f"--cluster-id={self._cluster_id}", "-c", str(config)]
        for listener in self._secure:
            for credential in listener.scram_credentials():
                line += ["--add-scram", credential]
        process = spawn_bound(line, output=self.log_file)
        try:
            code = process.wait(self._start_seconds)
        except subprocess.TimeoutExpired:
            end(process, grace_seconds=0.5)
            code = -1
        if code != 0:
            raise BrokerStartError(f"Kafka could not format {config.parent}; its log ends with:\n{self.log_tail()}")

    def _wait_until_ready(self, process: subprocess.Popen[bytes], ports: Ports, written: int) -> None:
        deadline = time.monotonic() + self._start_seconds
        while time.monotonic() < deadline:
            if process.poll() is not None:
                tail = self.log_tail(written)
                if "Address already in use" in tail:
                    raise _PortTaken
                raise BrokerStartError(f"Kafka ended while starting (exit {process.returncode}); its log ends:\n{tail}")
            if answers(f"{HOST}:{ports.client}"):
                return
            time.sleep(0.05)
        raise BrokerStartError(
            f"Kafka did not answer on {HOST}:{ports.client} within {self._start_seconds:g} s; its log ends with:\n"
            f"{self.log_tail(written)}"
        )
