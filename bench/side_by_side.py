"""Runs the rows of the table one after the other, several times."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from app.settings.pipelines import pipeline_of
from bench.backlog import publish, records, uncommitted
from bench.java_program import JavaMissing
from bench.measured import NotDone, resident_mb, steady, watch
from bench.rows import Row
from bench.site import Running, Site, until
from bench.soap_answer import recorded_answer
from bench.stub import Stub, stub

# Far slower than any measured program. A stuck program must not keep the others from being measured.
SLOWEST_PER_SECOND = 40.0
# Enough for a Java or Python program to join a group on a busy machine.
START_WITHIN_SECONDS = 60.0
SETTLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one row.

    ``load``: the machine's load average just before the run. ``took_ms``: the average time of a call, from its last
    byte at the stub to the answer: the requested latency plus the machine's delays. ``events_per_commit``: how many
    events shared a write of their partition record, on average; 0 for programs without one. ``stolen``: the share of a
    core's time that other guests of the host took. ``trouble``: why there are no figures, or what else went wrong;
    empty if all is well.
    """

    row: str
    round: int
    events: int
    load: float
    events_per_second: float = 0.0
    calls_per_event: float = 0.0
    cpu_ms_per_event: float = 0.0
    resident_mb: float = 0.0
    took_ms: float = 0.0
    events_per_commit: float = 0.0
    stolen: float = 0.0
    trouble: str = ""


def runs(
    site: Site, target: Stub, rows: Sequence[Row], events: int, repeat: int, announce: Callable[[str], None]
) -> Iterator[Run]:
    """Run every row ``repeat`` times, in rounds, so that a noisy moment does not affect only one row."""
    published: set[str] = set()
    for number in range(1, repeat + 1):
        for row in rows:
            count = max(400, int(events * row.share))
            topic = f"bench-{count}"
            announce(f"round {number} of {repeat}: {row.name}, {row.what}, {count:,} events")
            if topic not in published:
                publish(site.kafka(topic), count)
                published.add(topic)
            yield _run(site, target, row, number, topic, count)


def _run(site: Site, target: Stub, row: Row, number: int, topic: str, events: int) -> Run:
    load = os.getloadavg()[0]
    try:
        line = row.command()
    except JavaMissing as missing:
        return Run(row.name, number, events, load, trouble=f"skipped: {missing}")
    kafka = site.kafka(topic)
    pipeline = pipeline_of(kafka)
    with ExitStack() as stack:
        if row.pipeline:
            variables, called = _pipeline_target(site, row, stack)
        else:
            variables, called = {"BENCH_TARGET": target.url(row.milliseconds)}, target
        before = called.answered()

        def calls() -> int:
            return called.answered().calls - before.calls

        variables |= {"SYNC_CONCURRENCY": str(row.in_flight // row.processes)}
        each = [
            stack.enter_context(site.running(line, kafka, variables, site.folder / f"{pipeline.group}-{process}"))
            for process in range(row.processes)
        ]
        running = each[0]
        try:
            within = START_WITHIN_SECONDS + events / SLOWEST_PER_SECOND
            looks = watch([one.process for one in each], running.log, calls, events, within)
            measured = steady(looks, events)
        except NotDone as error:
            return Run(row.name, number, events, load, trouble=str(error))
        resident = sum(resident_mb(one.process.pid) for one in each)
        trouble = _unsettled(running, row, lambda: uncommitted(kafka), events)
        after = called.answered()
        commits = records(kafka, pipeline.state_topic) if row.worker else 0
    made = after.calls - before.calls
    if not trouble and made != events:
        trouble = f"{made} calls for {events} events"
    return Run(
        row.name,
        number,
        events,
        load,
        measured.events_per_second,
        made / events,
        measured.cpu_ms_per_event,
        resident,
        after.ms_each_since(before),
        events / commits if commits else 0.0,
        measured.stolen,
        trouble,
    )


def _pipeline_target(site: Site, row: Row, stack: ExitStack) -> tuple[dict[str, str], Stub]:
    """A simulator for tokens, and a stub that gives its answer: the simulator is slower than the measured programs."""
    variables = stack.enter_context(site.simulator())
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="soap-", dir=site.folder)))
    answer = folder / "answer.xml"
    answer.write_bytes(recorded_answer(variables["CMT_AUTH_URL"]))
    soap = stack.enter_context(stub(folder, answer))
    return {**variables, "CMT_SOAP_URL": soap.url(row.milliseconds)}, soap


def _unsettled(running: Running, row: Row, left: Callable[[], int], events: int) -> str:
    """What is unfinished although every call was answered: uncommitted offsets, events not yet counted by a worker."""
    deadline = time.monotonic() + SETTLE_SECONDS
    try:
        until(lambda: left() == 0, SETTLE_SECONDS, "")
    except TimeoutError:
        return f"{left()} events are not committed after {SETTLE_SECONDS:g} s"
    if not row.worker:
        return ""

    def counted() -> bool:
        totals = running.get("/api/kpi/totals")
        return bool(totals) and totals["complete"] and totals["synced"] == totals["events"] == events

    try:
        until(counted, max(1.0, deadline - time.monotonic()), "")
    except TimeoutError:
        return f"the worker's totals are {running.get('/api/kpi/totals')}"
    return ""
