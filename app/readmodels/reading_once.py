"""For a command: wait until the read models have read everything."""

from __future__ import annotations

import time

from app.readmodels.models import ReadModels, ReadModelUnavailable

# Some ten thousand consumers are read per second. What takes longer than a minute is a fault, not a large topic.
PATIENCE_SECONDS = 60.0
# A fault that lasts this long is reported at once: a broker that is away, a topic that does not exist.
TROUBLE_SECONDS = 8.0
_LOOK_SECONDS = 0.02


def wait_until_caught_up(models: ReadModels) -> None:
    """Return when the answers hold everything that stands in the topics now.

    Raises:
        ReadModelUnavailable: the topics cannot be read; says why.
    """
    started = time.monotonic()
    while not models.caught_up():
        waited, trouble = time.monotonic() - started, models.trouble()
        if trouble is not None and waited > TROUBLE_SECONDS:
            raise ReadModelUnavailable(trouble)
        if waited > PATIENCE_SECONDS:
            raise ReadModelUnavailable(
                trouble or f"the state topics could not be read within {PATIENCE_SECONDS:g} s; try again"
            )
        time.sleep(_LOOK_SECONDS)
