"""Runs the scenario "repair": rows are refused, dead letters pile up, the cause is removed, a redrive settles them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from app.demo.clients import SimulatorClient
from app.demo.environment import lines_after_a_repair
from app.demo.installation import Installation
from app.demo.options import DemoOptions
from app.demo.processes import ChildProcess
from app.demo.repair_findings import (
    RepairFindings,
    overtaken_writes,
    repair_problems,
    repair_report,
    repair_summary,
)
from app.demo.repair_plan import RepairPlan, redrive_arguments, worker_variables
from app.demo.repair_story import LetterIncident, RepairLook, RepairStory, Step
from app.demo.scenario import Conclusion, ScenarioLook
from app.demo.show import Show
from app.flows.catalog import load_catalog
from app.profile.entities import EntityType
from app.profile.samples.samples import sample_events

# Requests at the same time. The simulator answers on one core.
_AT_ONCE = 10
# ServiceNow's number of the state.
_RESOLVED = "6"


class Repair:
    """Drives the repair and observes it from outside: the answers of workers and simulator, and the command's end."""

    name = "repair"
    publishing_seconds = 0.0
    pause_seconds = 0.0

    def __init__(self, options: DemoOptions, show: Show, running: Installation) -> None:
        self.open_letters: int | None = 0
        self._options = options
        self._show = show
        self._running = running
        self._plan = RepairPlan.of(list(sample_events(options.events, options.seed)))
        self._story = RepairStory(self._plan)
        self._customer_key = load_catalog(None)[EntityType.CONSUMER].customer_key
        self._command: ChildProcess | None = None
        self._example = ""

    @property
    def over(self) -> bool:
        """Whether the scenario has ended."""
        return self._story.over

    @property
    def may_publish(self) -> int:
        """How many of the sample events may be published so far."""
        return self._story.may_publish(self._options.events)

    def worker_variables(self) -> Mapping[str, str]:
        """Settings of the workers, in addition to those of every demo."""
        return worker_variables()

    async def advance(self, look: ScenarioLook, simulator: SimulatorClient) -> None:
        """Take one more look. Without an answer, the next look tries again."""
        try:
            seen = await self._observed(look, simulator)
            match self._story.step(seen):
                case Step.REFUSE:
                    await simulator.replace_faults(list(self._plan.faults(self._customer_key)))
                    self._show.say_at(look.now, self._story.refuse(seen), "bold red")
                case Step.CORRECT:
                    await simulator.replace_faults(())
                    self._command = self._running.start_command("redrive", redrive_arguments())
                    for text in self._story.correct(seen):
                        self._show.say_at(look.now, text, "bold green")
                case Step.NOTHING:
                    pass
        except (aiohttp.ClientError, TimeoutError):
            return
        for text in self._story.observe(seen):
            self._show.say_at(look.now, text)
        if self._story.redriven_at == look.now and self._story.exit_code and self._command is not None:
            self._show.log_tail(self._command.name, self._command.log_tail())

    async def conclude(self, simulator: SimulatorClient) -> Conclusion:
        """The result, once the scenario is over.

        Raises:
            aiohttp.ClientError, TimeoutError: the simulator did not answer.
        """
        incidents = await _incidents(simulator)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def overtaken(consumer: str) -> int:
            async with turns:
                calls = await simulator.calls(consumer)
            return overtaken_writes(call for call in calls if call["dataExtension"] == self._customer_key)

        found = RepairFindings(self._story, incidents, sum(await asyncio.gather(*map(overtaken, self._plan.consumers))))
        return Conclusion(repair_summary(found), repair_problems(found), repair_report(found), self._story.mended)

    def lines_to_try(self, program: str, broker: str, simulator: str) -> Sequence[str]:
        """Lines for another terminal."""
        return lines_after_a_repair(program, broker, simulator, self._example)

    async def _observed(self, look: ScenarioLook, simulator: SimulatorClient) -> RepairLook:
        totals = [answer for answer in look.answers if answer is not None and answer.complete]
        everyone = bool(totals) and len(totals) == len(look.answers)
        settled = everyone and not any(answer.parked for answer in totals)
        letters = await asyncio.gather(*(worker.client.dead_letters() for worker in self._running.living()))
        known = [one for one in letters if one is not None]
        self.open_letters = max((one.open for one in known), default=0) if len(known) == len(letters) else None
        self._example = next((one.example for one in known if one.example), self._example)
        return RepairLook(
            now=look.now,
            settled=min(answer.events for answer in totals) if settled else None,
            failed=max(answer.failed for answer in totals) if everyone else None,
            superseded=min(answer.superseded for answer in totals) if everyone else None,
            open=self.open_letters,
            all_settled=look.all_settled,
            incidents=await _incidents(simulator),
            exit_code=self._command.exit_code if self._command is not None else None,
            outcomes=await self._outcomes(),
        )

    async def _outcomes(self) -> Mapping[str, int]:
        """The dead letters of the task by outcome, as the most advanced worker knows them."""
        if self._command is None:
            return {}
        answers = await asyncio.gather(*(worker.client.tasks() for worker in self._running.living()))
        found: list[Mapping[str, Any]] = [task["outcomes"] for tasks in answers if tasks is not None for task in tasks]
        return max(found, key=lambda outcomes: sum(outcomes.values()), default={})


async def _incidents(simulator: SimulatorClient) -> list[LetterIncident]:
    """All incidents: in this scenario they can only be about the dead letters."""
    return [LetterIncident(found["number"], found["state"] == _RESOLVED) for found in await simulator.incidents()]
