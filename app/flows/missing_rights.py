"""Which rights an account lacks, as its calls have shown. Pure except for the clock that is passed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.cmt.rights import Right
from app.profile.entities import EntityType


@dataclass(frozen=True, slots=True)
class _Missing:
    entity: str
    since: float


class MissingRights:
    """A right is noted when a call is refused, and forgotten when a call of the same kind gets through.

    Args:
        clock: seconds, on the same scale as ``before``.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._missing: dict[tuple[Right, str], _Missing] = {}

    def denied(self, right: Right, entity: str, data_extension: str) -> None:
        """A call was refused."""
        self._missing.setdefault((right, data_extension), _Missing(entity, self._clock()))

    def granted(self, right: Right, data_extension: str) -> None:
        """A call got through: with a child's data extension, the right is not missing as a whole any more."""
        found = self._missing.pop((right, data_extension), None)
        if found is not None and found.entity != EntityType.CONSUMER:
            parents = [place for place, missing in self._missing.items() if missing.entity == EntityType.CONSUMER]
            for place in parents:
                if place[0] is right:
                    del self._missing[place]

    def entities(self) -> set[str]:
        """The entity types of the data extensions that lack a right."""
        return {missing.entity for missing in self._missing.values()}

    def since(self) -> float | None:
        """Since when a right has been missing; None: none is."""
        return min((missing.since for missing in self._missing.values()), default=None)

    def text(self) -> str:
        """What is missing, by right and data extension: the end of a sentence that begins with "it"."""
        return _text(self._missing)

    def of_children(self, *, before: float, whole_account: bool) -> dict[str, tuple[float, str]]:
        """Entity type -> since when its data extension lacks a right, and which.

        Args:
            before: only rights that were missing at that time already.
            whole_account: events wait for a right; then what the parent's data extension lacks too is left out.
        """
        whole = {right for (right, _), found in self._missing.items() if found.entity == EntityType.CONSUMER}
        children: dict[str, tuple[float, str]] = {}
        for (right, data_extension), found in self._missing.items():
            is_child = found.entity != EntityType.CONSUMER and not (whole_account and right in whole)
            if is_child and found.since <= before and found.entity not in children:
                children[found.entity] = (found.since, _text([(right, data_extension)]))
        return children


def _text(places: Iterable[tuple[Right, str]]) -> str:
    by_right: dict[Right, list[str]] = {}
    for right, data_extension in places:
        by_right.setdefault(right, []).append(data_extension)
    return " and ".join(f"may not {right} {', '.join(sorted(names))}" for right, names in sorted(by_right.items()))
