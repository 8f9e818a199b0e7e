"""Positions that a partition did not have: aiokafka goes on at its first offset without a word.

Written against aiokafka 0.14.0, pinned. Wrapped: ``Fetcher._update_fetch_positions``.
"""

from __future__ import annotations

from typing import Any

from faust.types import TP

# The new position is being asked for.
NOT_KNOWN_YET = -1


def note_resets(fetcher: Any, was_reset: dict[TP, int]) -> None:
    """Have the fetcher note in ``was_reset`` each partition whose position was not there, or not known yet, with its
    new position."""
    update = fetcher._update_fetch_positions

    async def update_fetch_positions(assignment: Any, node_id: int, tps: list[TP]) -> bool:
        reset = [TP(tp.topic, tp.partition) for tp in tps]
        was_reset.update(dict.fromkeys(reset, NOT_KNOWN_YET))
        woken: bool = await update(assignment, node_id, tps)
        for tp, state in zip(reset, map(assignment.state_value, tps), strict=True):
            if state.has_valid_position:
                was_reset[tp] = state.position
        return woken

    fetcher._update_fetch_positions = update_fetch_positions


def from_before(first: int, position: int | None, target: int) -> bool:
    """Whether a batch was fetched before its partition's position was reset: the thread fetches ahead.

    Args:
        first: offset of the batch's first record.
        position: the next offset that was to come; None: not known.
        target: where the position was set to.

    >>> from_before(8, position=8, target=11), from_before(11, position=9, target=11)
    (True, False)
    """
    return position is not None and first != target and (first == position or first < target)
