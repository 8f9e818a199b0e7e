"""How long each offset has been suspicious. An offset that stays suspicious has stalled. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from app.delivery.record import TopicPartition


@dataclass(frozen=True, slots=True)
class Suspect:
    """One offset that seems forgotten, and why it seems so."""

    tp: TopicPartition
    offset: int
    why: str


class Stalls:
    """Remembers since when each offset is suspicious.

    Args:
        patience: seconds after which a suspect counts as stalled, and then again after each such time.
        clock: monotonic seconds.
    """

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._clock = clock
        self._since: dict[Suspect, float] = {}
        self._due: dict[Suspect, float] = {}

    def look(self, suspects: Collection[Suspect]) -> list[Suspect]:
        """Note what is suspicious now. Returns what has stalled, lowest offsets first."""
        now = self._clock()
        self._since = {suspect: self._since.get(suspect, now) for suspect in suspects}
        self._due = {suspect: self._due.get(suspect, now + self._patience) for suspect in suspects}
        stalled = sorted((s for s, due in self._due.items() if due <= now), key=lambda s: (s.tp, s.offset))
        for suspect in stalled:
            self._due[suspect] = now + self._patience
        return stalled

    @property
    def seconds(self) -> float:
        """For how long the oldest suspect has been suspicious; 0: there is none."""
        return self._clock() - min(self._since.values()) if self._since else 0.0
