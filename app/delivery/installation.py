"""What ``check`` says of an installation: one line for each thing that it looked at. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.delivery.expiring_values import ExpiringValues


class Part(StrEnum):
    """A part of an installation, in the order in which they are listed."""

    CONFIGURATION = "configuration"
    BROKER = "broker"
    TOPICS = "topics"
    RIGHTS = "rights"
    GROUP = "group"
    TOKEN = "token"  # noqa: S105 - a part, not a token
    DATA_EXTENSION = "data extension"
    SERVICENOW = "ServiceNow"
    CLOCK = "clock"


class PartState(StrEnum):
    """What a line says."""

    OK = "ok"
    NOTE = "note"  # works, but the operator should know
    WRONG = "wrong"
    NOT_CHECKED = "not checked"  # because something else is wrong
    NOT_CONFIGURED = "not configured"


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One line.

    ``subject``: which of several, for example the data extension; empty if there is only one. ``account``: the account
    that it belongs to; empty if there is only one. ``remedy``: what to do; empty if the message says it, or nothing is
    to do.
    """

    part: Part
    state: PartState
    message: str
    remedy: str = ""
    subject: str = ""
    account: str = ""

    @property
    def what(self) -> str:
        """What was looked at, for people: ``data extension CMT_Pet (account 510001234)``."""
        name = f"{self.part} {self.subject}".rstrip()
        return f"{name} (account {self.account})" if self.account else name


def not_checked(part: Part, why: str, *, subject: str = "", account: str = "") -> CheckLine:
    """The line of a part that could not be looked at. ``why``: what is missing, such as "no token"."""
    return CheckLine(part, PartState.NOT_CHECKED, why, subject=subject, account=account)


def with_expiring(lines: Sequence[CheckLine], expiring: Iterable[ExpiringValues]) -> list[CheckLine]:
    """The lines with a note, behind those about topics, for each topic from which values of dead letters may go."""
    notes = [CheckLine(Part.TOPICS, PartState.NOTE, f"{one.text}.", one.remedy) for one in expiring]
    last = max((number for number, line in enumerate(lines) if line.part is Part.TOPICS), default=len(lines) - 1)
    return [*lines[: last + 1], *notes, *lines[last + 1 :]]


def wrong_parts(lines: Iterable[CheckLine]) -> int:
    """How many lines say that something is wrong. What could not be checked has its cause in another line."""
    return sum(line.state is PartState.WRONG for line in lines)
