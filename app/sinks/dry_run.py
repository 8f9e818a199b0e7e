"""``SYNC_DRY_RUN``: nothing is written to Marketing Cloud; the log says what would be written."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import structlog

from app.cmt.results import RowResult
from app.observe.redaction import hash_consumer
from app.profile.entities import Catalog, EntityType, Row
from app.profile.event import ProfileEvent
from app.profile.plan import Action
from app.sinks.cmt_calls import CmtCalls
from app.sinks.sink import Permit

log = structlog.get_logger(__name__)


class DryRun:
    """Reads go through; a write is logged, without values, and reported as done (``SYNC_DRY_RUN``)."""

    def __init__(self, client: CmtCalls, catalog: Catalog) -> None:
        self._client = client
        self._catalog = catalog

    async def upsert(self, rows: Sequence[tuple[EntityType, Row]], *, permit: Permit) -> list[RowResult]:
        return self._noted(Action.UPSERT, rows, permit)

    async def delete(self, keys: Sequence[tuple[EntityType, Row]], *, permit: Permit) -> list[RowResult]:
        return self._noted(Action.DELETE, keys, permit)

    async def retrieve(self, entity: EntityType, consumer_id: str, *, permit: Permit) -> Sequence[Row]:
        return await self._client.retrieve(entity, consumer_id, permit=permit)

    def _noted(self, action: Action, rows: Sequence[tuple[EntityType, Row]], permit: Permit) -> list[RowResult]:
        permit()
        for entity, row in rows:
            table = self._catalog[entity]
            log.info(
                "dry run: not sent",
                action=action.value,
                data_extension=table.customer_key,
                key_hash=hash_consumer("|".join(str(value) for value in table.key_of(row).values())),
                columns=sorted(row),
            )
        return [RowResult(True, ordinal) for ordinal in range(len(rows))]


def named(event: ProfileEvent) -> AbstractContextManager[object]:
    """Adds the event to the log lines of a dry run."""
    return structlog.contextvars.bound_contextvars(
        event_id=event.event_id,
        consumer=hash_consumer(event.consumer_id),
        market=event.market,
        operation=event.operation.value,
    )
