"""A one-node Apache Kafka in a container, for machines with a container engine (extra ``profile-sync[container]``)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from app.broker.broker_config import SMALL_AND_QUICK
from app.broker.distribution import BrokerStartError, kafka_version
from app.broker.free_port import free_port
from app.broker.readiness import answers

HOST = "127.0.0.1"
# A start waits at most this long for a container engine to answer.
_ENGINE_SECONDS = 1
_ANSWER_SECONDS = 60.0
_STOP_SECONDS = 20
_LOG_LINES = 15
_INSIDE = 9092


def engine_answers() -> bool:
    """Whether a container engine answers within a second and testcontainers is installed."""
    try:
        import docker  # type: ignore[import-untyped]
        import testcontainers.core.container  # noqa: F401 (checks that it is installed)
        from docker.errors import DockerException  # type: ignore[import-untyped]
    except ImportError:
        return False
    try:
        client = docker.from_env(timeout=_ENGINE_SECONDS)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except (DockerException, OSError):
        return False


def environment(address_port: int, extra_config: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for the image ``apache/kafka``: ``KAFKA_`` + property in capitals, dots as underscores.

    ``address_port``: the port on this machine that leads to the container. The broker advertises it to clients.
    """
    properties = {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": f"PLAINTEXT://0.0.0.0:{_INSIDE},CONTROLLER://localhost:9093",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{address_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        **SMALL_AND_QUICK,
        **(extra_config or {}),
    }
    return {f"KAFKA_{name.upper().replace('-', '__').replace('.', '_')}": value for name, value in properties.items()}


class ContainerBroker:
    """Apache Kafka from the image of the Kafka project. Its port on 127.0.0.1 is fixed, so a restart keeps the address.

    The reaper of testcontainers removes the container if this process is killed.
    """

    def __init__(self, port: int = 0, *, extra_config: Mapping[str, str] | None = None) -> None:
        self._port = port or free_port()
        self._extra_config = dict(extra_config or {})
        self._container: Any = None

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients, e.g. ``127.0.0.1:19092``."""
        return f"{HOST}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether the container runs."""
        if self._container is None:
            return False
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return bool(wrapped.status == "running")

    def log_tail(self) -> str:
        """The last lines of Kafka's log."""
        if self._container is None:
            return "(no log)"
        return str(self._container.get_wrapped_container().logs(tail=_LOG_LINES).decode(errors="replace"))

    def start(self) -> None:
        """Create or restart the container and wait until Kafka answers.

        Raises:
            BrokerStartError: the engine refused (image, port), or Kafka did not answer in time.
        """
        from docker.errors import DockerException
        from testcontainers.core.container import DockerContainer

        image = f"apache/kafka:{kafka_version()}"
        try:
            if self._container is None:
                container: Any = DockerContainer(image)
                # Bound to loopback: with a plain port number it would listen on every interface.
                container.ports = {f"{_INSIDE}/tcp": (HOST, self._port)}
                for name, value in environment(self._port, self._extra_config).items():
                    container.with_env(name, value)
                container.start()
                self._container = container
            else:
                self._container.get_wrapped_container().start()
        except (DockerException, OSError, RuntimeError, TimeoutError) as error:
            self.close()
            raise BrokerStartError(f"The container engine could not start {image}: {error}.") from error
        deadline = time.monotonic() + _ANSWER_SECONDS
        while not answers(self.bootstrap_servers):
            if time.monotonic() > deadline:
                last = self.log_tail()
                self.close()
                raise BrokerStartError(
                    f"Kafka in {image} did not answer on {self.bootstrap_servers} within {_ANSWER_SECONDS:g} s; "
                    f"its log ends with:\n{last}"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop Kafka cleanly; container and data stay."""
        if self._container is not None:
            self._container.get_wrapped_container().stop(timeout=_STOP_SECONDS)

    def kill(self) -> None:
        """Kill Kafka, as in a crash; container and data stay."""
        if self._container is not None:
            self._container.get_wrapped_container().kill()

    def restart(self) -> None:
        """Start Kafka again with the same port and data; stop it first if it runs."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Remove the container with its data."""
        if self._container is not None:
            self._container.stop()
            self._container = None
