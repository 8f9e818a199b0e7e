"""What can be observed of a run from outside: the topics, the simulator's journal and rows, the workers' HTTP API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.delivery.outcome import InvalidEvent
from app.delivery.record import SourceRecord
from app.profile.entities import EntityType
from app.profile.event import ProfileEvent
from tests.chaos.blows import Done
from tests.chaos.event_calls import Strategy
from tests.support.deployment import Deployment, Published, without_nulls
from tests.support.simulator_probe import Call
from tests.support.worker_process import WorkerProcess, wait_for

Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Source:
    """A record of the main topic. ``event`` None: it is invalid, for ``reason``."""

    partition: int
    offset: int
    day: str
    key: bytes | None
    value: bytes | None
    event_id: str
    market: str
    operation: str
    event: ProfileEvent | None
    reason: str | None = None

    @property
    def position(self) -> Position:
        return self.partition, self.offset

    @property
    def consumer(self) -> str | None:
        """As the key names it."""
        return None if self.key is None else self.key.decode()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record of the dead-letter topic; ``source`` is the event's position in the main topic."""

    source: Position
    reason: str
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of one worker over HTTP."""

    totals: Mapping[str, Any]
    daily: Sequence[Mapping[str, Any]]
    records: Sequence[Mapping[str, Any]]
    failures: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """``lags``: topic -> {partition: (committed, end)} where these differ. ``remarks``: what else was wrong."""

    strategy: Strategy
    with_faults: bool
    published: Sequence[tuple[bytes | None, bytes | None]]
    sources: Sequence[Source]
    calls: Sequence[Call]
    rows: Mapping[EntityType, Mapping[tuple[str, ...], Mapping[str, str]]]
    answers: Mapping[int, Answers]
    consumers: Mapping[str, Mapping[str, Any] | None]
    dead_letters: Sequence[DeadLetter]
    lags: Mapping[str, Mapping[int, tuple[int, int]]]
    done: Sequence[Done]
    wall_seconds: float = 0.0
    remarks: Sequence[str] = field(default=())


def valid(sources: Iterable[Source]) -> list[Source]:
    """The records with a valid event."""
    return [source for source in sources if source.event is not None]


def events_of(sources: Iterable[Source]) -> list[ProfileEvent]:
    """Their events."""
    return [source.event for source in sources if source.event is not None]


def seconds(call: Call) -> float:
    """When a call took effect, as UNIX time."""
    return datetime.fromisoformat(call.at).timestamp()


def sources_of(deployment: Deployment) -> list[Source]:
    """The main topic, in offset order within each partition; the market of a null value is its consumer's last."""
    markets: dict[bytes | None, str] = {}
    found = []
    for record in deployment.probe.read_all(deployment.pipeline.topic):
        published = Published(
            record.partition, record.offset, record.key, record.value, record.headers, record.timestamp
        )
        day = SourceRecord("", record.partition, record.offset, record.timestamp, None, None).day
        common = (record.partition, record.offset, day, record.key, record.value)
        try:
            event = deployment.event_of(published)
        except InvalidEvent as problem:
            market = problem.market
            found.append(Source(*common, problem.event_id, market, problem.operation, None, problem.entry.code))
        else:
            market = event.market if event.market != "-" else markets.get(record.key, "-")
            found.append(Source(*common, event.event_id, market, event.operation.value, event))
        # An invalid event tells its market too, if it can.
        if market != "-":
            markets[record.key] = market
    return found


def dead_letters_of(deployment: Deployment) -> list[DeadLetter]:
    """The dead-letter topic."""

    def number(value: bytes | None) -> int:
        return int(value or b"-1")

    return [
        DeadLetter(
            (number(record.header("x-sync-source-partition")), number(record.header("x-sync-source-offset"))),
            (record.header("x-sync-reason") or b"").decode(),
            record.key,
            record.value,
        )
        for record in deployment.dead_letters()
    ]


def lags_of(deployment: Deployment) -> dict[str, dict[int, tuple[int, int]]]:
    """Where the group has not committed everything, in the main, retry and alerts topic."""
    found: dict[str, dict[int, tuple[int, int]]] = {}
    for topic in (deployment.pipeline.topic, deployment.pipeline.retry_topic, deployment.pipeline.alerts_topic):
        committed = deployment.probe.committed(deployment.pipeline.group, topic)
        behind = {
            partition: (committed.get(partition, -1), end)
            for partition, end in deployment.ends(topic).items()
            if end and committed.get(partition) != end
        }
        if behind:
            found[topic] = behind
    return found


def lags_at_rest(deployment: Deployment, within: float) -> dict[str, dict[int, tuple[int, int]]]:
    """The same as ``lags_of``, but waits until there are none: even an idle worker may write an alert (invalid events
    are reported again every minute), whose offset is committed a moment later.
    """
    found: dict[str, dict[int, tuple[int, int]]] = {}

    def none_left() -> bool:
        nonlocal found
        found = lags_of(deployment)
        return not found

    with suppress(AssertionError):
        wait_for(none_left, lambda: "the end of every topic committed", within)
    return found


def answers_of(worker: WorkerProcess) -> Answers:
    """The answers of a worker, once it knows every settled event."""
    totals = worker.totals()
    return Answers(
        totals,
        worker.get("/api/kpi/daily")["rows"],
        worker.get("/api/kpi/records")["rows"],
        worker.get("/api/kpi/failures")["rows"],
    )


def collect(
    deployment: Deployment,
    workers: Mapping[int, WorkerProcess],
    *,
    strategy: Strategy,
    with_faults: bool,
    published: Sequence[tuple[bytes | None, bytes | None]],
    done: Sequence[Done],
    remarks: Sequence[str],
    wall_seconds: float,
    commit_seconds: float = 20.0,
    calls_since: int = 0,
) -> Evidence:
    """Collect the evidence once the run has come to rest. ``workers``: the running ones, by slot. ``calls_since``: the
    number of the last call before the run.
    """
    noted = list(remarks)
    if lags_at_rest(deployment, commit_seconds):
        noted.append("offsets are not committed to the end")
    sources = sources_of(deployment)
    asked = next(iter(workers.values()))
    return Evidence(
        strategy=strategy,
        with_faults=with_faults,
        published=published,
        sources=sources,
        calls=deployment.simulator.calls(since=calls_since),
        rows=without_nulls(deployment.simulator.rows(deployment.catalog)),
        answers={slot: answers_of(worker) for slot, worker in workers.items()},
        consumers={one: asked.consumer(one) for one in sorted({s.consumer for s in sources if s.consumer})},
        dead_letters=dead_letters_of(deployment),
        lags=lags_at_rest(deployment, commit_seconds),
        done=done,
        wall_seconds=wall_seconds,
        remarks=noted,
    )
