"""Open dead letters by fingerprint: what an operator asks for first."""

# ruff: noqa: S608 - every text of a query is ours, and every value is bound

from __future__ import annotations

from dataclasses import dataclass

from app.delivery.dead_letter_record import LetterStatus
from app.delivery.fingerprint import SEPARATOR, Fingerprint
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import LetterFilter
from app.readmodels.letter_filter import EVERY, Condition, condition, facet_condition, only_facets
from app.readmodels.letter_page import ORDER, Place
from app.readmodels.letter_queries import LetterQueries, id_at
from app.readmodels.letter_table import STATUS_NUMBERS

# The most groups of an answer: a program that writes into our dead-letter topic may invent reasons.
MOST_GROUPS = 500

_OPEN = STATUS_NUMBERS[LetterStatus.OPEN]


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Open dead letters of one kind. ``since_ms``: the first failure of all; a failed redrive does not change it.

    ``oldest_ms``, ``newest_ms``: the earliest and the latest of their last failures. ``example``: the newest one.
    """

    fingerprint: Fingerprint
    open: int
    consumers: int
    oldest_ms: int
    newest_ms: int
    example: LetterId
    since_ms: int


class LetterGroups(LetterQueries):
    """Groups of open dead letters. Those of a filter without consumer and times come from the kept counts."""

    def groups(self, chosen: LetterFilter = EVERY, limit: int = MOST_GROUPS) -> list[LetterGroup]:
        """Open dead letters by fingerprint, the largest group first; at most ``MOST_GROUPS`` groups."""
        limit = min(limit, MOST_GROUPS)
        if not only_facets(chosen):
            return self._groups_by_query(chosen, limit)
        wanted = facet_condition(chosen) or Condition("1")
        rows = self._rows(
            "SELECT kind, fingerprint, consumers, sum(letters) AS number"
            " FROM facets JOIN kinds USING (kind) JOIN letter_counts USING (facet)"
            f" WHERE status = {_OPEN} AND {wanted.sql} GROUP BY kind ORDER BY number DESC, fingerprint LIMIT ?",
            (*wanted.values, limit),
        )
        every_consumer = chosen == LetterFilter(fingerprint=chosen.fingerprint)
        return [
            self._group(wanted, kind, fingerprint, number, consumers if every_consumer else None)
            for kind, fingerprint, consumers, number in rows
        ]

    def _group(self, wanted: Condition, kind: int, fingerprint: str, number: int, consumers: int | None) -> LetterGroup:
        """A group whose number of dead letters is known; its ends stand at the ends of an index."""
        facets = self._rows(
            f"SELECT facet FROM facets JOIN kinds USING (kind) WHERE kind = ? AND {wanted.sql}", (kind, *wanted.values)
        )
        ends: list[Place] = []
        since: list[int] = []
        order = ", ".join(ORDER)
        for (facet,) in facets:
            for direction in ("ASC", "DESC"):
                ends += self._rows(
                    f"SELECT {order} FROM letters INDEXED BY letters_facet WHERE facet = ? AND status = {_OPEN}"
                    f" ORDER BY {', '.join(f'{name} {direction}' for name in ORDER)} LIMIT 1",
                    (facet,),
                )
            since += (
                found
                for (found,) in self._rows(
                    f"SELECT first_failed FROM letters INDEXED BY letters_since WHERE facet = ? AND status = {_OPEN}"
                    " ORDER BY first_failed LIMIT 1",
                    (facet,),
                )
            )
        if consumers is None:
            numbers = ", ".join(str(facet) for (facet,) in facets)
            consumers = self._rows(
                "SELECT count(DISTINCT consumer) FROM letters INDEXED BY letters_facet"
                f" WHERE facet IN ({numbers}) AND status = {_OPEN}"
            )[0][0]
        newest = max(ends, default=(0, 0, 0, 0))
        oldest = min(ends, default=newest)
        first = min(since, default=oldest[0])
        return LetterGroup(_parts(fingerprint), number, consumers or 0, oldest[0], newest[0], id_at(newest), first)

    def _groups_by_query(self, chosen: LetterFilter, limit: int) -> list[LetterGroup]:
        wanted = condition(chosen)
        index = "letters_consumer" if chosen.consumer else "letters_page"
        rows = self._rows(
            "SELECT kind, fingerprint, count(*) AS number, count(DISTINCT consumer),"
            " min(last_failed), max(last_failed), min(first_failed)"
            f" FROM letters INDEXED BY {index} JOIN facets USING (facet) JOIN kinds USING (kind)"
            f" WHERE status = {_OPEN} AND {wanted.sql} GROUP BY kind ORDER BY number DESC, fingerprint LIMIT ?",
            (*wanted.values, limit),
        )
        groups = []
        for kind, fingerprint, number, consumers, oldest, newest, since in rows:
            example = self._rows(
                f"SELECT partition, is_foreign, place FROM letters INDEXED BY {index} WHERE status = {_OPEN}"
                f" AND last_failed = ? AND facet IN (SELECT facet FROM facets WHERE kind = ?) AND {wanted.sql}"
                " ORDER BY partition DESC, is_foreign DESC, place DESC LIMIT 1",
                (newest, kind, *wanted.values),
            )
            if example:
                p, foreign, place = example[0]
                groups.append(
                    LetterGroup(
                        _parts(fingerprint), number, consumers, oldest, newest, LetterId(p, place, bool(foreign)), since
                    )
                )
        return groups


def _parts(fingerprint: str) -> Fingerprint:
    """The parts of a fingerprint's text; none of them holds the separator."""
    return Fingerprint(*fingerprint.split(SEPARATOR))
