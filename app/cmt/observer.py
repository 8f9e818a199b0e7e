"""The interface of what is told how calls ended."""

from __future__ import annotations

from typing import Protocol

from app.cmt.rights import Right


class CallObserver(Protocol):
    """Told about every request that was sent; ``result`` is "ok" or a registry code (of the first failed row)."""

    def call(self, operation: str, entity: str, result: str, seconds: float) -> None: ...

    def token(self, result: str) -> None: ...

    def right(self, right: Right, entity: str, data_extension: str, *, granted: bool) -> None:
        """A right was missing, or is there again."""


class Unobserved:
    """An observer that does nothing."""

    def call(self, operation: str, entity: str, result: str, seconds: float) -> None:
        """Do nothing."""

    def token(self, result: str) -> None:
        """Do nothing."""

    def right(self, right: Right, entity: str, data_extension: str, *, granted: bool) -> None:
        """Do nothing."""
