"""What a scenario of the demo is: it publishes the sample events in its own time, breaks something, judges the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.demo.clients import SimulatorClient, Totals
from app.demo.progress import ProgressSnapshot


@dataclass(frozen=True, slots=True)
class ScenarioLook:
    """What the demo observed. ``now``: seconds since events began to flow. ``answers``: the totals of every worker.

    ``breakers``: worker -> whether its breaker is open, None if it did not answer. ``all_settled``: all sample events
    are published and settled.
    """

    now: float
    snapshot: ProgressSnapshot
    answers: Sequence[Totals | None]
    breakers: Mapping[str, bool | None]
    all_settled: bool


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How a scenario ended. ``problems``: one line for each promise that was not kept. ``report``: for the last line of
    ``demo --exit``. ``mended``: dead letters whose events count as synced or partial by now."""

    summary: str
    problems: Sequence[str]
    report: Mapping[str, Any] = field(default_factory=dict)
    mended: int = 0


class Scenario(Protocol):
    """One scenario. ``name``: also of its field in the report."""

    name: str
    # Publishing is spread evenly over this time; 0: as fast as Kafka accepts events.
    publishing_seconds: float
    # For this long nothing may be settled although nothing is stuck.
    pause_seconds: float

    @property
    def over(self) -> bool:
        """Whether it has ended."""

    @property
    def may_publish(self) -> int:
        """How many of the sample events may be published so far."""

    @property
    def open_letters(self) -> int | None:
        """The number of open dead letters; None: the scenario does not ask for them."""

    def worker_variables(self) -> Mapping[str, str]:
        """Settings of the workers, in addition to those of every demo."""

    async def advance(self, look: ScenarioLook, simulator: SimulatorClient) -> None:
        """Take one more look, and act if it is time to. Without an answer, the next look tries again."""

    async def conclude(self, simulator: SimulatorClient) -> Conclusion:
        """The result, once all events are settled and the scenario is over.

        Raises:
            KafkaAccessError, aiohttp.ClientError, TimeoutError: the broker or the simulator did not answer.
        """

    def lines_to_try(self, program: str, broker: str, simulator: str) -> Sequence[str]:
        """Lines for another terminal."""
