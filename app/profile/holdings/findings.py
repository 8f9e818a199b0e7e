"""What a verification found of consumers, and what a repair did. Pure.

Identifiers, keys and columns may be shown; the values inside ``Drift`` are personal data.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from app.profile.entities import EntityType
from app.profile.holdings.drift import Drift

Action = Literal["upsert", "delete"]


@dataclass(frozen=True, slots=True)
class RepairWrite:
    """One row that was written, or was to be. ``problem``: why it was not, values masked; None: it was."""

    action: Action
    entity: EntityType
    key: tuple[str, ...]
    problem: str | None = None


class Status(StrEnum):
    """What became of a consumer.

    ``partial``: no drift in what could be checked. ``no-home``: its market has no place in ``CMT_DATA_EXTENSIONS``, so
    there is nowhere to look.
    """

    OK = "ok"
    PARTIAL = "partial"
    PENDING = "pending"
    DRIFTED = "drifted"
    REPAIRED = "repaired"
    ERROR = "error"
    NO_HOME = "no-home"


@dataclass(frozen=True, slots=True)
class DriftFinding:
    """What was found of one consumer.

    ``event``: ID of its last full state. ``note``: why it is pending, in part, or not checked at all. ``drift``: what
    was found before a repair. ``writes``: of the repair.
    """

    consumer_id: str
    partition: int
    event: str | None
    status: Status
    note: str | None = None
    in_part: bool = False
    drift: tuple[Drift, ...] = ()
    writes: tuple[RepairWrite, ...] = ()
