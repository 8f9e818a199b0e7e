"""The broker for demo, `broker` and tests: in a container if an engine answers, else a process on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from app.broker.container_broker import ContainerBroker, engine_answers
from app.broker.distribution import BrokerStartError
from app.broker.local_broker import LocalBroker

log = logging.getLogger(__name__)


class Broker(Protocol):
    """A one-node Kafka that can be stopped, killed, and started again with the same address and data."""

    @property
    def bootstrap_servers(self) -> str:
        """The address for plain clients."""

    @property
    def running(self) -> bool:
        """Whether the broker's process exists."""

    def log_tail(self) -> str:
        """The last lines of Kafka's log."""

    def start(self) -> None:
        """Start the broker and wait until it answers."""

    def stop(self) -> None:
        """Stop the broker cleanly; the data stays."""

    def kill(self) -> None:
        """Kill the broker, as in a crash; the data stays."""

    def restart(self) -> None:
        """Start the broker again with the same address and data; stop it first if it runs."""

    def close(self) -> None:
        """Stop the broker, and delete its data unless it is in a folder of the caller."""


@contextmanager
def broker(
    port: int = 0, data: Path | None = None, *, extra_config: Mapping[str, str] | None = None
) -> Iterator[Broker]:
    """A running broker for the length of a ``with`` block.

    ``port``: 0 chooses a free one. ``data``: a folder that keeps topics and records; with it, Kafka always runs as a
    process on this machine, because a container's files would belong to another user. ``extra_config``: server
    properties that override the defaults.

    Raises:
        BrokerStartError: neither a container nor a local Kafka could be started; the message says what is missing.
    """
    chosen = _started(port, data, extra_config)
    try:
        yield chosen
    finally:
        chosen.close()


def _started(port: int, data: Path | None, extra_config: Mapping[str, str] | None) -> Broker:
    if data is None and engine_answers():
        container = ContainerBroker(port, extra_config=extra_config)
        try:
            container.start()
        except BrokerStartError as error:
            log.warning("%s Trying a local Apache Kafka instead.", error)
        else:
            return container
    local = LocalBroker(port, data, extra_config=extra_config)
    try:
        local.start()
    except BaseException:
        local.close()
        raise
    return local
