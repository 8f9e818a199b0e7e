"""What a pipeline brings to a worker: its flow, and the accounts that its events go to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from app.delivery.pipeline import Pipeline
from app.engine.breaker import Breaker
from app.engine.flow import Flow
from app.flows.target_health import TargetHealth
from app.profile.entities import Catalog


class TargetAccount(Protocol):
    """One account of a target. Its failures do not affect the others."""

    @property
    def name(self) -> str: ...

    @property
    def breaker(self) -> Breaker: ...

    @property
    def health(self) -> TargetHealth: ...

    @property
    def is_throttled(self) -> bool: ...


class TargetAccounts(AbstractAsyncContextManager["TargetAccounts"], Protocol):
    """All accounts of a pipeline. Connections are open inside the ``async with`` block."""

    def __iter__(self) -> Iterator[TargetAccount]: ...

    @property
    def breakers(self) -> Mapping[str, Breaker]:
        """One for each name that ``Flow.target`` may return."""

    @property
    def calls_allowed(self) -> Mapping[str, float]:
        """How many calls may be in flight in each account at present."""

    @property
    def warnings(self) -> Sequence[str]:
        """Differences from the configuration, one line each."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A pipeline as a worker runs it.

    ``target``: where events go, for log and status. ``call_seconds``: the longest that a call may take; the group's
    session must outlast it. ``catalog``: the data extensions of all markets, if its
    events are about such.
    """

    pipeline: Pipeline
    target: str
    flow: Flow
    accounts: TargetAccounts
    call_seconds: float
    catalog: Catalog | None = None
