"""Values that are made for every event: frozen to the type checker, and made as fast as plain dataclasses.

``dataclass(frozen=True)`` also guards at run time what mypy has shown already, and that makes every new object cost
several times as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as value_class
else:
    from dataclasses import dataclass

    def value_class(*, frozen, slots):
        """As ``dataclass``, without the guard; what is frozen can be hashed."""
        return dataclass(unsafe_hash=frozen, slots=slots)


__all__ = ["value_class"]
