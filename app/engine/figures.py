"""What a worker's metrics show of the partitions that it owns."""

from __future__ import annotations

from collections import Counter

from app.engine.context import now_ms
from app.engine.ownership import Ownership


class Figures:
    """The figures of the partitions owned now, computed when they are asked for."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership

    def parked_consumers(self) -> float:
        """Consumers whose events wait in the retry topic."""
        return float(sum(len(partition.parked) for partition in self._ownership.partitions.values()))

    def oldest_parked_seconds(self) -> float:
        """Time since the first failure of the longest-parked event."""
        failed = [
            entry.first_failed_ms
            for partition in self._ownership.partitions.values()
            for entry in partition.journal.state.parked.values()
            if entry.attempts
        ]
        return max(0.0, (now_ms() - min(failed)) / 1000) if failed else 0.0

    def open_dead_letters(self) -> dict[str, float]:
        """Dead letters that are neither redriven nor discarded yet, by reason."""
        found: Counter[str] = Counter()
        for partition in self._ownership.partitions.values():
            found.update(partition.journal.state.dead_letters)
        return {reason: float(count) for reason, count in found.items()}
