"""Measures a worker's memory: with a long backlog, and with very many known consumers."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from rich.table import Table

from app.delivery.consumer_record import ConsumerState, FullState, RecentEvent, consumer_key
from app.delivery.partition_record import PartitionState
from app.delivery.record_format import partition_key
from app.kafka import topics
from app.kafka.clients import producer_config
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from bench.backlog import publish
from bench.measured import NotDone, cpu_seconds, log_tail, resident_mb
from bench.rows import selected
from bench.site import START_SECONDS, Running, Site
from bench.stub import Stub

# So slow that the backlog lasts longer than the observation.
LATENCY_MS = 50
SMALL_BACKLOG = 2_000
LOOK_SECONDS = 0.25
MOST_GROWTH_MB = 200.0
RECOVERY_SECONDS = 900.0
# A consumer record keeps up to five events; most consumers have had fewer.
_RECENT = 2
_EPOCH = 1
_silent = logging.getLogger(__name__)
_silent.addHandler(logging.NullHandler())
_silent.propagate = False
# It comes every ten seconds, and the elapsed time says the same.
_WAITING = "for the read model"


@dataclass(frozen=True, slots=True)
class Backlog:
    """Resident memory with a small and with a large backlog, in MB of 10^6 bytes; each is observed for ``seconds``."""

    events: int
    seconds: float
    small_mb: float
    large_mb: float
    curve_mb: tuple[float, ...]  # ten samples with the large backlog
    done: int  # events finished meanwhile

    @property
    def growth_mb(self) -> float:
        """How much more memory the large backlog takes."""
        return self.large_mb - self.small_mb


@dataclass(frozen=True, slots=True)
class Recovery:
    """One start of a worker that only has to read the state: how long it takes, and what it uses.

    ``said``: its warnings, which explain a start that took too long.
    """

    what: str
    consumers: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    resident_mb: float
    file_mb: float
    said: tuple[str, ...]


def backlog(site: Site, target: Stub, events: int, seconds: float) -> Backlog:
    """Run a worker on a small backlog, then one on a large backlog; each event takes one call of 50 ms.

    Raises:
        NotDone: a worker ended.
    """
    small = site.kafka(f"memory-{SMALL_BACKLOG}")
    publish(small, SMALL_BACKLOG)
    before = _resident(site, target, small, seconds)
    large = site.kafka(f"memory-{events}")
    publish(large, events)
    answered = target.answered().calls
    after = _resident(site, target, large, seconds)
    step = max(1, len(after) // 10)
    done = target.answered().calls - answered
    return Backlog(events, seconds, max(before), max(after), tuple(after[::step]), done)


def _resident(site: Site, target: Stub, kafka: KafkaSettings, seconds: float) -> list[float]:
    [row] = selected([f"b{LATENCY_MS}"])
    with site.running(row.command(), kafka, {"BENCH_TARGET": target.url(LATENCY_MS)}) as running:
        _until_ready(running, START_SECONDS)
        found = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            _must_live(running)
            found.append(resident_mb(running.process.pid))
            time.sleep(LOOK_SECONDS)
        return found


def recoveries(site: Site, consumers: int) -> list[Recovery]:
    """Start a worker that reads the records of all consumers for the first time, then one that finds its file again.

    Raises:
        NotDone: a worker ended, or was not ready within minutes.
    """
    kafka = site.kafka("memory-consumers")
    topics.create(kafka, pipeline_of(kafka))
    write_consumers(kafka, consumers)
    data = site.folder / "memory-consumers"
    return [_recovery(site, kafka, data, consumers, what) for what in ("first start, nothing on disk", "started again")]


def write_consumers(kafka: KafkaSettings, consumers: int) -> None:
    """Write the state of a group that has settled events of this many consumers directly into its topics."""
    write_records(kafka, _consumer_records(kafka, consumers))


def _consumer_records(kafka: KafkaSettings, consumers: int) -> Iterator[tuple[str, int, bytes, bytes]]:
    pipeline = pipeline_of(kafka)
    now_ms = int(time.time() * 1000)
    for number in range(consumers):
        consumer, partition = f"{number:08x}-0000-4000-8000-{number:012x}", number % kafka.partitions
        events = [f"{number:08x}-0000-4000-9000-{recent:012x}" for recent in range(_RECENT)]
        state = ConsumerState(
            offset=number,
            market="DE",
            recent=tuple(RecentEvent(event, "UPDATE", "synced", None, 1, now_ms) for event in events),
            synced_ms=now_ms,
            full=FullState(number, "UPDATE", events[0]),
        )
        yield pipeline.consumers_topic, partition, consumer_key(partition, _EPOCH, consumer), state.encode()
    for partition in range(kafka.partitions):
        yield pipeline.state_topic, partition, partition_key(partition, _EPOCH), PartitionState().encode()


def write_records(kafka: KafkaSettings, records: Iterable[tuple[str, int, bytes, bytes]]) -> None:
    """Write records (topic, partition, key, value) straight into Kafka.

    Raises:
        NotDone: some could not be written.
    """
    # Otherwise the library reports on stderr whenever a broker that has just started is not ready.
    producer = Producer(dict(producer_config(kafka)), logger=_silent)
    for topic, partition, key, value in records:
        while True:
            try:
                producer.produce(topic, value, key, partition)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if left := producer.flush(60):
        raise NotDone(f"{left} state records could not be written")


def _recovery(site: Site, kafka: KafkaSettings, data: Path, consumers: int, what: str) -> Recovery:
    older = len(site.log(kafka).read_text(errors="replace")) if site.log(kafka).exists() else 0
    began = time.monotonic()
    with site.running([sys.executable, "-P", "-m", "app", "worker"], kafka, {}, data) as running:
        _until_ready(running, RECOVERY_SECONDS)
        took = time.monotonic() - began
        pid = running.process.pid
        size = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
        said = running.log.read_text(errors="replace")[older:].splitlines()
        complaints = tuple(line for line in said if re.search(r"\[(warning|error) ", line) and _WAITING not in line)
        return Recovery(
            what, consumers, took, cpu_seconds(pid), resident_mb(pid, "VmHWM"), resident_mb(pid), size / 1e6, complaints
        )


def _until_ready(running: Running, within: float) -> None:
    deadline = time.monotonic() + within
    while running.get("/readyz") is None:
        _must_live(running)
        if time.monotonic() > deadline:
            raise NotDone(f"not ready within {within:g} s\n{log_tail(running.log)}")
        time.sleep(LOOK_SECONDS)


def _must_live(running: Running) -> None:
    if running.process.poll() is not None:
        raise NotDone(f"the worker ended with exit code {running.process.returncode}\n{log_tail(running.log)}")


def backlog_table(found: Backlog) -> Table:
    """The table: one line."""
    shown = Table("backlog", "watched", "small, MB", "large, MB", "growth, MB", "wanted", "worked on", "on the way, MB")
    shown.add_row(
        f"{found.events:,}",
        f"{found.seconds:g} s",
        f"{found.small_mb:,.0f}",
        f"{found.large_mb:,.0f}",
        f"{found.growth_mb:,.0f}",
        f"<= {MOST_GROWTH_MB:g}",
        f"{found.done:,}",
        " ".join(f"{mb:.0f}" for mb in found.curve_mb),
    )
    return shown


def recovery_table(found: Sequence[Recovery]) -> Table:
    """The table: one line for each start."""
    shown = Table("consumers", "start", "ready after, s", "CPU, s", "peak, MB", "then, MB", "on disk, MB")
    for each in found:
        figures: tuple[Any, ...] = (each.seconds, each.cpu_seconds, each.peak_mb, each.resident_mb, each.file_mb)
        shown.add_row(f"{each.consumers:,}", each.what, *(f"{figure:,.1f}" for figure in figures))
    return shown
