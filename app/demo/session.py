"""The demo on a running broker: starts the rest, publishes, waits until all is settled, and checks the result."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from app.broker.sources import Broker
from app.demo.clients import TIMEOUT_SECONDS, SimulatorStats, Totals
from app.demo.dead_letters import DeadLetters
from app.demo.environment import command_to_run, lines_to_try
from app.demo.failed import DemoFailed
from app.demo.faults import fault_rules
from app.demo.installation import Installation
from app.demo.options import DemoOptions
from app.demo.outage import Outage
from app.demo.processes import ChildProcesses, describe_exit, ended_on_purpose
from app.demo.progress import Patience, ProgressSnapshot, Rate, all_settled, most_advanced
from app.demo.publishing import Publishing
from app.demo.repair import Repair
from app.demo.scenario import Conclusion, Scenario, ScenarioLook
from app.demo.show import Show
from app.demo.totals import Findings, problems, report
from app.demo.verification import verify
from app.flows.catalog import load_catalog
from app.kafka.admin import KafkaAccessError
from app.profile.samples.samples import sample_events

LOOK_SECONDS = 0.5


class Session:
    """One demo. ``problems``: what does not add up so far."""

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
        self._folder = folder
        self._running = Installation(broker, children, environment, folder)
        self._dead_letters = DeadLetters(self._running.kafka, self._running.pipeline)
        self._calls = Rate()
        self._stats = SimulatorStats()
        self._totals = Totals()
        self._dead_letter_count = 0
        self._breakers: dict[str, bool | None] = {}
        self._sent = 0
        self._scenario = self._chosen_scenario()

    async def run(self) -> dict[str, Any]:
        """Run until all is settled, and return the report. Without ``exit_when_settled``, go on until cancelled.

        Raises:
            DemoFailed, KafkaAccessError: the demo cannot go on.
        """
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as http:
            try:
                return await self._run(http)
            except (aiohttp.ClientError, TimeoutError) as error:
                self._running.newly_ended()  # raises a better error if the simulator has ended
                raise DemoFailed(f"The simulator does not answer ({type(error).__name__}).") from error

    async def _run(self, http: aiohttp.ClientSession) -> dict[str, Any]:
        options = self._options
        with self._show.step("Creating topics, starting the simulator"):
            await self._running.create_topics()
            await self._running.start_simulator(http, fault_rules(options.fault_rate))
        with self._show.step(f"Starting {options.workers} worker{'s' if options.workers > 1 else ''}"):
            variables = self._scenario.worker_variables() if self._scenario is not None else {}
            await self._running.start_workers(http, options.workers, options.web_port, variables)
        self._introduce()
        seconds = await self._publish_and_watch()
        with self._show.step("Comparing counts, dead letters and rows"):
            found = await verify(
                options.events,
                options.seed,
                self._totals,
                seconds,
                kafka=self._running.kafka,
                pipeline=self._running.pipeline,
                catalog=load_catalog(None),
                simulator=self._running.simulator,
                dead_letters=self._dead_letters,
            )
            ended = None if self._scenario is None else await self._scenario.conclude(self._running.simulator)
        self._judge(found, ended)
        if not options.exit_when_settled:
            await self._stay()
        scenario = self._scenario
        return report(found) | ({scenario.name: ended.report} if scenario is not None and ended is not None else {})

    def _chosen_scenario(self) -> Scenario | None:
        match self._options.scenario:
            case "outage":
                return Outage(self._options, self._show, self._dead_letters)
            case "repair":
                return Repair(self._options, self._show, self._running)
            case _:
                return None

    def _introduce(self) -> None:
        running, rate = self._running, self._options.fault_rate
        self._show.facts(
            [
                *(("page" if n == 0 else "", f"{worker.client.url}/") for n, worker in enumerate(running.workers)),
                ("simulator", running.simulator.url),
                ("broker", self._broker.bootstrap_servers),
                ("logs", f"{self._folder}{os.sep}"),
                *([("faults", f"{rate * 100:g} % of all SOAP calls fail")] if rate else []),
            ]
        )
        if self._scenario is not None and self._options.exit_when_settled:
            self._show.commands(self._lines_to_try(), "While it runs, in another terminal:")
        elif self._scenario is not None or self._options.exit_when_settled:
            self._show.say("")
        else:
            self._show.commands(self._lines_to_try())

    def _lines_to_try(self) -> Sequence[str]:
        program = command_to_run(sys.argv[0], sys.executable, shutil.which("profile-sync"), Path.cwd())
        broker = self._broker.bootstrap_servers
        if self._scenario is not None:
            return self._scenario.lines_to_try(program, broker, self._running.simulator.url)
        first_consumer = next(sample_events(1, self._options.seed)).consumer_id
        return lines_to_try(program, broker, first_consumer)

    async def _publish_and_watch(self) -> float:
        """Publish the events and wait until all are settled; returns the seconds that this took."""
        began = time.monotonic()
        options, scenario = self._options, self._scenario
        publishing = Publishing(
            self._running.kafka,
            self._running.pipeline.topic,
            options.events,
            options.seed,
            scenario.publishing_seconds if scenario is not None else 0.0,
            scenario.may_publish if scenario is not None else None,
        )
        patience = Patience(options.patience_seconds + (scenario.pause_seconds if scenario is not None else 0.0))
        try:
            with self._show.watching():
                while True:
                    # Read before the look: events that are published after a look are not part of it.
                    published = publishing.published()
                    answers = await self._look()
                    self._sent = publishing.sent
                    now = time.monotonic()
                    settled = published is not None and all_settled(published, answers)
                    snapshot = self._snapshot(now)
                    if scenario is not None:
                        look = ScenarioLook(now - began, snapshot, answers, self._breakers, settled)
                        await scenario.advance(look, self._running.simulator)
                        publishing.allow(scenario.may_publish)
                        settled = settled and scenario.over
                    self._show.update(snapshot, now, last=settled)
                    if settled:
                        return now - began
                    if patience.exhausted(now, (self._sent, self._totals.events, self._totals.failed)):
                        raise self._stuck()
                    await asyncio.sleep(LOOK_SECONDS)
        finally:
            publishing.stop()

    async def _look(self) -> Sequence[Totals | None]:
        """The totals of every running worker. Also updates the displayed values, and reports workers that ended."""
        for child in self._running.newly_ended():
            code = child.exit_code or 0
            self._show.say(f"The {child.name} {describe_exit(code)}; the others go on.", "bold red")
            self._show.log_tail(child.name, child.log_tail())
            if not ended_on_purpose(code):
                self.problems.append(f"the {child.name} {describe_exit(code)}")
        workers = self._running.living()
        answers, breakers = await asyncio.gather(
            asyncio.gather(*(worker.client.totals() for worker in workers)),
            asyncio.gather(*(worker.client.breaker_open() for worker in workers)),
        )
        self._breakers = {worker.child.name: is_open for worker, is_open in zip(workers, breakers, strict=True)}
        try:
            self._stats = await self._running.simulator.stats()
            self._dead_letter_count = await asyncio.to_thread(self._dead_letters.count)
        except (aiohttp.ClientError, TimeoutError, KafkaAccessError):
            return [None]  # the simulator or the broker has ended or is busy; the next look shows which
        # The new answers come first, so that they win against the old totals with as many events.
        self._totals = most_advanced([*answers, self._totals])
        return answers

    def _snapshot(self, now: float) -> ProgressSnapshot:
        rate = self._calls.observe(now, self._stats.calls)
        return ProgressSnapshot(
            wanted=self._options.events,
            sent=self._sent,
            totals=self._totals,
            dead_letters=self._dead_letter_count,
            stats=self._stats,
            calls_per_second=rate,
            breakers_open=self._breakers_open,
            backlog=self._options.scenario == "outage",
            open_letters=self._scenario.open_letters if self._scenario is not None else None,
        )

    @property
    def _breakers_open(self) -> int:
        return sum(is_open is True for is_open in self._breakers.values())

    def _stuck(self) -> DemoFailed:
        message = (
            f"Nothing was settled for {self._options.patience_seconds:g} s: {self._totals.events:,} of "
            f"{self._options.events:,} events are settled, {self._totals.parked:,} parked."
        )
        if self._breakers_open:
            message += " The circuit breaker is open: so many faults count as an outage, and events wait for its end."
        tails = [f"{worker.child.name}:\n{worker.child.log_tail()}" for worker in self._running.living()]
        return DemoFailed("\n".join([f"{message} The logs of the workers end with:", *tails]))

    def _judge(self, found: Findings, ended: Conclusion | None) -> None:
        self.problems += problems(found, ended.mended if ended is not None else 0)
        self._show.say(
            f"\n{found.totals.events:,} of {found.published:,} events settled in {found.seconds:.1f} s by "
            f"{found.calls:,} SOAP calls."
        )
        left_out = f" ({found.consumers_left_out:,} with a failure not compared)" if found.consumers_left_out else ""
        self._show.say(f"{found.rows.checked:,} rows of {found.consumers_checked:,} consumers compared{left_out}.")
        if ended is not None:
            self.problems += ended.problems
            self._show.say(ended.summary)
        for problem in self.problems:
            self._show.say(f"It does not add up: {problem}.", "bold red")
        if not self.problems:
            self._show.say("Everything adds up.", "bold green")

    async def _stay(self) -> None:
        if self._scenario is not None:
            self._show.commands(self._lines_to_try())
        self._show.say("Press Ctrl-C to end the demo.\n", "bold")
        with self._show.watching():
            began = time.monotonic()
            while True:
                answers = await self._look()
                now = time.monotonic()
                snapshot = self._snapshot(now)
                if self._scenario is not None:
                    look = ScenarioLook(now - began, snapshot, answers, self._breakers, all_settled=True)
                    await self._scenario.advance(look, self._running.simulator)
                self._show.update(snapshot, now)
                await asyncio.sleep(LOOK_SECONDS)
