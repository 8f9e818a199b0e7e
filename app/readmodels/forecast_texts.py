"""What a dry run says: lines of at most 80 columns, and its JSON document. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any

from app.profile.redrive_forecast import Forecast
from app.readmodels.letter_texts import COLUMNS, dead_letters, own_lines
from app.readmodels.letters import ListedLetter

Items = Sequence[tuple[ListedLetter, Forecast]]
Estimate = Mapping[tuple[str, str], int]

NOTHING_WRITTEN = "Dry run: nothing was written."


def dry_run_lines(matched: int, items: Items, estimate: Estimate) -> Iterator[str]:
    """Each consumer with its dead letters, oldest first, or an estimate; and the sums."""
    yield from _item_lines(items)
    if items:
        fates = Counter(found.fate.value for _, found in items)
        yield ""
        yield from wrap(
            f"{dead_letters(matched)}: " + ", ".join(f"{n:,} {fate}" for fate, n in fates.most_common()), 80
        )
    elif matched:
        yield f"{dead_letters(matched)}: too many to read each. An estimate from their records:"
        for (operation, fate), number in estimate.items():
            yield f"  {number:>11,}  {operation:<6}  {fate}"
    yield NOTHING_WRITTEN


def _item_lines(items: Items) -> Iterator[str]:
    consumer: str | None = ""
    for listed, found in items:
        if listed.letter.settlement.consumer_id != consumer:
            consumer = listed.letter.settlement.consumer_id
            named = f"consumer {consumer}" if consumer is not None else "no consumer: no readable key"
            yield from [named] if len(named) <= COLUMNS else own_lines(consumer or "")
        said = found.fate.value + (f": {found.detail}" if found.detail else "")
        indent = f"  {listed.id}  "
        first, *more = wrap(said, COLUMNS - len(indent), break_on_hyphens=False)
        yield indent + first
        yield from (" " * len(indent) + line for line in more)


def dry_run_view(matched: int, superseded: int | None, items: Items, estimate: Estimate) -> dict[str, Any]:
    """The JSON document. ``superseded``: null if it was not counted."""
    return {
        "matched": matched,
        "superseded": superseded,
        "items": [
            {
                "id": str(listed.id),
                "consumerId": listed.letter.settlement.consumer_id,
                "operation": listed.letter.settlement.operation,
                "would": found.fate.value,
                "detail": found.detail or None,
            }
            for listed, found in items
        ],
        "estimate": [
            {"operation": operation, "would": fate, "count": number} for (operation, fate), number in estimate.items()
        ],
    }
