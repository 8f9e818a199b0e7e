"""What this worker may not do at the moment: rights that were refused, until they are not refused any more.

A right that is missing is waited for: a restart would not bring it. Kafka says no to each request anew, so what was not
refused for a while is there again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

# Whoever waits for a right asks for it at least this often.
ASK_AGAIN_SECONDS = 1.0
# A refusal counts for so long: several times as long as it takes to ask again.
COUNTS_SECONDS = 6.0


class Rights:
    """What is missing, in plain words. From any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._refused: dict[str, float] = {}

    def refused(self, right: str, on: str) -> None:
        """The broker does not let us: ``refused("READ", "topic consumer-profiles")``."""
        name = f"the right {right} on {on} is missing"
        if self._is_new(name):
            remedy = "give this worker's user the ACL; work goes on by itself"
            log.error("a right is missing; waiting for it", right=f"{right} on {on}", remedy=remedy)

    def absent(self, topic: str) -> None:
        """No broker knows the topic."""
        name = f"topic {topic} does not exist"
        if self._is_new(name):
            remedy = "profile-sync topics check says what belongs there; nothing is skipped meanwhile"
            log.error("a topic is gone; waiting for it", topic=topic, remedy=remedy)

    def _is_new(self, name: str) -> bool:
        with self._lock:
            known, self._refused[name] = name in self._refused, self._clock()
        return not known

    def missing(self) -> list[str]:
        """What is missing now; asked every now and then, or what came back is not logged."""
        now = self._clock()
        with self._lock:
            back = [name for name, at in self._refused.items() if now - at > COUNTS_SECONDS]
            for name in back:
                del self._refused[name]
            missing = sorted(self._refused)
        for name in back:
            log.info("what was missing is there again", was=name)
        return missing
