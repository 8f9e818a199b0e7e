"""Why the read models get nothing new, and one log line for each change of that reason."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from confluent_kafka import KafkaError, KafkaException

log = structlog.stdlib.get_logger(__name__)

# A failed try counts for this long if the fault is ours: the follower connects, reads and fails again at each try.
BROKEN_FOR_SECONDS = 10.0
# A worker creates missing topics when it starts, so a missing topic is logged only after this time.
MADE_SECONDS = 10.0

# Different errors for the same trouble: no broker can be reached.
_AWAY = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.LEADER_NOT_AVAILABLE,
}


class FollowerTrouble:
    """What keeps the follower from following ``topics``. Written by its thread, read by all others."""

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)
        self._text: str | None = "not started"
        self._is_own = False
        self._logged_kind: str | None = self._text
        # The last trouble of our own: when (monotonic seconds) and what.
        self._own: tuple[float, str] | None = None
        self._missing_since = 0.0

    @property
    def text(self) -> str | None:
        """Why nothing new arrives, in plain words; None while following."""
        return self.own() or self._text

    @property
    def is_own(self) -> bool:
        """Whether the trouble lies in the file or in this program, not in Kafka."""
        return self._is_own or self.own() is not None

    def own(self) -> str | None:
        """Why the file cannot be written or this program cannot follow, if a try failed just now for that reason."""
        own = self._own
        return own[1] if own is not None and time.monotonic() - own[0] < BROKEN_FOR_SECONDS else None

    def connecting(self) -> None:
        """Note that the follower's thread starts."""
        self._text = "not connected yet"

    def missing(self, topic: str) -> None:
        """Report that a topic does not exist."""
        self._missing_since = self._missing_since or time.monotonic()
        self._text, self._is_own = f"topic {topic} does not exist; `profile-sync topics create` creates it", False
        if time.monotonic() - self._missing_since >= MADE_SECONDS:
            self._log(self._text)

    def report(
        self, text: str, cause: BaseException | None = None, *, own: bool = False, traceback: bool = False
    ) -> None:
        """Report why a try failed; it is logged once, although the wording may differ from try to try."""
        self._text, self._is_own = text, own
        if own:
            self._own = time.monotonic(), text
        self._log(text, cause, traceback=traceback)

    def connected(self) -> None:
        """Report that the broker has answered. While our own trouble lasts this says nothing: every try connects."""
        self._text, self._is_own = None, False
        self._missing_since = 0.0
        if self.own() is None:
            self._log(None)

    def still_following(self) -> None:
        """Log that following works again, once our own trouble has not come back for a while."""
        if self._logged_kind is not None and self._text is None and self.own() is None:
            self.connected()

    def _log(self, text: str | None, cause: BaseException | None = None, *, traceback: bool = False) -> None:
        before, self._logged_kind = self._logged_kind, _kind(text, cause)
        if self._logged_kind == before:
            return
        if text is None:
            log.info("following the state topics", topics=self._topics)
        else:
            log.warning("not following the state topics, retrying", reason=text, exc_info=cause if traceback else None)


def _kind(text: str | None, cause: BaseException | None) -> str | None:
    if isinstance(cause, KafkaException):
        code = cause.args[0].code()
        return "away" if code in _AWAY else f"Kafka error {code}"
    return text
