"""The interface of every place that profiles go to."""

from __future__ import annotations

from typing import Protocol

from app.delivery.outcome import Attempt
from app.delivery.permit import Permit
from app.profile.event import ProfileEvent

__all__ = ["Permit", "Sink"]


class Sink(Protocol):
    """A place that profiles go to."""

    async def apply(self, event: ProfileEvent, *, last_attempt: bool, permit: Permit) -> Attempt:
        """Run an event once and say what came of it; running it again does no harm.

        ``last_attempt``: it will not be tried again, so as much of it as possible is done.
        Raises only what ``permit`` raises; what goes wrong with the target stands in the attempt. The permit learns of
        every write that was given up without an answer.
        """
