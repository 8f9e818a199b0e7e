"""Which events were closed because their consumer's profile was deleted after they had become dead letters."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tests.chaos.evidence import Position, Source


def erased(sources: Iterable[Source], dead: Collection[Position]) -> frozenset[Position]:
    """The dead letters of consumers for whom a later DELETE of the profile was settled. A DELETE is never partial, so
    it was settled if it has no dead letter itself."""
    given = list(sources)
    deleted: dict[tuple[int, str | None], int] = {}
    for source in given:
        if source.event is not None and source.event.deletes_profile and source.position not in dead:
            place = source.partition, source.consumer
            deleted[place] = max(source.offset, deleted.get(place, -1))
    return frozenset(
        source.position
        for source in given
        if source.position in dead and source.offset < deleted.get((source.partition, source.consumer), -1)
    )
