"""The demo on a running broker: start the rest, publish, watch until all is settled, see whether it adds up."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from app.demo.clients import TIMEOUT_SECONDS, SimulatorStats, Totals
from app.demo.dead_letters import DeadLetters
from app.demo.environment import invocation, lines_to_try
from app.demo.faults import fault_rules
from app.demo.installation import DemoFailed, Installation
from app.demo.outcomes import OutcomesUnreadable, published_events, read_outcomes
from app.demo.processes import ChildProcesses, ended_from_outside, how_it_ended
from app.demo.progress import Patience, Rate, Snapshot, all_settled, most_advanced
from app.demo.rows import Expectation, compare, expect
from app.demo.show import Show
from app.demo.totals import Findings, problems, report
from app.domain.entities import EntityType
from app.domain.event import ProfileEvent
from app.domain.samples import sample_events
from app.flows.catalog import load_catalog
from app.flows.publishing import publish_events
from app.kafka.admin import KafkaAccessError
from app.kafka.sources import Broker

LOOK_SECONDS = 0.5
# A retry waits some seconds at most: after so long without a settled event something is stuck.
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """``web_port``: of the first worker, 0 = a free one. ``fault_rate``: share of SOAP calls that fail, 0 to 1."""

    events: int = 2000
    exit_when_settled: bool = False
    fault_rate: float = 0.0
    workers: int = 1
    web_port: int = 0
    seed: int = 0
    patience_seconds: float = PATIENCE_SECONDS


class Session:
    """One demo. ``problems``: what does not add up, filled as it is found."""

    def __init__(
        self,
        options: DemoOptions,
        show: Show,
        broker: Broker,
        children: ChildProcesses,
        environment: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.problems: list[str] = []
        self._options = options
        self._show = show
        self._broker = broker
        self._children = children
        self._environment = environment
        self._folder = folder
        self._catalog = load_catalog(None)
        self._calls = Rate()
        self._totals = Totals()
        self._stats = SimulatorStats()
        self._dead_letter_count = 0
        self._sent = 0
        self._stop_publishing = threading.Event()
        self._running: Installation
        self._dead_letters: DeadLetters

    async def run(self) -> dict[str, Any] | None:
        """The report once all is settled; without ``exit_when_settled`` it goes on until it is cancelled.

        Raises:
            DemoFailed, KafkaAccessError: it cannot go on.
        """
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as http:
            self._running = Installation(self._broker, self._children, self._environment, self._folder, http)
            await self._start()
            self._introduce()
            seconds = await self._publish_and_watch()
            with self._show.step("Comparing counts, dead letters and rows"):
                found = await self._find(seconds)
            self._judge(found)
            if not self._options.exit_when_settled:
                await self._stay()
            return report(found)

    async def _start(self) -> None:
        with self._show.step("Creating topics, starting the simulator"):
            await self._running.create_topics()
            await self._running.start_simulator(fault_rules(self._options.fault_rate))
        number = self._options.workers
        with self._show.step(f"Starting {number} worker{'s' if number > 1 else ''}"):
            await self._running.start_workers(number, self._options.web_port)
        self._dead_letters = DeadLetters(self._running.kafka)

    def _introduce(self) -> None:
        running, rate = self._running, self._options.fault_rate
        self._show.facts(
            [
                *(("page" if n == 0 else "", f"{worker.client.url}/") for n, worker in enumerate(running.workers)),
                ("simulator", running.simulator.url),
                ("broker", self._broker.bootstrap_servers),
                ("logs", f"{self._folder}{os.sep}"),
                *([("faults", f"{rate:.1%} of all SOAP calls fail")] if rate else []),
            ]
        )
        if self._options.exit_when_settled:
            self._show.say("")
            return
        program = invocation(sys.argv[0], sys.executable, shutil.which("profile-sync"), Path.cwd())
        somebody = next(sample_events(1, self._options.seed)).consumer_id
        self._show.commands(lines_to_try(program, self._broker.bootstrap_servers, somebody))

    async def _publish_and_watch(self) -> float:
        """Returns when all is settled; the seconds from the first event until then."""
        began = time.monotonic()
        publishing = asyncio.ensure_future(asyncio.to_thread(self._publish))
        # Should something else end this first, nobody asks what became of it.
        publishing.add_done_callback(lambda done: done.cancelled() or done.exception())
        patience = Patience(self._options.patience_seconds)
        try:
            with self._show.watching():
                while True:
                    # Asked before looking: what was published after a look cannot have been seen by it.
                    published = publishing.result() if publishing.done() else None
                    answers = await self._look()
                    now = time.monotonic()
                    settled = published is not None and all_settled(published, answers)
                    self._show.update(self._snapshot(now), now, last=settled)
                    if settled:
                        return now - began
                    if patience.exhausted(now, (self._sent, self._totals.events)):
                        raise self._stuck()
                    await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._stop_publishing.set()

    def _publish(self) -> int:
        """In a thread of its own. The number of events that Kafka has."""

        def note(number: int) -> None:
            self._sent = number

        def until_stopped() -> Iterator[ProfileEvent]:
            for event in sample_events(self._options.events, self._options.seed):
                if self._stop_publishing.is_set():
                    return
                yield event

        result = publish_events(until_stopped(), self._running.kafka, on_sent=note)
        if result.rejected:
            first = result.rejected[0]
            raise DemoFailed(f"Kafka did not take {len(result.rejected)} of the events: {first.code}: {first.reason}")
        return result.published

    async def _look(self) -> Sequence[Totals | None]:
        """What every living worker says; notes what else is shown."""
        for child in self._running.newly_ended():
            code = child.exit_code or 0
            self._show.say(f"The {child.name} {how_it_ended(code)}; the others go on.", "bold red")
            self._show.log_tail(child.name, child.log_tail())
            if not ended_from_outside(code):
                self.problems.append(f"the {child.name} {how_it_ended(code)}")
        answers = await asyncio.gather(*(worker.client.totals() for worker in self._running.living()))
        try:
            self._stats = await self._running.simulator.stats()
            self._dead_letter_count = await asyncio.to_thread(self._dead_letters.count)
        except (aiohttp.ClientError, TimeoutError, KafkaAccessError):
            # Just ended, or too busy to answer: the next look tells.
            return [None]
        # The newest answer first: of two that are as far, it counts.
        self._totals = most_advanced([*answers, self._totals])
        return answers

    def _snapshot(self, now: float) -> Snapshot:
        rate = self._calls.observe(now, self._stats.calls)
        return Snapshot(self._options.events, self._sent, self._totals, self._dead_letter_count, self._stats, rate)

    def _stuck(self) -> DemoFailed:
        message = (
            f"Nothing was settled for {self._options.patience_seconds:g} s: {self._totals.events:,} of "
            f"{self._options.events:,} events are settled, {self._totals.parked:,} parked."
        )
        tails = [f"{worker.child.name}:\n{worker.child.log_tail()}" for worker in self._running.living()]
        return DemoFailed("\n".join([f"{message} The logs of the workers end with:", *tails]))

    async def _find(self, seconds: float) -> Findings:
        held = {entity: await self._running.simulator.rows(self._catalog[entity].customer_key) for entity in EntityType}
        dead_letters = await asyncio.to_thread(self._dead_letters.events)
        try:
            expected = await asyncio.to_thread(self._expect)
        except OutcomesUnreadable as error:
            raise DemoFailed(str(error)) from error
        return Findings(
            published=self._options.events,
            totals=self._totals,
            dead_letters=dead_letters,
            calls=self._stats.calls,
            seconds=seconds,
            rows=compare(expected, held, self._catalog),
            consumers_checked=len(expected.consumers),
            consumers_left_out=expected.left_out,
        )

    def _expect(self) -> Expectation:
        events, seed = self._options.events, self._options.seed
        consumers = {event.consumer_id for event in sample_events(events, seed)}
        outcome_of = read_outcomes(self._running.kafka, consumers, self._totals, events)
        return expect(published_events(events, seed, self._catalog), outcome_of, self._catalog)

    def _judge(self, found: Findings) -> None:
        self.problems += problems(found)
        self._show.say(
            f"{found.totals.events:,} of {found.published:,} events settled in {found.seconds:.1f} s by "
            f"{found.calls:,} SOAP calls."
        )
        left_out = f" ({found.consumers_left_out:,} with a failure not compared)" if found.consumers_left_out else ""
        self._show.say(f"{found.rows.checked:,} rows of {found.consumers_checked:,} consumers compared{left_out}.")
        for problem in self.problems:
            self._show.say(f"It does not add up: {problem}", "bold red")
        if not self.problems:
            self._show.say("Everything adds up.", "bold green")

    async def _stay(self) -> None:
        self._show.say("Ctrl-C ends it.\n", "bold")
        with self._show.watching():
            while True:
                await self._look()
                now = time.monotonic()
                self._show.update(self._snapshot(now), now)
                await asyncio.sleep(LOOK_SECONDS)
