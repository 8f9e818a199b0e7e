"""A failed attempt of an event, as the durable records keep it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.delivery import state_fields as fields

# The records keep the newest failed attempts of an event.
ATTEMPTS_KEPT = 10
# Bytes of one in a record: a time, a code, brackets.
ATTEMPT_BYTES = 48


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """``at_ms``: when it was given up. ``code``: of the error registry."""

    at_ms: int
    code: str


def with_attempt(attempts: tuple[FailedAttempt, ...], at_ms: int, code: str) -> tuple[FailedAttempt, ...]:
    """The attempts with one more; the newest ones are kept."""
    return (*attempts, FailedAttempt(at_ms, code))[-ATTEMPTS_KEPT:]


def attempts_json(attempts: tuple[FailedAttempt, ...]) -> list[list[Any]]:
    """As the records hold them."""
    return [[attempt.at_ms, attempt.code] for attempt in attempts]


def read_attempts(value: Any) -> tuple[FailedAttempt, ...]:
    """Read what ``attempts_json`` wrote."""
    return tuple(fields.entries(value, _read))


def _read(entry: Any) -> FailedAttempt:
    at_ms, code = entry
    return FailedAttempt(fields.moment(at_ms), fields.text(code))
