"""The right to make calls for an event."""

from __future__ import annotations

from typing import Protocol


class Permit(Protocol):
    """Asked before every call of an event, by whoever makes it. Both raise ``NotPermitted``, or end the attempt."""

    def __call__(self) -> None:
        """Called right before a call goes out; raises when it must not: the partition may have a new owner, say."""

    async def wait(self, seconds: float) -> None:
        """Wait because the target asks for it, and hold nobody up meanwhile; a worker that stops ends the wait."""
