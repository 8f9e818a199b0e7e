"""The findings of a verification, and what a repair did. Pure.

Identifiers, keys and column names may be shown; the values inside ``Drift`` are personal data.
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
    """One write of a repair. ``problem``: why it was not made, with values masked; None: it was made."""

    action: Action
    entity: EntityType
    key: tuple[str, ...]
    problem: str | None = None


class Status(StrEnum):
    """The result for a consumer.

    ``partial``: no drift in what could be checked. ``no-home``: ``CMT_DATA_EXTENSIONS`` does not cover its market, so
    there is nothing to check.
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
    """The finding for one consumer.

    ``event``: the ID of its last full state. ``note``: why the consumer is pending, checked in part, or not checked.
    ``drift``: the drift before a repair. ``writes``: the writes of the repair.
    """

    consumer_id: str
    partition: int
    event: str | None
    status: Status
    note: str | None = None
    in_part: bool = False
    drift: tuple[Drift, ...] = ()
    writes: tuple[RepairWrite, ...] = ()
