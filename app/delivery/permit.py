"""The right to make calls for an event."""

from __future__ import annotations

from typing import Protocol


class Permit(Protocol):
    """The permit of one attempt. Whoever makes a call of the event asks it first."""

    def __call__(self) -> None:
        """Called right before a call goes out.

        Raises:
            NotPermitted: it must not, for example because the partition may have a new owner.
        """

    async def wait(self, seconds: float) -> None:
        """Wait because the target asks for it, and hold nobody up meanwhile. A worker that stops ends the attempt."""

    def may_land_late(self, seconds: float) -> None:
        """A write was given up without an answer. The target may still carry it out, for so many seconds: until then
        nothing else of the consumer may be written."""
