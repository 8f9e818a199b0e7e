"""How fast the tasks of operators go on one partition. No I/O."""

from __future__ import annotations

from app.delivery.operator_task import OperatorTask

# Without a rate, or after a pause, this many dead letters may be begun at once.
BURST_SECONDS = 0.5
UNLIMITED = 1_000_000


class TaskPace:
    """The rate of a task is for all partitions together. Each partition with dead letters of the task takes an equal
    share, so no owner must ask another one.

    Args:
        partitions: of the main topic.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = max(1, partitions)
        self._tokens: dict[str, tuple[float, float]] = {}  # task -> (dead letters that may be begun, as of)

    def allowed(self, task: OperatorTask, now: float) -> int:
        """How many dead letters of a task may be begun now; ``now``: monotonic seconds."""
        if task.rate is None:
            return UNLIMITED
        share = task.rate / max(1, min(self._partitions, len(task.matched) or self._partitions))
        tokens, since = self._tokens.get(task.id, (1.0, now))
        tokens = min(tokens + share * (now - since), max(1.0, share * BURST_SECONDS))
        self._tokens[task.id] = tokens, now
        return int(tokens)

    def took(self, task: OperatorTask, number: int) -> None:
        """This many were begun."""
        if task.id in self._tokens:
            tokens, since = self._tokens[task.id]
            self._tokens[task.id] = tokens - number, since
