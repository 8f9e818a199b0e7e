"""What the queries about dead letters have in common."""

# ruff: noqa: S608 - every text of a query is ours, and every value is bound

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from app.delivery.letter_id import LetterId
from app.delivery.operator_task import LetterFilter
from app.readmodels.letter_filter import Condition, condition, facet_condition, only_facets
from app.readmodels.letter_page import Place
from app.readmodels.progress import Progress
from app.readmodels.store import Store


class LetterQueries:
    """Runs queries about dead letters.

    Args:
        ask: runs a function on the open store; raises ReadModelUnavailable when the file cannot be read.
    """

    def __init__(self, topic: str, progress: Progress, ask: Callable[[Callable[[Store], Any]], Any]) -> None:
        self._topic = topic
        self._progress = progress
        self._ask = ask

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            found: list[Any] = self._ask(lambda store: store.rows(statement, values))
        except UnicodeEncodeError:  # half a surrogate pair: nothing is called so
            return []
        return found

    def _counted(self, chosen: LetterFilter, status: str, by: str) -> dict[int, int]:
        """Dead letters by a column; from the kept counts where they can tell."""
        if only_facets(chosen):
            wanted = facet_condition(chosen) or Condition("1")
            rows = self._rows(
                f"SELECT {by}, sum(letters) FROM letter_counts"
                f" JOIN facets USING (facet) JOIN kinds USING (kind) WHERE {status} AND {wanted.sql} GROUP BY {by}",
                wanted.values,
            )
        else:
            wanted = condition(chosen)
            rows = self._rows(
                f"SELECT {by}, count(*) FROM letters WHERE {status} AND {wanted.sql} GROUP BY {by}", wanted.values
            )
        return {key: number for key, number in rows if number}


def id_at(place: Place) -> LetterId:
    """The dead letter at a place."""
    _, partition, is_foreign, offset = place
    return LetterId(partition, offset, bool(is_foreign))
