"""Closes the dead letters of consumers whose profile was deleted later.

The partition record lists such a consumer from the moment when the DELETE is settled, or when an older event of the
consumer becomes a dead letter after it. It leaves the list when none of its older dead letters is open.
"""

from __future__ import annotations

from itertools import islice

from app.delivery.readmitted import Handling
from app.engine.handled_letters import HandledLetters
from app.engine.journal import Journal

# Consumers that are looked at in one go, and dead letters of each.
CONSUMERS_AT_ONCE = 500
LETTERS_AT_ONCE = 50


class Erasures:
    """The erasures of one partition."""

    def __init__(self, journal: Journal, handled: HandledLetters) -> None:
        self._journal = journal
        self._letters = journal.letters
        self._handled = handled

    async def step(self) -> bool:
        """Begin to close what is open. Returns whether there may be more to do at once.

        Raises:
            StatesUnavailable: the dead-letter records are being read in again.
        """
        over: dict[str, int] = {}
        erasing = self._journal.state.erasing
        for consumer, deleted_at in islice(list(erasing.items()), CONSUMERS_AT_ONCE):
            left = self._letters.open_of(consumer, deleted_at, LETTERS_AT_ONCE)
            for known in left:
                if self._handled.room > 0 and self._handled.may_begin(known):
                    self._handled.close(known, Handling.ERASE)
            if not left and not self._is_handled(consumer, deleted_at):
                over[consumer] = deleted_at
        if over:
            await self._journal.erased(over)
        return bool(over) and bool(self._journal.state.erasing)

    def _is_handled(self, consumer: str, below: int) -> bool:
        return any(offset < below and again.event.consumer == consumer for offset, again in self._handled)
