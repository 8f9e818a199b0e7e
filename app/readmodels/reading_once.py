"""For a command: wait until the read models have read everything, as long as they come further."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from app.readmodels.models import ReadModels
from app.readmodels.unavailable import ReadModelUnavailable

# A million records take minutes. But when none comes for this long, something is wrong.
STALL_SECONDS = 60.0
# A fault that lasts this long is reported: a broker that is away, a topic that does not exist.
TROUBLE_SECONDS = 8.0
_LOOK_SECONDS = 0.02


def wait_until_caught_up(
    models: ReadModels,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    patience_seconds: float = math.inf,
) -> None:
    """Return when the answers hold everything that stands in the topics now.

    Args:
        on_progress: called with the number of records read, and of those to read.
        patience_seconds: how long to wait although it comes further.

    Raises:
        ReadModelUnavailable: the topics cannot be read, or not in this time; says why.
    """
    began = time.monotonic()
    seen, since = (-1, -1), began
    while not models.caught_up():
        now = time.monotonic()
        if (reading := models.reading()) != seen:
            seen, since = reading, now
            if on_progress is not None:
                on_progress(*seen)
        waited, trouble = now - since, models.trouble()
        if trouble is not None and waited > TROUBLE_SECONDS:
            raise ReadModelUnavailable(trouble)
        if waited > STALL_SECONDS:
            raise ReadModelUnavailable(
                trouble
                or f"no record of the state topics arrived for {STALL_SECONDS:g} s, after {seen[0]:,} of {seen[1]:,}; "
                "try again"
            )
        if now - began > patience_seconds:
            raise ReadModelUnavailable(trouble or f"read {seen[0]:,} of {seen[1]:,} records in {patience_seconds:g} s")
        time.sleep(_LOOK_SECONDS)
    if on_progress is not None:
        on_progress(*models.reading())
