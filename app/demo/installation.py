"""The running parts of a demo: topics on the broker, a simulator and workers. Starts them and watches them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from app.broker.free_port import free_port
from app.broker.readiness import listens
from app.broker.sources import Broker
from app.demo.clients import SimulatorClient, WorkerClient, announced_environment
from app.demo.environment import SESSION_SECONDS, worker_variables
from app.demo.failed import DemoFailed
from app.demo.processes import ChildProcess, ChildProcesses, describe_exit
from app.kafka import topics
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of

HOST = "127.0.0.1"
# A worker starts in about 3 s on an idle machine.
START_SECONDS = 90.0
_LOOK_SECONDS = 0.05
# Another program may take a free port between the look and the start.
_PORT_ATTEMPTS = 3

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class DemoWorker:
    """A running worker and its API."""

    child: ChildProcess
    client: WorkerClient
    web_port: int


class Installation:
    """Starts everything except the broker: call the methods in the order in which they are defined.

    ``environment``: of all programs, without variables that a worker reads. ``folder``: for the workers' data.
    """

    def __init__(self, broker: Broker, children: ChildProcesses, environment: Mapping[str, str], folder: Path) -> None:
        self.broker = broker
        self.workers: list[DemoWorker] = []
        # Not read from the environment, which may name another Kafka.
        self.kafka = KafkaSettings.model_construct(
            bootstrap_servers=broker.bootstrap_servers, session_timeout_seconds=float(SESSION_SECONDS)
        )
        self.pipeline = pipeline_of(self.kafka)
        self.simulator: SimulatorClient
        self._simulator_process: ChildProcess
        self._simulator_variables: dict[str, str] = {}
        self._children = children
        self._environment = environment
        self._folder = folder
        self._worker_variables: dict[str, str] = {}
        self._reported: set[str] = set()

    async def create_topics(self) -> None:
        """Create the topics.

        Raises:
            KafkaAccessError: the broker refused.
        """
        await asyncio.to_thread(topics.create, self.kafka, self.pipeline)

    async def start_simulator(self, http: aiohttp.ClientSession, faults: Sequence[Mapping[str, Any]]) -> None:
        """Start the simulator on a free port and set its faults.

        Raises:
            DemoFailed: the simulator did not start.
        """
        child = self._simulator_process = self._children.start("simulator", ["simulator"], self._environment)
        self._simulator_variables = await self._until(child, lambda: announced_environment(child.log_text()))
        self.simulator = SimulatorClient(http, self._simulator_variables["CMT_AUTH_URL"])
        await self.simulator.inject(faults)

    async def start_workers(
        self, http: aiohttp.ClientSession, number: int, first_web_port: int, variables: Mapping[str, str]
    ) -> None:
        """Start all workers and wait until all are ready at once, since each one that joins makes the others wait.

        ``variables``: settings in addition to those of every demo.

        Raises:
            DemoFailed: a worker did not start.
        """
        self._worker_variables = dict(variables)
        for index in range(number):
            self.workers.append(self._start_worker(http, index + 1, first_web_port if index == 0 else 0))
        for attempt in range(_PORT_ATTEMPTS):
            try:
                await self._until_ready()
                return
            except _WebPortTaken as taken:
                if taken.worker.web_port == first_web_port or attempt + 1 == _PORT_ATTEMPTS:
                    raise _did_not_start(taken.worker.child) from None
                index = self.workers.index(taken.worker)
                self.workers[index] = self._start_worker(http, index + 1, 0)

    def start_command(self, name: str, arguments: Sequence[str]) -> ChildProcess:
        """Start one of this program's commands, as from another terminal. ``name``: of its log."""
        variables = {
            "KAFKA_BOOTSTRAP_SERVERS": self.broker.bootstrap_servers,
            "DATA_DIR": str(self._folder / "data-of-commands"),
        }
        return self._children.start(name, arguments, {**self._environment, **variables})

    def living(self) -> list[DemoWorker]:
        """The workers that run."""
        return [worker for worker in self.workers if worker.child.exit_code is None]

    def newly_ended(self) -> list[ChildProcess]:
        """The workers that have ended since the last call.

        Raises:
            DemoFailed: the broker, the simulator or the last worker has ended.
        """
        if not self.broker.running:
            raise DemoFailed(f"The broker ended by itself. Its log ends with:\n{self.broker.log_tail()}")
        self._must_live(self._simulator_process)
        ended = [w.child for w in self.workers if w.child.exit_code is not None and w.child.name not in self._reported]
        self._reported.update(child.name for child in ended)
        if ended and not self.living():
            self._must_live(ended[-1], "No worker is left. The ")
        return ended

    def _must_live(self, child: ChildProcess, begin: str = "The ") -> None:
        if child.exit_code is not None:
            raise DemoFailed(
                f"{begin}{child.name} {describe_exit(child.exit_code)}. Its log ends with:\n{child.log_tail()}"
            )

    def _start_worker(self, http: aiohttp.ClientSession, number: int, web_port: int) -> DemoWorker:
        port = web_port or free_port()
        name = f"worker {number}"
        variables = worker_variables(
            self.broker.bootstrap_servers, self._simulator_variables, port, self._folder / f"data-{number}"
        )
        child = self._children.start(name, ["worker"], {**self._environment, **variables, **self._worker_variables})
        return DemoWorker(child, WorkerClient(http, f"http://{HOST}:{port}"), port)

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not all(await asyncio.gather(*(worker.client.ready() for worker in self.workers))):
            for worker in self.workers:
                if worker.child.exit_code is not None:
                    raise _WebPortTaken(worker) if listens(HOST, worker.web_port) else _did_not_start(worker.child)
            if time.monotonic() > deadline:
                tails = "\n".join(f"{worker.child.name}:\n{worker.child.log_tail()}" for worker in self.workers)
                raise DemoFailed(
                    f"The workers were not ready within {START_SECONDS:g} s. Their logs end with:\n{tails}"
                )
            await asyncio.sleep(_LOOK_SECONDS)

    async def _until(self, child: ChildProcess, look: Callable[[], _T]) -> _T:
        """The first result of ``look`` that is not empty."""
        deadline = time.monotonic() + START_SECONDS
        while not (answer := look()):
            if child.exit_code is not None:
                raise _did_not_start(child)
            if time.monotonic() > deadline:
                raise DemoFailed(f"The {child.name} did not start within {START_SECONDS:g} s:\n{child.log_tail()}")
            await asyncio.sleep(_LOOK_SECONDS)
        return answer


class _WebPortTaken(Exception):
    """Another program listens on the port that was meant for a worker."""

    def __init__(self, worker: DemoWorker) -> None:
        super().__init__()
        self.worker = worker


def _did_not_start(child: ChildProcess) -> DemoFailed:
    return DemoFailed(f"The {child.name} did not start. Its log ends with:\n{child.log_tail()}")
