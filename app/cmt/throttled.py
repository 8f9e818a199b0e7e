"""A throttled call: how long it waits before it is sent again, and when it is given up. Pure.

Throttling concerns the account, not the event. If every other call is throttled, an event with 30 calls never gets
through in one attempt. So the call is repeated within the attempt.
"""

from __future__ import annotations

import math

# The wait grows from the first to the longest, and about half of it is random. It doubles each time while no call gets
# through. While others do, it takes TIMES_TO_DOUBLE times to double.
FIRST_SECONDS, MOST_SECONDS = 1.0, 60.0
TIMES_TO_DOUBLE = 3
# A call may wait longer than asked for by this share, so that not all calls are sent again at the same moment.
SPREAD = 0.1


def wait_seconds(doublings: float, retry_after: float | None, fraction: float) -> float:
    """Seconds to wait: the first wait, doubled ``doublings`` times. ``fraction`` in [0, 1) is random.

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
        patience: seconds after which the call is given up, if others get through meanwhile.
        now: monotonic seconds.
        answered: good answers to calls of the account until now.
    """

    def __init__(self, patience: float, now: float, answered: int) -> None:
        self._patience = patience
        self._since = now
        self._answered = self._answered_last = answered
        self._doublings: float | None = None

    def again(self, now: float, answered: int, retry_after: float | None, fraction: float) -> float | None:
        """Seconds to wait before the call is sent again; None: it was throttled too long while others got through."""
        if now - self._since > self._patience and answered > self._answered:
            return None
        if self._doublings is None:
            self._doublings = 0.0
        else:
            self._doublings += 1 if answered == self._answered_last else 1 / TIMES_TO_DOUBLE
        self._answered_last = answered
        return wait_seconds(self._doublings, retry_after, fraction)
