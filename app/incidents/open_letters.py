"""How many dead letters of an incident's kind are open: the truth that the alerts alone cannot give.

The desk counts alerts in memory, and a crash loses that count. The index of dead letters loses nothing, so tickets give
its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.delivery.alert import ACCOUNT_ENTITY, Severity
from app.delivery.counts import EVENT_ENTITY
from app.delivery.errors import SYNC_CUT_OFF
from app.delivery.fingerprint import SEPARATOR
from app.delivery.operator_task import LetterFilter

# The index may be this much behind the alerts.
INDEX_LAG_MS = 60_000


@dataclass(frozen=True, slots=True)
class OpenCount:
    """The open dead letters of one kind. ``oldest_ms`` and ``newest_ms``: their last failures; None: none is open.

    ``consumers_exact``: False: there may be fewer consumers, because some of them have dead letters of several kinds.
    """

    open: int
    consumers: int
    oldest_ms: int | None = None
    newest_ms: int | None = None
    consumers_exact: bool = True


@dataclass(frozen=True, slots=True)
class Told:
    """What a ticket says about open dead letters: how many, and when the newest failed. ``at_ms``: when it said so."""

    at_ms: int
    open: int
    newest_ms: int


def is_untold(told: Told | None, letters: OpenCount) -> bool:
    """Whether there are open dead letters that the ticket does not know: the alerts about them were counted by a worker
    that crashed, or never arrived.

    >>> is_untold(Told(0, 10, 500), OpenCount(10, 9, 100, 500)), is_untold(Told(0, 10, 500), OpenCount(3, 3, 600, 700))
    (False, True)
    """
    if told is None:
        return letters.open > 0
    return letters.open > told.open or (letters.newest_ms or 0) > told.newest_ms


class OpenLetters(Protocol):
    """Counts open dead letters. It does not raise."""

    async def of(self, fingerprint: str) -> OpenCount | None:
        """The open dead letters that the incident of a fingerprint is about; None: not known now."""


class UncountedLetters:
    """Knows no counts, so tickets say only what the alerts said."""

    async def of(self, fingerprint: str) -> OpenCount | None:
        """None."""
        return None


def letter_filter(fingerprint: str) -> LetterFilter:
    """The dead letters that an incident with this fingerprint is about.

    An incident without an operation is about all operations. One about the event as a whole is about all entities; so
    is one about an account, whose entity may be cut.
    """
    reason, entity, operation = (*fingerprint.split(SEPARATOR), "-", "-")[:3]
    if operation != "-":
        return LetterFilter(fingerprint=fingerprint)
    if entity in ("-", EVENT_ENTITY) or is_about_account(fingerprint):
        return LetterFilter(reason=reason)
    return LetterFilter(reason=reason, entity=entity)


def is_about_account(fingerprint: str) -> bool:
    """Whether an incident is about one of several accounts. Dead letters do not name their account."""
    return fingerprint.partition(SEPARATOR)[2].startswith(ACCOUNT_ENTITY)


def options_of(chosen: LetterFilter) -> str:
    """A filter as options of a command.

    >>> [options_of(letter_filter(of)) for of in ("CMT-TIMEOUT:pet:UPDATE", "EVENT-SCHEMA:event:-")]
    ['--fingerprint CMT-TIMEOUT:pet:UPDATE', '--reason EVENT-SCHEMA']
    """
    return " ".join(f"--{name} {value}" for name, value in _given(chosen))


def query_of(chosen: LetterFilter) -> str:
    """A filter as the query of an address; its values need no encoding.

    >>> query_of(letter_filter("CMT-PERMISSION:pet:-"))
    'reason=CMT-PERMISSION&entity=pet'
    """
    return "&".join(f"{name}={value}" for name, value in _given(chosen))


def _given(chosen: LetterFilter) -> list[tuple[str, str]]:
    named = {"fingerprint": chosen.fingerprint, "reason": chosen.reason, "entity": chosen.entity}
    return [(name, value) for name, value in named.items() if value]


def has_letters(severity: Severity, fingerprint: str) -> bool:
    """Whether an incident is about dead letters. Events wait in an outage, and events that retention deleted are gone:
    neither are dead letters."""
    return severity in (Severity.FAILED, Severity.INVALID) and not fingerprint.startswith(f"{SYNC_CUT_OFF.code}:")
