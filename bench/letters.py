"""Measures the index of dead letters when there are very many: reading them in, and what an operator asks first.

First the records go through the follower's own batches into SQLite, without Kafka. Then they are written into Kafka,
and a worker reads them in.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from app.delivery.counts import FailureCount, Settlement
from app.delivery.dead_letter_record import DeadLetter, HistoryLine, Holder, LetterStatus, ValuePlace
from app.delivery.failed_attempt import FailedAttempt
from app.delivery.fingerprint import Fingerprint
from app.delivery.letter_id import LetterId, letter_key
from app.delivery.operator_task import LetterFilter
from app.delivery.outcome import Outcome, RecordCount
from app.delivery.pipeline import Pipeline
from app.kafka import topics
from app.readmodels.batch import ReadBatch
from app.readmodels.follower import BATCH_RECORDS
from app.readmodels.letters import LetterIndex
from app.readmodels.progress import Progress
from app.readmodels.store import Store
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from bench.measured import cpu_seconds, resident_mb
from bench.memory import write_records
from bench.site import PARTITIONS, Running, Site, until

# A worker whose answers are younger has read everything: until then their age is that of the worker.
FRESH_SECONDS = 1.5
READ_SECONDS = 1_200.0
EPOCH = 1
_PIPELINE = Pipeline("consumers", "consumer-profiles", "bench")
_NOW_MS = 1_795_000_000_000
# Ten events of a consumer, four markets, five kinds of failure that come in runs, as after an outage.
_PER_CONSUMER = 10
_MARKETS = ("DE", "FR", "AT", "NL")
_KINDS = (
    Fingerprint("CMT-ROW-INVALID", "consumer", "NEW"),
    Fingerprint("CMT-TIMEOUT", "consumer", "UPDATE"),
    Fingerprint("CMT-UNAVAILABLE", "consumer", "UPDATE"),
    Fingerprint("CMT-ROW-INVALID", "consumer", "UPDATE"),
    Fingerprint("CMT-DEADLOCK", "pet", "DELETE"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and how long it took the first time after the file was opened, and the second time."""

    what: str
    first_ms: float
    second_ms: float


@dataclass(frozen=True, slots=True)
class Filled:
    """Reading dead letters in, and the answers. MB of 10^6 bytes; ``peak_mb``: of this process, after reading in."""

    letters: int
    seconds: float
    cpu_seconds: float
    record_bytes: float
    file_mb: float
    peak_mb: float
    asked: tuple[Asked, ...]


def run(folder: Path, letters: int) -> Filled:
    """Fill a file, open it again, and ask."""
    path = folder / "letters.sqlite"
    records = _encoded(letters)
    store, bytes_read, seconds, used = Store(path, _PIPELINE), 0, 0.0, 0.0
    while portion := list(itertools.islice(records, BATCH_RECORDS)):
        began, cpu = time.monotonic(), time.process_time()
        batch = ReadBatch(_PIPELINE)
        for letter_id, offset, key, value in portion:
            batch.add(_PIPELINE.letters_topic, letter_id.partition, offset, key, value)
            bytes_read += len(value)
        store.apply(batch)
        seconds += time.monotonic() - began
        used += time.process_time() - cpu
    store.close()
    peak = resident_mb(os.getpid(), "VmHWM")
    file_mb = sum(one.stat().st_size for one in folder.iterdir()) / 1e6
    again = Store(path, _PIPELINE)
    try:
        index = LetterIndex(_PIPELINE.letters_topic, Progress(), lambda query: query(again), dict)
        asked = tuple(_ask(what, question) for what, question in _questions(index, letters))
    finally:
        again.close()
    return Filled(letters, seconds, used, bytes_read / max(letters, 1), file_mb, peak, asked)


@dataclass(frozen=True, slots=True)
class Followed:
    """A worker before many dead letters: when it was ready and when it had read them in, after its start."""

    what: str
    ready_seconds: float
    read_seconds: float
    cpu_seconds: float
    peak_mb: float
    resident_mb: float
    file_mb: float


def followed(site: Site, letters: int) -> list[Followed]:
    """Write dead letters into Kafka, then start a worker that reads them in, and once more with its file.

    Raises:
        NotDone: a worker ended, or had not read them within minutes.
    """
    kafka = site.kafka("letters")
    pipeline = pipeline_of(kafka)
    topics.create(kafka, pipeline)
    write_records(
        kafka, ((pipeline.letters_topic, one.partition, key, value) for one, _, key, value in _encoded(letters))
    )
    data = site.folder / "letters"
    return [_followed(site, kafka, data, what) for what in ("first start, nothing on disk", "started again")]


def _followed(site: Site, kafka: KafkaSettings, data: Path, what: str) -> Followed:
    began = time.monotonic()
    with site.running([sys.executable, "-P", "-m", "app", "worker"], kafka, {}, data) as running:
        until(lambda: running.get("/readyz"), READ_SECONDS, f"the worker is not ready, see {running.log}")
        ready = time.monotonic() - began
        until(lambda: _behind(running) < FRESH_SECONDS, READ_SECONDS, f"the worker still reads, see {running.log}")
        took, pid = time.monotonic() - began, running.process.pid
        size = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
        return Followed(what, ready, took, cpu_seconds(pid), resident_mb(pid, "VmHWM"), resident_mb(pid), size / 1e6)


def _behind(running: Running) -> float:
    """How old the worker's answers are."""
    with urllib.request.urlopen(f"{running.url}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("profile_sync_readmodel_behind_seconds "):
                return float(line.split()[1])
    return float("inf")


def followed_table(found: Sequence[Followed]) -> Table:
    """The table: one line for each start."""
    shown = Table(
        "a worker before them", "ready after, s", "all read after, s", "CPU, s", "peak, MB", "then, MB", "disk, MB"
    )
    for each in found:
        figures = (
            each.ready_seconds,
            each.read_seconds,
            each.cpu_seconds,
            each.peak_mb,
            each.resident_mb,
            each.file_mb,
        )
        shown.add_row(each.what, *(f"{figure:,.1f}" for figure in figures))
    return shown


def table(filled: Filled) -> Table:
    """The figures."""
    shown = Table(f"{filled.letters:,} dead letters", "", "")
    for column in shown.columns[1:]:
        column.justify = "right"
    per_second = filled.letters / filled.seconds if filled.seconds else 0
    shown.add_row("read in", f"{filled.seconds:,.0f} s", f"{per_second:,.0f}/s, {filled.cpu_seconds:,.0f} s CPU")
    shown.add_row("bytes of a record", f"{filled.record_bytes:,.0f}", "")
    shown.add_row("on disk", f"{filled.file_mb:,.0f} MB", "")
    shown.add_row("memory of the process", f"{filled.peak_mb:,.0f} MB", "")
    for one in filled.asked:
        shown.add_row(one.what, f"{one.first_ms:,.1f} ms", f"again {one.second_ms:,.1f} ms")
    return shown


def _questions(index: LetterIndex, letters: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    kind = str(_KINDS[-1])
    some = LetterId(0, letters // PARTITIONS // 2)
    middle = _NOW_MS + letters // 2
    yield "first page", index.page
    yield "groups (dlq stats)", index.groups
    yield "first page of a fingerprint", lambda: index.page(LetterFilter(fingerprint=kind))
    yield "first page of a market", lambda: index.page(LetterFilter(market=_MARKETS[-1]))
    yield "first page of what is not there", lambda: index.page(LetterFilter(reason=kind, market="XX"))
    yield "first page of a consumer", lambda: index.page(LetterFilter(consumer=_consumer(letters // 2)))
    yield "a page in the middle", lambda: index.page(LetterFilter(until_ms=middle))
    yield "groups of a market", lambda: index.groups(LetterFilter(market=_MARKETS[0]))
    yield "groups since a time", lambda: index.groups(LetterFilter(since_ms=middle))
    yield "count of a market since a time", lambda: index.count(LetterFilter(market=_MARKETS[0], since_ms=middle))
    yield "find an event ID", lambda: index.find(_event(letters // 2))
    yield "record of one", lambda: index.record(some)
    yield "100 open ones after an offset", lambda: index.open_after(0, some.offset, LetterFilter(), 100)
    yield "100 of a fingerprint after an offset", lambda: index.open_after(0, 0, LetterFilter(fingerprint=kind), 100)
    yield "a consumer's older ones", lambda: index.open_of(some.partition, _consumer(letters // 2), 2**53, 100)


def _ask(what: str, question: Callable[[], Any]) -> Asked:
    times = []
    for _ in range(2):
        began = time.perf_counter()
        question()
        times.append((time.perf_counter() - began) * 1000)
    return Asked(what, *times)


def _encoded(letters: int) -> Iterator[tuple[LetterId, int, bytes, bytes]]:
    for number in range(letters):
        letter_id = LetterId(number % PARTITIONS, number // PARTITIONS)
        yield letter_id, number // PARTITIONS, letter_key(letter_id, EPOCH), _letter(number, letters).encode()


def _letter(number: int, letters: int) -> DeadLetter:
    kind = _KINDS[number * len(_KINDS) // letters]
    failed_ms = _NOW_MS + number
    settlement = Settlement(
        _consumer(number),
        _event(number),
        kind.operation,
        _MARKETS[number % len(_MARKETS)],
        "2026-11-18",
        Outcome.FAILED,
        kind.reason,
        5,
        True,
        records=(RecordCount("consumer", 0, 1),),
        failures=(FailureCount(kind.entity, kind.reason),),
    )
    return DeadLetter(
        LetterStatus.OPEN,
        settlement,
        kind,
        "the target said that a column is too long for the value ***",
        failed_ms - 600_000,
        failed_ms,
        failed_ms,
        ValuePlace(Holder.DLQ, number // PARTITIONS),
        request_id=f"{number:08x}-0000-4000-a000-{number:012x}",
        attempts=tuple(FailedAttempt(failed_ms - 1000 * n, kind.reason) for n in range(5)),
        history=(HistoryLine(failed_ms, "failed", "failed", kind.reason),),
        size=900,
        changed_ms=failed_ms,
    )


def _consumer(number: int) -> str:
    # All events of a consumer are on one partition.
    consumer = number // (PARTITIONS * _PER_CONSUMER) * PARTITIONS + number % PARTITIONS
    return f"{consumer * 2654435761 % 2**32:08x}-0000-4000-8000-{consumer:012x}"


def _event(number: int) -> str:
    return f"{number * 2654435761 % 2**32:08x}-0000-4000-9000-{number:012x}"
