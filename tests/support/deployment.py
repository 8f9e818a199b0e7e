"""One installation: its own group and topics on the session's broker, the simulator, and its workers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from app.broker.free_port import free_port
from app.delivery.outcome import Outcome
from app.delivery.pipeline import Pipeline
from app.delivery.record import SourceRecord
from app.kafka import topics
from app.profile.entities import Catalog, EntityType
from app.profile.event import ProfileEvent
from app.profile.event_reader import read_event
from app.profile.holdings.projection import Rows, expected_rows
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.kafka_probe import DEADLINE_SECONDS, KafkaProbe, Record
from tests.support.simulator_probe import SimulatorProbe
from tests.support.worker_process import WorkerProcess, wait_for

SETTLE_SECONDS = 40.0
PARTITIONS = 4
OUTCOMES = [outcome.value for outcome in Outcome]

# Attempts are quick, and the session is nearly as short as the broker allows; a call must end well within it.
QUICK = {
    "KAFKA_PARTITIONS": str(PARTITIONS),
    "KAFKA_SESSION_TIMEOUT_SECONDS": "6",
    "CMT_TIMEOUT_SECONDS": "2",
    "SYNC_MAX_ATTEMPTS": "3",
    "SYNC_BACKOFF_BASE_SECONDS": "0.05",
    "SYNC_BACKOFF_MAX_SECONDS": "0.2",
    # These tests count attempts; an open breaker would hold them back.
    "SYNC_BREAKER_FAILURES": "0",
    "SERVICENOW_NOTE_EVERY_SECONDS": "0.2",
    "WEB_AUTH": "off",
}

Document = Mapping[str, Any]

# The time a test's producer gets, also if one broker of a cluster hangs: it asks the others in turn.
ACKNOWLEDGED_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Published:
    """A published record. ``timestamp``: in ms."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int

    @property
    def id(self) -> str:
        """The name that operators use for the event."""
        return f"{self.partition}-{self.offset}"


@dataclass
class Deployment:
    """Publishes events, starts workers, and waits for results."""

    kafka: KafkaSettings
    simulator: SimulatorProbe
    probe: KafkaProbe
    catalog: Catalog
    folder: Path
    settings: Mapping[str, str]
    workers: list[WorkerProcess] = field(default_factory=list)
    _producers: dict[tuple[str, str], Producer] = field(default_factory=dict, repr=False)

    @property
    def pipeline(self) -> Pipeline:
        """What its topics are called."""
        return pipeline_of(self.kafka)

    # Workers

    def worker(self, **settings: str) -> WorkerProcess:
        """Start a worker with its own port and data folder, without waiting for it."""
        number = len(self.workers)
        own = {"WEB_PORT": str(free_port()), "DATA_DIR": str(self.folder / f"data-{number}")}
        process = WorkerProcess({**self.settings, **own, **settings}, self.folder / f"worker-{number}.log")
        self.workers.append(process)
        return process.start()

    # Events

    def publish(self, *events: Document, partitioner: str = "murmur2_random") -> list[Published]:
        """Write events as a producer would: the consumer ID is the key. Returns when the broker has them."""
        records = [(str(event["consumerId"]).encode(), json.dumps(event).encode(), None) for event in events]
        return self.publish_raw(records, partitioner=partitioner)

    def publish_raw(
        self,
        records: Iterable[tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]] | None]],
        *,
        partition: int | None = None,
        partitioner: str = "murmur2_random",
        compression: str = "none",
    ) -> list[Published]:
        """Like ``publish``, for any (key, value, headers)."""
        producer = self._producers.get((partitioner, compression))
        if producer is None:
            producer = self._producers[partitioner, compression] = Producer(
                {
                    "bootstrap.servers": self.kafka.bootstrap_servers,
                    "enable.idempotence": True,
                    "partitioner": partitioner,
                    "compression.type": compression,
                    "linger.ms": 1,
                    "socket.timeout.ms": 5_000,  # then the request is repeated, perhaps to another broker
                    # Larger than the topics accept, so that the broker decides whether a record is too large.
                    "message.max.bytes": 64 * 1024 * 1024,
                }
            )
        where = {} if partition is None else {"partition": partition}
        given = list(records)
        done: dict[int, Published] = {}
        errors: list[KafkaError] = []

        for number, (key, value, headers) in enumerate(given):

            def delivered(
                error: KafkaError | None,
                message: Message,
                number: int = number,
                headers: Sequence[tuple[str, bytes | None]] | None = headers,
            ) -> None:
                if error is not None:
                    errors.append(error)
                    return
                kind, timestamp = message.timestamp()
                assert kind != TIMESTAMP_NOT_AVAILABLE
                done[number] = Published(
                    message.partition(),
                    message.offset(),
                    message.key(),
                    message.value(),
                    tuple(headers or ()),
                    timestamp,
                )

            producer.produce(
                self.pipeline.topic, value, key, headers=list(headers or ()), on_delivery=delivered, **where
            )
        left = producer.flush(ACKNOWLEDGED_SECONDS)
        if errors:
            raise KafkaException(errors[0])
        assert left == 0, f"{left} records not acknowledged within {ACKNOWLEDGED_SECONDS:g} s"
        return [done[number] for number in range(len(given))]

    def forget_producers(self) -> None:
        """Reconnect for the next event: a producer that waits for a silent broker does so for a minute."""
        self._producers.clear()

    # Results

    def settled(self, worker: WorkerProcess, events: int, within: float = SETTLE_SECONDS) -> dict[str, Any]:
        """The totals, once ``events`` events are settled and nothing is parked."""

        def reached() -> bool:
            totals = worker.totals()
            assert totals["events"] <= events, f"more events settled than published ({events}): {totals}"
            return bool(totals["events"] == events and totals["parked"] == 0)

        wait_for(reached, lambda: f"{events} events settled: {worker.totals()}\n{worker.log_tail(15)}", within)
        return worker.totals()

    def outcome(
        self, worker: WorkerProcess, event: Document | str, consumer: str | None = None, within: float = SETTLE_SECONDS
    ) -> dict[str, Any]:
        """Wait until an event is settled; returns its entry in the consumer's recent events."""
        event_id = event if isinstance(event, str) else str(event["eventId"])
        consumer_id = (
            consumer if consumer is not None else str(event["consumerId"]) if not isinstance(event, str) else ""
        )

        def found() -> dict[str, Any] | None:
            view = worker.consumer(consumer_id)
            recent = view["recent"] if view else []
            return next((dict(entry) for entry in recent if entry["eventId"] == event_id), None)

        wait_for(found, lambda: f"{event_id}: {worker.consumer(consumer_id)}\n{worker.log_tail(15)}", within)
        entry = found()
        assert entry is not None
        return entry

    def market_counts(self, worker: WorkerProcess, market: str, events: int = 1) -> dict[str, int]:
        """Wait until this many events of a market are counted; returns the counts by outcome that are not 0.

        An event stands in its consumer record a moment before it is counted, never the other way round.
        """

        def counts() -> dict[str, int]:
            sums = dict.fromkeys(OUTCOMES, 0)
            for row in worker.get(f"/api/kpi/daily?market={market}")["rows"]:
                for outcome in OUTCOMES:
                    sums[outcome] += row[outcome]
            return {outcome: number for outcome, number in sums.items() if number}

        wait_for(lambda: sum(counts().values()) >= events, lambda: f"{events} of {market}: {counts()}", SETTLE_SECONDS)
        return counts()

    def record_counts(self, worker: WorkerProcess, market: str) -> dict[str, tuple[int, int]]:
        """``entity operation`` -> (synced, failed) records of a market."""
        return {
            f"{row['entity']} {row['operation']}": (row["synced"], row["failed"])
            for row in worker.get(f"/api/kpi/records?market={market}")["rows"]
        }

    def failure_counts(self, worker: WorkerProcess, market: str) -> dict[str, int]:
        """``entity operation reason`` -> number of failures of a market."""
        return {
            f"{row['entity']} {row['operation']} {row['reason']}": row["count"]
            for row in worker.get(f"/api/kpi/failures?market={market}")["rows"]
        }

    def dead_letters(self, of: Published | None = None) -> list[Record]:
        """The records of the dead-letter topic, of one event or all."""
        records = self.probe.read_all(self.pipeline.dlq_topic)
        return [record for record in records if of is None or _source(record) == (of.partition, of.offset)]

    def retry_copies(self, of: Published | None = None) -> list[Record]:
        """The records of the retry topic, of one event or all."""
        records = self.probe.read_all(self.pipeline.retry_topic)
        return [record for record in records if of is None or _source(record) == (of.partition, of.offset)]

    def committed_to_the_end(self, *topics: str) -> bool:
        """Whether the group has committed all records of these topics; default: the main and the retry topic."""
        for topic in topics or (self.pipeline.topic, self.pipeline.retry_topic):
            ends = self.ends(topic)
            committed = self.probe.committed(self.pipeline.group, topic)
            if any(end and committed.get(partition) != end for partition, end in ends.items()):
                return False
        return True

    def alerts_handled(self) -> bool:
        """Whether all alerts have reached the ticket system."""
        return self.committed_to_the_end(self.pipeline.alerts_topic)

    def ends(self, topic: str) -> dict[int, int]:
        """The end offset of each partition."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": "ends"})
        try:
            return {
                partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), DEADLINE_SECONDS)[1]
                for partition in range(self.kafka.partitions)
            }
        finally:
            consumer.close()

    def event_of(self, published: Published) -> ProfileEvent:
        """The event as the program reads it."""
        record = SourceRecord(
            self.pipeline.topic,
            published.partition,
            published.offset,
            published.timestamp,
            published.key,
            published.value,
            published.headers,
        )
        return read_event(record, self.catalog)

    def expected(self, published: Iterable[Published]) -> Rows:
        """The rows that Marketing Cloud must hold if all these events are synced."""
        return expected_rows((self.event_of(one) for one in published), self.catalog)

    def close(self) -> None:
        """End the workers and delete the topics."""
        for worker in self.workers:
            worker.close()
        self._producers.clear()
        self.probe.close()
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers})
        prefixes = (self.pipeline.topic, self.pipeline.group)
        gone = [name for name in admin.list_topics(timeout=DEADLINE_SECONDS).topics if name.startswith(prefixes)]
        for answer in admin.delete_topics(gone, operation_timeout=DEADLINE_SECONDS).values() if gone else ():
            answer.result(DEADLINE_SECONDS)


class Deploy(Protocol):
    def __call__(self, **settings: str) -> Deployment: ...


def _source(record: Record) -> tuple[int, int]:
    partition, offset = record.header("x-sync-source-partition"), record.header("x-sync-source-offset")
    return int(partition or b"-1"), int(offset or b"-1")


def without_nulls(rows: Rows) -> dict[EntityType, dict[tuple[str, ...], dict[str, str]]]:
    """Rows without empty columns: a column that was never set counts like one that was set to null."""
    return {
        entity: {
            key: {name: value for name, value in row.items() if value not in (None, "")} for key, row in table.items()
        }
        for entity, table in rows.items()
    }


@contextmanager
def deployed(
    bootstrap_servers: str, simulator: SimulatorProbe, catalog: Catalog, folder: Path, **settings: str
) -> Iterator[Deployment]:
    """An installation for the length of a ``with`` block; its topics exist already."""
    name = uuid.uuid4().hex[:10]
    environment = {
        **QUICK,
        **simulator.environment(),
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAFKA_TOPIC": f"profiles-{name}",
        "KAFKA_GROUP": f"sync-{name}",
        **settings,
    }
    kafka = KafkaSettings(
        bootstrap_servers=bootstrap_servers,
        topic=environment["KAFKA_TOPIC"],
        group=environment["KAFKA_GROUP"],
        partitions=int(environment["KAFKA_PARTITIONS"]),
        replication=int(environment.get("KAFKA_REPLICATION", "1")),
        max_message_bytes=int(environment.get("KAFKA_MAX_MESSAGE_BYTES", 1024 * 1024)),
    )
    report = topics.create(kafka, pipeline_of(kafka))
    assert not report.problems, report.problems
    deployment = Deployment(kafka, simulator, KafkaProbe(bootstrap_servers), catalog, folder, environment)
    try:
        yield deployment
    finally:
        deployment.close()
