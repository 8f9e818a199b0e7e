"""What a request came to."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Answer(NamedTuple):
    """An HTTP answer, whatever its status. ``retry_after`` in seconds."""

    status: int
    body: bytes
    retry_after: float | None = None


class FailureKind(StrEnum):
    """Why there is no answer."""

    ADDRESS = "address"  # there is nothing, or nothing safe, to connect to
    CONNECTION = "connection"  # none could be made, or it broke
    CERTIFICATE = "certificate"  # the other side's is refused
    TIMEOUT = "timeout"  # the request was sent, and no answer came in time
    ANSWER = "answer"  # it is too large, or not HTTP


class TransportFailed(Exception):
    """No answer. ``sent``: the request may have reached the other side. The text names the host, never the request."""

    def __init__(self, kind: FailureKind, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.kind = kind
        self.sent = sent
