"""Logs every minute that Kafka is away, and once that it is back. Meanwhile the lines of the Kafka clients, which say
neither, are suppressed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from app.observe.logging import suppress_connection_lines
from app.observe.reminder import Reminder

log = structlog.get_logger(__name__)

# Heartbeats are sent every second; several must be without an answer.
SILENT_SECONDS = 5.0


class KafkaAbsence:
    """Whether Kafka is away, as far as this worker knows.

    Args:
        servers: the addresses of the brokers, for the log.
        clock: Unix time in seconds.
    """

    def __init__(self, servers: str, clock: Callable[[], float] = time.time) -> None:
        self._servers = servers
        self._clock = clock
        self._since: float | None = None
        self._refused: bool | None = None
        self._again = Reminder(clock=clock)

    def look(self, trouble: str | None, silent_seconds: float) -> None:
        """What a running worker sees, once a second.

        Args:
            trouble: why the state topics cannot be read; None: they can.
            silent_seconds: since the last heartbeat that was answered. Kafka is not away only because of a rebalance,
                or because one topic cannot be read.
        """
        if trouble is None:
            self.back()
        elif silent_seconds >= SILENT_SECONDS:
            self.away(trouble, for_seconds=silent_seconds)

    def away(self, reason: str, *, for_seconds: float = 0.0, refused: bool = False) -> None:
        """It does not answer, or (``refused``) denies access."""
        now = self._clock()
        self._since = self._since if self._since is not None else now - for_seconds
        if self._refused is not refused:
            self._refused = refused
            self._again.over()
        suppress_connection_lines(True)
        if not self._again.due():
            return
        log.warning(
            "Kafka refuses us, trying again" if refused else "Kafka is away, work goes on when it is back",
            since=datetime.fromtimestamp(self._since, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            away_seconds=round(now - self._since),
            reason=reason,
            do="check the rights and the KAFKA_SASL_* and KAFKA_SSL_* variables"
            if refused
            else f"check that the brokers run and can be reached from here: KAFKA_BOOTSTRAP_SERVERS={self._servers}",
        )

    def back(self) -> None:
        """It answers."""
        if self._since is not None:
            log.info("Kafka is back", away_seconds=round(self._clock() - self._since))
            self._again.over()
            suppress_connection_lines(False)
        self._since = self._refused = None
