"""Runs the scenario "outage": takes the target down, brings it back, and reports what can be observed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import islice

import aiohttp

from app.delivery.errors import CMT_OUTAGE
from app.demo.clients import SimulatorClient
from app.demo.dead_letters import DeadLetter, DeadLetters
from app.demo.environment import lines_after_an_outage
from app.demo.faults import fault_rules
from app.demo.options import DemoOptions
from app.demo.outage_findings import (
    OutageFindings,
    given_up_in_outage,
    outage_problems,
    outage_report,
    outage_summary,
)
from app.demo.outage_plan import OutagePlan, outage_rules
from app.demo.outage_story import OutageIncident, OutageLook, OutageStory
from app.demo.scenario import Conclusion, ScenarioLook
from app.demo.show import Show
from app.kafka.admin import KafkaAccessError
from app.profile.samples.samples import sample_events


class Outage:
    """Drives the outage and observes it from outside: the answers of workers and simulator, and the dead letters."""

    name = "outage"
    open_letters = None

    def __init__(self, options: DemoOptions, show: Show, dead_letters: DeadLetters) -> None:
        self._plan = OutagePlan(options.outage_seconds)
        # Events flow before, during and after the outage, and nothing is settled while the target is down.
        self.publishing_seconds = self._plan.publishing_seconds
        self.pause_seconds = self._plan.seconds
        self.may_publish = options.events
        self._options = options
        self._show = show
        self._dead_letters = dead_letters
        self._story = OutageStory(self._plan, options.events / self.publishing_seconds)
        self._incidents: tuple[OutageIncident, ...] = ()
        self._published_before = 0
        # The ends of the dead-letter topic when the outage began and when it was over.
        self._from: Mapping[int, int] = {}
        self._to: Mapping[int, int] | None = None

    @property
    def over(self) -> bool:
        """Whether the scenario has ended."""
        return self._story.over

    def worker_variables(self) -> Mapping[str, str]:
        """Settings of the workers, in addition to those of every demo."""
        return self._plan.worker_variables()

    async def advance(self, look: ScenarioLook, simulator: SimulatorClient) -> None:
        """Take one more look. Without an answer, the next look tries again."""
        try:
            self._incidents = await _incidents(simulator)
            seen = OutageLook(
                now=look.now,
                settled=look.snapshot.totals.events,
                waiting=look.snapshot.waiting,
                all_settled=look.all_settled,
                breakers=look.breakers,
                dead_letters=look.snapshot.dead_letters,
                incidents=self._incidents,
            )
            await self._act(seen, look.snapshot.sent, simulator)
            for text in self._story.observe(seen):
                self._show.say_at(look.now, text)
            if self._story.closed_at is not None and self._to is None:
                self._to = await asyncio.to_thread(self._dead_letters.ends)
        except (aiohttp.ClientError, TimeoutError, KafkaAccessError):
            return

    async def conclude(self, simulator: SimulatorClient) -> Conclusion:
        """The result, once all events are settled.

        Raises:
            KafkaAccessError, aiohttp.ClientError, TimeoutError: the broker or the simulator did not answer.
        """
        letters: Sequence[DeadLetter] = ()
        if self._story.began_at is not None:
            letters = await asyncio.to_thread(self._dead_letters.read, self._from, self._to)
        incidents = await _incidents(simulator)
        found = OutageFindings(self._story, given_up_in_outage(letters), len(incidents))
        return Conclusion(outage_summary(found), outage_problems(found), outage_report(found))

    def lines_to_try(self, program: str, broker: str, simulator: str) -> Sequence[str]:
        """Lines for another terminal."""
        return lines_after_an_outage(program, broker, simulator, self._waiting_consumer())

    def _waiting_consumer(self) -> str:
        """A consumer with an event that was published during the outage; before the outage, the first consumer."""
        events = sample_events(self._options.events, self._options.seed)
        return next(islice(events, min(self._published_before, self._options.events - 1), None)).consumer_id

    async def _act(self, look: OutageLook, published: int, simulator: SimulatorClient) -> None:
        if self._story.due_to_begin(look):
            self._from = await asyncio.to_thread(self._dead_letters.ends)
            # The other fault rules are removed: they could fire first, and some of them send answers.
            await simulator.replace_faults(outage_rules())
            self._published_before = published
            self._show.say_at(look.now, self._story.begin(look), "bold red")
        elif self._story.due_to_end(look):
            await simulator.replace_faults(fault_rules(self._options.fault_rate))
            self._show.say_at(look.now, self._story.end(look), "bold green")


async def _incidents(simulator: SimulatorClient) -> tuple[OutageIncident, ...]:
    """The incidents about an outage."""
    return tuple(
        OutageIncident(found["number"], any(note.startswith("Over since") for note in found["work_notes"]))
        for found in await simulator.incidents()
        if CMT_OUTAGE.code in found.get("correlation_id", "").split(":")
    )
