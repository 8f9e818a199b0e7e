"""The result of a request: an answer, or why there is none."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Answer(NamedTuple):
    """An HTTP answer of any status. ``retry_after``: in seconds."""

    status: int
    body: bytes
    retry_after: float | None = None


class FailureKind(StrEnum):
    """Why a request got no answer."""

    ADDRESS = "address"  # the URL is wrong, or not safe to send to
    CONNECTION = "connection"  # no connection could be made, or it broke
    CERTIFICATE = "certificate"  # the server's certificate is not trusted
    TIMEOUT = "timeout"  # the request was sent, but no answer came in time
    ANSWER = "answer"  # the answer is too large, or not HTTP


class TransportFailed(Exception):
    """A request got no answer. ``sent``: it may have reached the server. The text names the host, never the request."""

    def __init__(self, kind: FailureKind, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.kind = kind
        self.sent = sent
