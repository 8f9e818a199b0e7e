"""The form of the error registry: what an entry says, and how codes are registered and looked up.

The entries stand in ``event_errors.py``, ``cmt_errors.py`` and ``sync_errors.py``; ``errors.py`` has them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ErrorClass(StrEnum):
    """What kind of response an error needs."""

    TRANSIENT = "transient"  # may pass by itself: try again later
    THROTTLED = "throttled"  # too fast: try again later, and slower
    AUTH = "auth"  # token or credentials
    PERMANENT = "permanent"  # the same call will fail again
    INVALID = "invalid"  # the event itself cannot be processed

    @property
    def retried(self) -> bool:
        """Whether another attempt of the event makes sense."""
        return self in (ErrorClass.TRANSIENT, ErrorClass.THROTTLED, ErrorClass.AUTH)


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """One line of the registry."""

    code: str
    error_class: ErrorClass
    meaning: str
    remedy: str
    transport: bool = False  # says something about the target's health, so the circuit breaker counts it
    every_call: bool = False  # every call meets it, so the circuit breaker opens without counting
    doubtful: bool = False  # may concern one call or all calls: the circuit breaker tries whether another gets through

    @property
    def refuses_us(self) -> bool:
        """Whether Marketing Cloud answers but refuses our calls, if every call meets this error."""
        return self.error_class is ErrorClass.AUTH or self.doubtful


REGISTRY: dict[str, ErrorEntry] = {}


def register(
    code: str,
    error_class: ErrorClass,
    meaning: str,
    remedy: str,
    *,
    transport: bool = False,
    every_call: bool = False,
    doubtful: bool = False,
) -> ErrorEntry:
    """Add an entry to the registry.

    Raises:
        ValueError: the code is registered already.
    """
    if code in REGISTRY:
        raise ValueError(f"error code {code} is registered twice")
    REGISTRY[code] = ErrorEntry(code, error_class, meaning, remedy, transport or every_call, every_call, doubtful)
    return REGISTRY[code]


def lookup(code: str) -> ErrorEntry:
    """The entry of a code.

    Raises:
        KeyError: the code is not registered.
    """
    return REGISTRY[code]
