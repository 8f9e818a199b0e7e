"""Runs the scenario "outage": takes the target down, brings it back, and reports what can be observed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import islice

import aiohttp

from app.delivery.errors import CMT_OUTAGE
from app.demo.clients import SimulatorClient
from app.demo.dead_letters import DeadLetter, DeadLetters
from app.demo.faults import fault_rules
from app.demo.options import DemoOptions
from app.demo.outage_findings import OutageFindings, given_up_in_outage
from app.demo.outage_plan import OutagePlan, outage_rules
from app.demo.outage_story import OutageIncident, OutageLook, OutageStory
from app.demo.progress import ProgressSnapshot
from app.demo.show import Show
from app.kafka.admin import KafkaAccessError
from app.profile.samples.samples import sample_events


class Outage:
    """Drives the outage and observes it from outside: the answers of workers and simulator, and the dead letters."""

    def __init__(self, options: DemoOptions, show: Show, dead_letters: DeadLetters) -> None:
        self.plan = OutagePlan(options.outage_seconds)
        self._options = options
        self._show = show
        self._dead_letters = dead_letters
        self._story = OutageStory(self.plan, options.events / self.plan.publishing_seconds)
        self._incidents: tuple[OutageIncident, ...] = ()
        self._published_before = 0
        # The ends of the dead-letter topic when the outage began and when it was over.
        self._from: Mapping[int, int] = {}
        self._to: Mapping[int, int] | None = None

    @property
    def over(self) -> bool:
        """Whether the scenario has ended."""
        return self._story.over

    async def advance(
        self,
        now: float,
        snapshot: ProgressSnapshot,
        breakers: Mapping[str, bool | None],
        all_settled: bool,
        simulator: SimulatorClient,
    ) -> None:
        """Take one more look. ``now``: seconds since events began to flow. Without an answer, the next look retries."""
        try:
            self._incidents = await _incidents(simulator)
            look = OutageLook(
                now=now,
                settled=snapshot.totals.events,
                waiting=snapshot.waiting,
                all_settled=all_settled,
                breakers=breakers,
                dead_letters=snapshot.dead_letters,
                incidents=self._incidents,
            )
            await self._act(look, snapshot.sent, simulator)
            for text in self._story.observe(look):
                self._tell(now, text)
            if self._story.closed_at is not None and self._to is None:
                self._to = await asyncio.to_thread(self._dead_letters.ends)
        except (aiohttp.ClientError, TimeoutError, KafkaAccessError):
            return

    async def findings(self, simulator: SimulatorClient) -> OutageFindings:
        """The result, once all events are settled.

        Raises:
            KafkaAccessError, aiohttp.ClientError, TimeoutError: the broker or the simulator did not answer.
        """
        letters: Sequence[DeadLetter] = ()
        if self._story.began_at is not None:
            letters = await asyncio.to_thread(self._dead_letters.read, self._from, self._to)
        incidents = await _incidents(simulator)
        return OutageFindings(self._story, given_up_in_outage(letters), len(incidents))

    def waiting_consumer(self) -> str:
        """A consumer with an event that was published during the outage; before the outage, the first consumer."""
        events = sample_events(self._options.events, self._options.seed)
        return next(islice(events, min(self._published_before, self._options.events - 1), None)).consumer_id

    async def _act(self, look: OutageLook, published: int, simulator: SimulatorClient) -> None:
        if self._story.due_to_begin(look):
            self._from = await asyncio.to_thread(self._dead_letters.ends)
            # The other fault rules are removed: they could fire first, and some of them send answers.
            await simulator.replace_faults(outage_rules())
            self._published_before = published
            self._tell(look.now, self._story.begin(look), "bold red")
        elif self._story.due_to_end(look):
            await simulator.replace_faults(fault_rules(self._options.fault_rate))
            self._tell(look.now, self._story.end(look), "bold green")

    def _tell(self, now: float, text: str, style: str = "bold") -> None:
        self._show.say(f"{now:6.1f} s  {text}", style)


async def _incidents(simulator: SimulatorClient) -> tuple[OutageIncident, ...]:
    """The incidents about an outage."""
    return tuple(
        OutageIncident(found["number"], any(note.startswith("Over since") for note in found["work_notes"]))
        for found in await simulator.incidents()
        if CMT_OUTAGE.code in found.get("correlation_id", "").split(":")
    )
