"""The open dead letters of an incident, counted by the read models."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.delivery.operator_task import LetterFilter
from app.incidents.open_letters import OpenCount, is_about_account, letter_filter
from app.readmodels import Followed, ReadModels, ReadModelUnavailable
from app.readmodels.letter_groups import LetterGroup
from app.readmodels.letters import ANY_STATUS


class IndexedLetters:
    """An ``OpenLetters``. It asks the index in a thread, because the answer may take a second."""

    def __init__(self, read_models: ReadModels) -> None:
        self._read_models = read_models

    async def of(self, fingerprint: str) -> OpenCount | None:
        """The open dead letters that the incident of a fingerprint is about; None: not known now."""
        if is_about_account(fingerprint) or not self._read_models.caught_up(Followed.LETTERS):
            return None
        try:
            return await asyncio.to_thread(self._ask, letter_filter(fingerprint))
        except ReadModelUnavailable:
            return None

    def _ask(self, chosen: LetterFilter) -> OpenCount | None:
        letters = self._read_models.letters
        groups = letters.groups(chosen)
        # Closed dead letters stay in the index for weeks. Without any, it cannot say that none is open any more.
        return counted(groups) if groups or letters.count(chosen, ANY_STATUS) else None


def counted(groups: Sequence[LetterGroup]) -> OpenCount:
    """The sum of some groups of open dead letters."""
    return OpenCount(
        sum(group.open for group in groups),
        sum(group.consumers for group in groups),
        min((group.oldest_ms for group in groups), default=None),
        max((group.newest_ms for group in groups), default=None),
        consumers_exact=len(groups) <= 1,
    )
