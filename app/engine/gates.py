"""Kinds of events that cannot run for now, because a right is missing that every event of the kind needs.

These events are parked without an attempt. One of a kind is let through now and then. If it gets through, the gate
opens for all of them. Events of other kinds do not wait. Used from the event loop's thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from app.engine.breaker import Breaker


class Gates:
    """The gates that are shut, by target and kind of event.

    Args:
        probe_seconds: how often one event of a kind is let through.
        clock: monotonic seconds.
    """

    def __init__(self, probe_seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._probe_seconds = probe_seconds
        self._clock = clock
        self._shut: dict[tuple[str, str], Breaker] = {}

    def __bool__(self) -> bool:
        return bool(self._shut)

    def of(self, target: str, kind: str) -> Breaker | None:
        """The gate that an event has to pass; None: there is none."""
        return self._shut.get((target, kind))

    def shut(self, target: str, kind: str) -> None:
        """An event of this kind cannot run."""
        gate = self._shut.get((target, kind))
        if gate is None:
            gate = self._shut[target, kind] = Breaker(1, self._probe_seconds, clock=self._clock)
        gate.trip()

    def reopen(self, target: str, kind: str) -> None:
        """An event of this kind had the right that it needs."""
        if (gate := self._shut.pop((target, kind), None)) is not None:
            gate.succeeded()

    def shut_since(self, target: str) -> float | None:
        """Since when events of a target have waited for a right; None: none waits."""
        since = [gate.failing_since for (name, _), gate in self._shut.items() if name == target]
        return min((moment for moment in since if moment is not None), default=None)
