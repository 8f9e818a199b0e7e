"""One run, with a broker, a simulator and workers of its own: events and blows, rest, evidence, verdict."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from app.broker.local_broker import LocalBroker
from app.bundled import schema_path
from app.profile.catalog_file import parse_catalog
from tests.chaos import events
from tests.chaos.blows import Blows
from tests.chaos.event_calls import Strategy
from tests.chaos.evidence import Evidence, collect
from tests.chaos.feed import Feed
from tests.chaos.recreated_topic import recreate_topic
from tests.chaos.report import Line, keep
from tests.chaos.rest import come_to_rest
from tests.chaos.schedule import (
    DECK,
    GAP_SECONDS,
    ODD,
    PASSING,
    SESSION_SECONDS,
    Blow,
    Rule,
    Schedule,
    make_schedule,
)
from tests.chaos.soak_watch import SoakWatch
from tests.chaos.surroundings import AUTHORIZER, CODECS, Surroundings, mounted_disks, unmount_disks
from tests.chaos.verdict import judge, together
from tests.support.cluster import LOGGED_IN_CONTROLLERS, running_cluster
from tests.support.deployment import deployed
from tests.support.private_network import HOST
from tests.support.simulator_probe import SimulatorProbe, running_simulator

SETTINGS = {
    "KAFKA_SESSION_TIMEOUT_SECONDS": f"{SESSION_SECONDS:g}",
    "CMT_TIMEOUT_SECONDS": "2",
    "SYNC_MAX_ATTEMPTS": "5",
    # Long enough for consumers to be parked while partitions change hands.
    "SYNC_BACKOFF_BASE_SECONDS": "0.2",
    "SYNC_BACKOFF_MAX_SECONDS": "3",
    "SYNC_BREAKER_FAILURES": "20",
    "SYNC_BREAKER_PROBE_SECONDS": "0.5",
    "SYNC_BREAKER_ALERT_SECONDS": "2",
}
# Of every call in a run with faults.
SLOW_MS = 25
# Of every 100 events that come from a few consumers, where the surroundings are hit.
HOT = 50
# The time in which a run must come to rest after the last event and the last blow.
REST_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Run:
    """The options of a run. ``seconds``: how long events and blows go on. ``down_seconds``: 0: no faults of the CMT."""

    seed: int
    events: int
    seconds: float
    consumers: int = 300
    down_seconds: float = 0.0
    deck: Sequence[Blow] = DECK
    gap: tuple[float, float] = GAP_SECONDS
    workers_at_first: int | None = None
    rest_seconds: float = REST_SECONDS
    strategy: Strategy = "replace"
    # 3: a cluster, on all of which every topic stands.
    brokers: int = 1
    # Rights, disks, networks, codecs, odd answers; needs namespaces of its own.
    surroundings: bool = False
    # The faults of the CMT; None: those of the deck.
    passing: Sequence[Rule] | None = None
    hot_percent: int | None = None
    # Of the last act, in which the topic is recreated; 0: there is none.
    recreated_events: int = 0
    # Whether memory and standstills are watched.
    soaked: bool = False

    def schedule(self) -> Schedule:
        """The blows: a pure function of the run."""
        permanent = events.permanent_consumers(self.seed, self.consumers)
        ids = events.consumer_ids(self.seed, self.consumers)
        return make_schedule(
            self.seed,
            self.seconds,
            faulty_consumers=ids[: self.consumers // 4],
            lasting=_lasting(permanent) if self.down_seconds else (),
            down_seconds=self.down_seconds,
            deck=self.deck,
            gap=self.gap,
            workers_at_first=self.workers_at_first,
            passing=self.passing or (ODD if self.surroundings else PASSING),
            brokers=self.brokers,
        )


def carry_out(run: Run) -> Line:
    """Carry out a run. The folder of a failed run, with logs and evidence, is kept.

    Raises:
        BrokerStartError: no broker could be started.
    """
    schedule = run.schedule()
    folder = Path(tempfile.mkdtemp(prefix=f"torture-{run.seed}-"))
    finished = False
    try:
        evidence, of_recreated = _evidence(run, schedule, folder)
        catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
        verdict = judge(evidence, catalog)
        if verdict.violations:
            keep(folder, schedule, evidence, verdict)
        if of_recreated is not None:
            about = judge(of_recreated, catalog)
            if about.violations:
                (folder / "topic recreated").mkdir()
                keep(folder / "topic recreated", schedule, of_recreated, about)
            verdict = together(verdict, about)
        finished = not verdict.violations
        return Line(run.strategy, schedule, verdict, None if finished else folder, run.recreated_events)
    except BaseException:
        print(f"seed {run.seed}, {run.strategy}: the run itself failed; its logs: {folder}", flush=True)
        raise
    finally:
        if finished:
            if run.surroundings:
                unmount_disks(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _evidence(run: Run, schedule: Schedule, folder: Path) -> tuple[Evidence, Evidence | None]:
    """Of the run, and of its last act."""
    catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
    began = time.monotonic()
    settings = SETTINGS | {"SYNC_STRATEGY": run.strategy, "KAFKA_REPLICATION": str(run.brokers)}
    if run.surroundings:
        mounted_disks(folder)
    with (
        _brokers(run) as brokers,
        running_simulator(folder / "simulator.log", *(("--host", "0.0.0.0") if run.surroundings else ())) as simulator,
        deployed(_addresses(brokers), simulator, catalog, folder, **settings) as deployment,
    ):
        around = Surroundings(deployment, folder) if run.surroundings else None
        if run.surroundings:  # the run itself can talk to it while its packets are dropped
            deployment.simulator = SimulatorProbe(simulator.url.replace(HOST, "127.0.0.2"))
        blows = Blows(deployment, brokers, schedule, surroundings=around)
        blows.begin()
        feed = Feed(
            deployment.kafka,
            events.drafts(run.seed, run.events, run.consumers, _hot_percent(run)),
            per_second=run.events / max(1.0, run.seconds - run.down_seconds),
            seed=run.seed,
            awake=blows.awake,
            codecs=CODECS if run.surroundings else ("none",),
        )
        watch = SoakWatch(blows.awake, lambda: len(feed.published))
        if run.soaked:
            watch.start()
        feed.start()
        failed = threading.Event()
        try:
            blows.carry_out(failed)
            blows.end()
            feed.join(run.rest_seconds)
        finally:
            watch.stop()
            feed.stop.set()
            feed.join(run.rest_seconds)
        if feed.error is not None:
            raise feed.error
        if not blows.awake():
            raise AssertionError("no worker runs at the end of the schedule")
        blows.remarks += come_to_rest(blows.awake(), len(feed.published), run.rest_seconds)
        blows.remarks += watch.remarks()
        if run.soaked:
            print(watch.memory_text(), flush=True)
        for number, broker in brokers.items():
            shutil.copy(broker.log_file, folder / f"broker-{number}.log")
        evidence = collect(
            deployment,
            blows.awake(),
            strategy=run.strategy,
            with_faults=schedule.with_faults,
            published=feed.published,
            done=blows.done,
            remarks=blows.remarks,
            wall_seconds=time.monotonic() - began,
        )
        if not run.recreated_events:
            return evidence, None
        recreated = recreate_topic(
            deployment,
            blows.awake(),
            seed=run.seed,
            count=run.recreated_events,
            strategy=run.strategy,
            rest_seconds=run.rest_seconds,
        )
        return evidence, replace(recreated, wall_seconds=time.monotonic() - began)


@contextmanager
def _brokers(run: Run) -> Iterator[Mapping[int, LocalBroker]]:
    """By ID."""
    rules = AUTHORIZER if run.surroundings else {}
    if run.brokers == 1:
        with LocalBroker(extra_config=rules) as broker:
            yield {1: broker}
    else:
        with running_cluster(rules | LOGGED_IN_CONTROLLERS) as cluster:
            yield cluster.nodes


def _addresses(brokers: Mapping[int, LocalBroker]) -> str:
    return ",".join(broker.bootstrap_servers for broker in brokers.values())


def _hot_percent(run: Run) -> int:
    if run.hot_percent is not None:
        return run.hot_percent
    return HOT if run.surroundings else events.HOT_PERCENT


def _lasting(consumers: Sequence[str]) -> list[Rule]:
    """Calls that take a while, so that blows hit some under way; and errors that no attempt mends: of the parent (dead
    letters), of a child (partials), of a delete."""
    parent, child, delete = consumers[:3], consumers[3:6], consumers[6:]
    return [
        {"kind": "slow", "delayMs": SLOW_MS},
        *(
            {"kind": "row_error", "operation": "Update", "dataExtension": "CMT_Consumer", "consumerId": c}
            for c in parent
        ),
        *({"kind": "row_error", "operation": "Update", "dataExtension": "CMT_Pet", "consumerId": c} for c in child),
        *({"kind": "row_error", "operation": "Delete", "consumerId": c} for c in delete),
    ]
