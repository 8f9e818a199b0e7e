"""A filter of dead letters as SQL over the table ``letters``; it means what ``LetterFilter.matches`` says. Pure."""

# ruff: noqa: S608 - every text of a query is ours, and every value is bound

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.delivery.operator_task import LetterFilter

# Every dead letter.
EVERY = LetterFilter()


@dataclass(frozen=True, slots=True)
class Condition:
    """``sql``: terms that are joined by AND, "1" if there is none. ``values``: of its question marks."""

    sql: str
    values: tuple[Any, ...] = ()

    def also(self, sql: str, *values: Any) -> Condition:
        """One term more."""
        return Condition(f"{self.sql} AND {sql}", (*self.values, *values))


def condition(chosen: LetterFilter) -> Condition:
    """Which rows of ``letters`` a filter means."""
    terms, values = ["1"], list[Any]()
    if facets := facet_condition(chosen):
        terms.append(f"facet IN (SELECT facet FROM facets JOIN kinds USING (kind) WHERE {facets.sql})")
        values += facets.values
    for term, value in (
        ("consumer = ?", chosen.consumer or None),
        ("last_failed >= ?", chosen.since_ms),
        ("last_failed < ?", chosen.until_ms),
    ):
        if value is not None:
            terms.append(term)
            values.append(value)
    return Condition(" AND ".join(terms), tuple(map(_within_64_bits, values)))


def facet_condition(chosen: LetterFilter) -> Condition | None:
    """Which facets a filter means, over ``facets JOIN kinds``; None: it does not ask for any of their columns."""
    asked = {
        "fingerprint": chosen.fingerprint,
        "reason": chosen.reason,
        "entity": chosen.entity,
        "operation": chosen.operation,
        "market": chosen.market,
    }
    given = {name: text for name, text in asked.items() if text}
    if not given:
        return None
    return Condition(" AND ".join(f"{name} = ?" for name in given), tuple(given.values()))


def only_facets(chosen: LetterFilter) -> bool:
    """Whether the kept counts can answer: the filter asks neither for a consumer nor for a time."""
    return not chosen.consumer and chosen.since_ms is None and chosen.until_ms is None


def _within_64_bits(value: Any) -> Any:
    return max(-(2**63), min(2**63 - 1, value)) if isinstance(value, int) else value
