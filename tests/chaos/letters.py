"""``python -m tests.chaos.letters``: dead letters are redriven and discarded while everything is killed and frozen.

1. Events come in for the whole run. At first, Marketing Cloud refuses the rows of some consumers for good: their events
   become dead letters.
2. An operator redrives and discards without end; his commands are killed too. Meanwhile the refusals are lifted and
   come back for other consumers, workers are killed and frozen, and the broker goes away.
3. At the end the refusals are lifted, and what is open is redriven. Only invalid events stay open.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.broker.distribution import BrokerStartError
from app.broker.local_broker import LocalBroker
from app.bundled import schema_path
from app.profile.catalog_file import parse_catalog
from app.readmodels import Followed, ReadModels, wait_until_caught_up
from app.readmodels.letters import ANY_STATUS
from app.readmodels.tasks import TaskState
from tests.chaos import letters_events
from tests.chaos.blows import Blows
from tests.chaos.evidence import sources_of
from tests.chaos.feed import Feed
from tests.chaos.letters_verdict import OVER, LettersEvidence, LettersVerdict, judge
from tests.chaos.operator import Operator
from tests.chaos.rest import come_to_rest
from tests.chaos.run import SETTINGS
from tests.chaos.schedule import Blow, make_schedule
from tests.support.cluster import running_cluster
from tests.support.deployment import Deployment, deployed
from tests.support.simulator_probe import running_simulator
from tests.support.worker_process import WorkerProcess, wait_for

DECK = (
    Blow.KILL,
    Blow.KILL,
    Blow.STOP,
    Blow.PAUSE,
    Blow.TERM,
    Blow.JOIN,
    Blow.LEAVE,
    Blow.BROKER_KILL,
    Blow.BROKER_FREEZE,
)
EVENTS_PER_SECOND = 40.0
GAP_SECONDS = (4.0, 10.0)
REST_SECONDS = 150.0
# The share of the consumers that Marketing Cloud refuses at a time, and for how long.
REFUSED_SHARE = 0.35
REFUSED_SECONDS = (8.0, 15.0)
SLOW_MS = 15


@dataclass(frozen=True, slots=True)
class LettersRun:
    """The options of a run."""

    seed: int
    events: int
    seconds: float
    consumers: int
    strategy: str = "replace"
    deck: Sequence[Blow] = DECK
    gap: tuple[float, float] = GAP_SECONDS
    brokers: int = 1
    workers_at_first: int | None = None
    rest_seconds: float = REST_SECONDS


def plan_of(seed: int, events: int, strategy: str, brokers: int) -> LettersRun:
    """A run whose length follows from its events."""
    consumers = max(40, events // 25)
    deck = (*DECK, Blow.ONE_HANGS, Blow.ONE_HANGS) if brokers > 1 else DECK
    return LettersRun(seed, events, max(30.0, events / EVENTS_PER_SECOND), consumers, strategy, deck, brokers=brokers)


class Refusals(threading.Thread):
    """Marketing Cloud refuses the parent rows of some consumers, of other ones after a while."""

    def __init__(self, deployment: Deployment, consumers: Sequence[str], seed: int) -> None:
        super().__init__(name="refusals", daemon=True)
        self.stop = threading.Event()
        self._deployment = deployment
        self._consumers = list(consumers)
        self._random = random.Random(seed)

    def run(self) -> None:
        while not self.stop.is_set():
            number = max(1, int(len(self._consumers) * REFUSED_SHARE))
            simulator = self._deployment.simulator
            rules = [
                simulator.add_fault("row_error", operation="Update", dataExtension="CMT_Consumer", consumerId=one)
                for one in self._random.sample(self._consumers, number)
            ]
            self.stop.wait(self._random.uniform(*REFUSED_SECONDS))
            for rule in rules:
                simulator.request("DELETE", f"/_sim/faults/{rule}")
            self.stop.wait(self._random.uniform(2.0, 5.0))


def carry_out(run: LettersRun) -> tuple[LettersVerdict, Path | None]:
    """Carry out a run. Returns the verdict, and the folder with the logs of a run that broke a promise.

    Raises:
        BrokerStartError: no broker could be started.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"torture-letters-{run.seed}-"))
    verdict = None
    try:
        verdict = judge(_evidence(run, folder))
        if verdict.violations:
            lines = "\n".join(str(violation) for violation in verdict.violations)
            (folder / "verdict.txt").write_text(lines + "\n", encoding="utf-8")
        return verdict, folder if verdict.violations else None
    finally:
        if verdict is not None and not verdict.violations:
            shutil.rmtree(folder, ignore_errors=True)
        elif verdict is None:
            print(f"seed {run.seed}: the run itself failed; its logs: {folder}", flush=True)


def _evidence(run: LettersRun, folder: Path) -> LettersEvidence:
    catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
    settings = SETTINGS | {"SYNC_STRATEGY": run.strategy, "KAFKA_REPLICATION": str(run.brokers)}
    schedule = make_schedule(
        run.seed,
        run.seconds,
        lasting=({"kind": "slow", "delayMs": SLOW_MS},),
        deck=run.deck,
        gap=run.gap,
        workers_at_first=run.workers_at_first,
        brokers=run.brokers,
    )
    with (
        _brokers(run) as brokers,
        running_simulator(folder / "simulator.log") as simulator,
        deployed(_addresses(brokers), simulator, catalog, folder, **settings) as deployment,
    ):
        consumers = letters_events.consumer_ids(run.seed, run.consumers)
        blows = Blows(deployment, brokers, schedule)
        blows.begin()
        feed = Feed(
            deployment.kafka,
            letters_events.drafts(run.seed, run.events, run.consumers),
            per_second=run.events / run.seconds,
            seed=run.seed,
            awake=blows.awake,
        )
        refusals = Refusals(deployment, consumers, run.seed)
        operator = Operator(deployment.settings, folder, run.seed, consumers)
        for thread in (refusals, operator, feed):
            thread.start()
        try:
            blows.carry_out(threading.Event())
            blows.end()
            feed.join(run.rest_seconds)
        finally:
            for other in (feed, refusals, operator):
                other.stop.set()
            for thread in (feed, refusals, operator):
                thread.join(run.rest_seconds)
        if feed.error is not None:
            raise feed.error
        blows.remarks += come_to_rest(blows.awake(), len(feed.published), run.rest_seconds)
        return _at_rest(run, deployment, blows.awake(), operator, len(feed.published), blows.remarks)


def _at_rest(
    run: LettersRun,
    deployment: Deployment,
    workers: Mapping[int, WorkerProcess],
    operator: Operator,
    published: int,
    remarks: list[str],
) -> LettersEvidence:
    """Redrive what is open, wait until nothing is under way, and look at everything."""
    topics = (Followed.LETTERS, Followed.TASKS, Followed.STATE)
    models = ReadModels(deployment.kafka, deployment.pipeline, None, topics=topics)
    models.start()
    try:
        wait_until_caught_up(models)
        for known in models.tasks.all(10_000):
            if known.paused:
                operator.command(["resume", known.task.id], 60.0)
        operator.command(["redrive", "--all", "--wait"], run.rest_seconds)
        left = ["nothing yet"]

        def settled() -> bool:
            left[:] = _under_way(models)
            return not left

        try:
            wait_for(settled, lambda: "nothing under way", run.rest_seconds)
        except AssertionError:
            remarks.append(f"under way after {run.rest_seconds:g} s: {left[:5]}")
        time.sleep(1.0)  # the workers' own answers may be this much behind
        wait_until_caught_up(models)
        listed = models.letters.page(statuses=ANY_STATUS, limit=1_000_000).items
        rows = {
            name: deployment.simulator.request("GET", f"/_sim/rows/{name}")["rows"]
            for name in ("CMT_Consumer", "CMT_Pet")
        }
        return LettersEvidence(
            published=published,
            sources=sources_of(deployment),
            letters={one.id: one.letter for one in listed},
            states=models.partitions(),
            totals={slot: worker.totals() for slot, worker in workers.items()},
            parents={row["ConsumerId"]: row["LastName"] for row in rows["CMT_Consumer"]},
            pets={row["ConsumerId"]: row["Name"] for row in rows["CMT_Pet"]},
            tasks={
                known.task.id: models.tasks.state(known.task.id) or TaskState.WAITING
                for known in models.tasks.all(10_000)
            },
            remarks=remarks,
        )
    finally:
        models.stop()


def _tasks(models: ReadModels) -> dict[str, TaskState]:
    ids = [known.task.id for known in models.tasks.all(10_000)]
    return {one: models.tasks.state(one) or TaskState.WAITING for one in ids}


def _under_way(models: ReadModels) -> list[str]:
    """Tasks that are not over, and events that are handled."""
    states, tasks = models.partitions().items(), _tasks(models).items()
    found = [f"partition {number}: {list(state.readmitted)}" for number, state in states if state.readmitted]
    return found + [f"task {one} is {state}" for one, state in tasks if state not in OVER]


@contextmanager
def _brokers(run: LettersRun) -> Iterator[Mapping[int, LocalBroker]]:
    if run.brokers == 1:
        with LocalBroker() as broker:
            yield {1: broker}
    else:
        with running_cluster({}) as cluster:
            yield cluster.nodes


def _addresses(brokers: Mapping[int, LocalBroker]) -> str:
    return ",".join(broker.bootstrap_servers for broker in brokers.values())


def describe(run: LettersRun, verdict: LettersVerdict, kept: Path | None, seconds: float) -> str:
    """The figures of one run, and what was broken."""
    outcomes = ", ".join(f"{name} {number}" for name, number in sorted(verdict.outcomes.items()))
    lines = [
        f"seed {run.seed}, {run.strategy}, {run.brokers} broker(s): {verdict.events} events ({outcomes}), "
        f"{verdict.letters} dead letters, handled {verdict.handled} times; lost {verdict.number('lost')}, order "
        f"{verdict.number('order')}, count error {verdict.number('count')}, handled twice {verdict.number('task')}, "
        f"stuck {verdict.number('stuck')}, other {verdict.number('worker') + verdict.number('dead letter')}; "
        f"{seconds:.0f} s"
    ]
    lines += [f"  {violation}" for violation in verdict.violations[:20]]
    if kept is not None:
        lines.append(f"  logs: {kept}")
    return "\n".join(lines)


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.letters", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--events", type=int, default=5_000, help="of each run")
    parser.add_argument("--seed", type=int, default=None, help="of the first run; the others count up from it")
    parser.add_argument("--brokers", choices=["1", "3", "both"], default="1")
    chosen = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    print(f"Torture of dead letters: {chosen.runs} runs of {chosen.events} events; again: --seed {seed}", flush=True)
    broken = 0
    for number in range(chosen.runs):
        brokers = int(chosen.brokers) if chosen.brokers != "both" else (1, 3)[number % 2]
        run = plan_of(seed + number, chosen.events, ("replace", "reconcile")[number % 2], brokers)
        began = time.monotonic()
        try:
            verdict, kept = carry_out(run)
        except BrokerStartError as error:
            print(error, file=sys.stderr)
            return 1
        print(describe(run, verdict, kept, time.monotonic() - began), flush=True)
        broken += bool(verdict.violations)
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
