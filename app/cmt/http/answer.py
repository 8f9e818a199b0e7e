"""What a request came to."""

from __future__ import annotations

from app.domain.errors import ErrorEntry
from app.domain.value_class import value_class


@value_class(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whatever its status. ``retry_after`` in seconds."""

    status: int
    body: bytes
    retry_after: float | None = None


class TransportFailed(Exception):
    """No answer. ``sent``: the request may have reached the other side. The text names the host, never the request."""

    def __init__(self, entry: ErrorEntry, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.entry = entry
        self.sent = sent
