"""A throttled call: how long it waits before it is sent again, and when it is left to its event. Pure.

Throttling is the account's affair, not the event's: 30 calls of which every other one is throttled would never get
through as a whole. So a throttled call is repeated where it stands.
"""

from __future__ import annotations

import math

# The wait grows from the first to the last, and at least half of it is kept. It doubles while nobody gets through;
# while others do, it takes so many times to double.
FIRST_SECONDS, MOST_SECONDS = 1.0, 60.0
TIMES_TO_DOUBLE = 3
# How much longer than asked for a call may wait, so that not all come back at the same moment.
SPREAD = 0.1


def wait_seconds(doublings: float, retry_after: float | None, fraction: float) -> float:
    """Seconds to wait; ``doublings`` of the first wait, ``fraction`` in [0, 1) is random.

    >>> [wait_seconds(doublings, None, 0.0) for doublings in (0, 1, 2, 3, 60)]
    [1.0, 1.0, 2.0, 4.0, 30.0]
    >>> [wait_seconds(doublings, None, 1.0) for doublings in (0, 1, 2, 3, 60)]
    [1.5, 2.0, 4.0, 8.0, 60.0]
    >>> wait_seconds(0, 30.0, 0.5)
    31.5
    """
    if retry_after is not None and retry_after >= FIRST_SECONDS:
        return retry_after * (1 + SPREAD * fraction)
    step = min(FIRST_SECONDS * math.pow(2.0, min(doublings, 16.0)), MOST_SECONDS)
    return max(step / 2, FIRST_SECONDS) + (step / 2) * fraction


class Throttled:
    """One call, from its first throttled answer on.

    Args:
        patience: seconds after which the call is left to its event, if others get through meanwhile.
        now: monotonic seconds.
        answered: good answers to calls of the account until now.
    """

    def __init__(self, patience: float, now: float, answered: int) -> None:
        self._patience = patience
        self._since = now
        self._answered = self._answered_last = answered
        self._doublings: float | None = None

    def again(self, now: float, answered: int, retry_after: float | None, fraction: float) -> float | None:
        """Seconds to wait before the call is sent again; None: it is throttled for too long while others are not."""
        if now - self._since > self._patience and answered > self._answered:
            return None
        if self._doublings is None:
            self._doublings = 0.0
        else:
            self._doublings += 1 if answered == self._answered_last else 1 / TIMES_TO_DOUBLE
        self._answered_last = answered
        return wait_seconds(self._doublings, retry_after, fraction)
