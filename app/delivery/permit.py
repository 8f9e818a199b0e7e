"""The permission to make calls for an event."""

from __future__ import annotations

from typing import Protocol


class Permit(Protocol):
    """The permit of one attempt. Whoever makes a call of the event asks it first."""

    def __call__(self) -> None:
        """Called right before each call.

        Raises:
            NotPermitted: the call must not be made, for example because the partition may have a new owner.
        """

    async def wait(self, seconds: float) -> None:
        """Wait because the target asks for it, without a slot, so that other events run. A worker that stops ends the
        attempt."""

    def may_land_late(self, seconds: float) -> None:
        """Note a write that was given up without an answer.

        The target may still carry it out within ``seconds``; until then nothing else of the consumer may be written.
        """
