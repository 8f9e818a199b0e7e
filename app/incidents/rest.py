"""How long the ticket system is left alone after a request failed."""

from __future__ import annotations

import random
from collections.abc import Callable

from app.delivery.backoff import delay_seconds
from app.incidents.tickets import TicketError

# Between two tries while the ticket system is in trouble.
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 60.0


class Rest:
    """Grows with every failure in a row. ``clock``: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._until = float("-inf")

    @property
    def is_over(self) -> bool:
        """Whether requests may be sent again."""
        return self._clock() >= self._until

    def failed(self, error: TicketError) -> float:
        """A request failed: the seconds to wait, at least those that the ticket system asks for."""
        self._failures += 1
        jitter = random.random()  # noqa: S311 - spreads load, guards nothing
        wait = max(delay_seconds(self._failures, BACKOFF_FIRST, BACKOFF_MOST, jitter), error.retry_after or 0.0)
        self._until = self._clock() + wait
        return wait

    def answered(self) -> None:
        """A request got through."""
        self._failures = 0
        self._until = float("-inf")
