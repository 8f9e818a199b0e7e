"""Where a broker for demo, `broker` and tests comes from: a container where an engine answers, else this machine."""

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
    """A one-node Kafka that can be stopped, killed and started again on the same address and data."""

    @property
    def bootstrap_servers(self) -> str:
        """Address for plain clients."""

    @property
    def running(self) -> bool:
        """Whether its process lives."""

    def log_tail(self) -> str:
        """The last lines that Kafka itself said."""

    def start(self) -> None:
        """Start it and wait until it answers."""

    def stop(self) -> None:
        """Stop it cleanly; the data stays."""

    def kill(self) -> None:
        """End it as a crash would; the data stays."""

    def restart(self) -> None:
        """Start it again on the same address and data; stops it first if it runs."""

    def close(self) -> None:
        """Stop it and remove what nobody asked to keep."""


@contextmanager
def broker(
    port: int = 0, data: Path | None = None, *, extra_config: Mapping[str, str] | None = None
) -> Iterator[Broker]:
    """A running broker for the length of a ``with`` block.

    ``port``: 0 = a free one. ``data``: folder that keeps topics and records; always served by a local Kafka, because
    a container's files would belong to another user. ``extra_config``: server properties that win over ours.

    Raises:
        BrokerStartError: neither a container nor a local Kafka could be started; says what is missing.
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
