"""Whether a broker without access control is ready."""

from __future__ import annotations

import logging
import socket

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

# While a broker starts, the client library logs every failed try; these lines are dropped.
_silent = logging.getLogger(__name__)
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def listens(host: str, port: int) -> bool:
    """Whether a server accepts connections at this address."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def answers(address: str) -> bool:
    """Whether the broker at ``host:port`` is in its own metadata and every partition has a leader."""
    host, _, port = address.rpartition(":")
    if not listens(host, int(port)):
        return False
    admin = AdminClient({"bootstrap.servers": address, "socket.timeout.ms": 5000}, logger=_silent)
    try:
        metadata = admin.list_topics(timeout=3)
    except KafkaException:
        return False
    partitions = (partition for topic in metadata.topics.values() for partition in topic.partitions.values())
    return bool(metadata.brokers) and all(partition.leader >= 0 for partition in partitions)
