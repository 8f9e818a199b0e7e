"""How many random examples a property is tried with."""

from __future__ import annotations

import os

# ``make unit`` sets it, so that a change is answered within a minute; ``make test`` tries all of them.
DIVISOR = int(os.environ.get("EXAMPLES_DIVISOR", "1"))


def examples(number: int) -> int:
    """A number of examples, or the part of it that this run tries; at least 5."""
    return max(5, number // DIVISOR) if DIVISOR > 1 else number
