"""Writes single records to a partition, each acknowledged by all replicas before the call returns. For commands and the
API."""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from app.delivery.record import Headers
from app.kafka.admin import KafkaAccessError
from app.kafka.clients import bootstrap_servers, producer_config
from app.settings import KafkaSettings

# Without a broker, a command must not wait for the client's own five minutes.
WRITE_SECONDS = 30.0

_silent = logging.getLogger(__name__)
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class AcknowledgedWriter:
    """Writes records one after the other, over the same connections. One call at a time.

    Args:
        seconds: for one record.
    """

    def __init__(self, kafka: KafkaSettings, *, seconds: float = WRITE_SECONDS) -> None:
        self._kafka = kafka
        self._seconds = seconds
        self._producer: Producer | None = None

    def write(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers = ()) -> int:
        """Write one record (idempotent, acks=all). Returns its offset.

        Raises:
            KafkaAccessError: Kafka did not acknowledge it. It may have been written all the same.
        """
        answers: list[tuple[KafkaError | None, int]] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            answers.append((error, -1 if offset is None else offset))

        producer = self._opened()
        servers = ", ".join(bootstrap_servers(self._kafka))
        where = f"Kafka at {servers}: could not write to {topic}, partition {partition}"
        try:
            producer.produce(topic, value, key, partition, on_delivery=delivered, headers=list(headers))
        except (KafkaException, BufferError) as error:
            raise KafkaAccessError(f"{where}: {error}") from error
        producer.flush(self._seconds + 5)  # 5 s for scheduling
        if not answers:
            self._producer = None
            raise KafkaAccessError(f"{where}: no answer within {self._seconds:g} s. Check that the broker runs.")
        [(refused, offset)] = answers
        if refused is not None:
            self._producer = None
            raise KafkaAccessError(
                f"{where}: {refused.str()}. Check that the broker runs, that the topic exists (profile-sync topics "
                "check) and that this user may write to it.",
                refused.code(),
            )
        return offset

    def _opened(self) -> Producer:
        if self._producer is None:
            config = producer_config(self._kafka)
            config |= {"delivery.timeout.ms": int(self._seconds * 1000), "error_cb": _ignore}
            self._producer = Producer(dict(config), logger=_silent)
        return self._producer


def write_acknowledged(
    kafka: KafkaSettings,
    topic: str,
    partition: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers = (),
    *,
    seconds: float = WRITE_SECONDS,
) -> int:
    """Write one record. Returns its offset.

    Raises:
        KafkaAccessError: see ``AcknowledgedWriter.write``.
    """
    return AcknowledgedWriter(kafka, seconds=seconds).write(topic, partition, key, value, headers)


def _ignore(_: Any) -> None:
    """Drops the complaints of single connections."""
