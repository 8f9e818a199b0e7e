"""What the sink needs from the client of Marketing Cloud."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.cmt.results import RowResult
from app.profile.entities import EntityType, Row
from app.sinks.sink import Permit


class CmtCalls(Protocol):
    """The part of the Marketing Cloud client that the sink uses. Each method makes one SOAP call, with its repeats.

    All raise ``CallFailed`` if the call failed as a whole, and what ``permit`` raises.
    """

    async def upsert(self, rows: Sequence[tuple[EntityType, Row]], *, permit: Permit) -> Sequence[RowResult]: ...

    async def delete(self, keys: Sequence[tuple[EntityType, Row]], *, permit: Permit) -> Sequence[RowResult]: ...

    async def retrieve(self, entity: EntityType, consumer_id: str, *, permit: Permit) -> Sequence[Row]: ...
