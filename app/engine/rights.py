"""Rights that this worker lacks at the moment.

The worker waits for a missing right, because a restart would not bring it. Kafka refuses every request that needs the
right, so a right that was not refused for a while is there again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError

log = structlog.get_logger(__name__)

# A task that waits for a right asks for it at least this often.
ASK_AGAIN_SECONDS = 1.0
# A refusal counts for several times the interval between two requests.
COUNTS_SECONDS = 6.0

# aiokafka's errors for a missing right; their arguments name the topics or the group.
REFUSALS = (TopicAuthorizationFailedError, GroupAuthorizationFailedError)


class Rights:
    """What is missing, in plain words. May be used from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._refused: dict[str, float] = {}

    def refused(self, right: str, on: str) -> None:
        """The broker refused something: ``refused("READ", "topic consumer-profiles")``."""
        name = f"the right {right} on {on} is missing"
        if self._is_new(name):
            remedy = "give this worker's user the ACL; work goes on by itself"
            log.error("a right on Kafka is missing; waiting for it", right=f"{right} on {on}", remedy=remedy)

    def note(self, error: KafkaError) -> None:
        """One of ``REFUSALS`` was raised."""
        what = "group" if isinstance(error, GroupAuthorizationFailedError) else "topic"
        for argument in error.args:
            for name in [argument] if isinstance(argument, str) else sorted(argument):
                self.refused("READ", f"{what} {name}")

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
        """What is missing now. Must be called regularly: this is where a right that came back is logged."""
        now = self._clock()
        with self._lock:
            back = [name for name, at in self._refused.items() if now - at > COUNTS_SECONDS]
            for name in back:
                del self._refused[name]
            missing = sorted(self._refused)
        for name in back:
            log.info("what was missing is there again", was=name)
        return missing
