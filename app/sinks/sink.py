"""The interface of every sink."""

from __future__ import annotations

from typing import Protocol

from app.delivery.outcome import Attempt
from app.delivery.permit import Permit
from app.profile.event import ProfileEvent

__all__ = ["Permit", "Sink"]


class Sink(Protocol):
    """Where a flow writes profiles."""

    async def apply(self, event: ProfileEvent, *, last_attempt: bool, permit: Permit) -> Attempt:
        """Run an event once and return what came of it; running it again does no harm.

        ``last_attempt``: the event is not tried again, so as much of it as possible is done.
        Raises only what ``permit`` raises; failures of the target are in the attempt. The permit is told of every write
        that was given up without an answer.
        """
