"""A decorator for values that are created for every event: frozen for the type checker, fast like plain dataclasses.

``dataclass(frozen=True)`` also checks at run time what mypy has already proven. That makes creating an object several
times as expensive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as value_class
else:
    from dataclasses import dataclass

    def value_class(*, frozen, slots):
        """Like ``dataclass``, but without the check at run time; a frozen class can be hashed."""
        return dataclass(unsafe_hash=frozen, slots=slots)


__all__ = ["value_class"]
