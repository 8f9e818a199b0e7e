"""What the sink needs of the client of Marketing Cloud."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.cmt.results import RowResult
from app.profile.entities import EntityType, Row
from app.sinks.sink import Permit


class CmtCalls(Protocol):
    """The part of the Marketing Cloud client that the sink uses: one SOAP call each, repeats inside included.

    All raise ``CallFailed`` when the call as a whole failed, and what ``permit`` raises.
    """

    async def upsert(self, rows: Sequence[tuple[EntityType, Row]], *, permit: Permit) -> Sequence[RowResult]: ...

    async def delete(self, keys: Sequence[tuple[EntityType, Row]], *, permit: Permit) -> Sequence[RowResult]: ...

    async def retrieve(self, entity: EntityType, consumer_id: str, *, permit: Permit) -> Sequence[Row]: ...
