"""Marketing Cloud as a sink: runs the plan of an event, call by call.

What follows a failure is decided by ``stops_attempt`` (``app/domain/outcome.py``); three rules are kept here, because
they are about the plan as a whole:

* UPDATE posts nothing until every row that was found is deleted.
* DELETE PROFILE leaves the parent's row while any entity row could not be found or deleted.
* A row is deleted by exactly the key that Marketing Cloud returned for it, whatever the event says.

How records are counted: a record is one row that an event wants written (NEW, UPDATE) or gone (DELETE), and it counts
once a call for it was made, also on the last attempt; a row whose call was left out is neither synced nor failed. A
delete counts as synced when the row was gone already. Retrieves, and the deletes with which an UPDATE begins, are not
records; one that fails counts as one failed record of its entity, so that every failure shows up. Only the attempt that
settles the event is counted: of a DELETE PROFILE that needed several, the rows that the last one still found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Protocol

import structlog

from app.cmt.errors import CallFailed
from app.cmt.results import RowResult
from app.domain.entities import Catalog, EntityType, Row
from app.domain.errors import CMT_ROW_ERROR
from app.domain.event import ProfileEvent
from app.domain.outcome import Attempt, Failure, Phase, RecordCount, stops_attempt
from app.domain.plan import Action, Step, deletes_of, plan_replace
from app.observe.redaction import hash_consumer
from app.settings import ConfigurationError, SyncSettings
from app.sinks.sink import Permit

log = structlog.get_logger(__name__)


class CmtCalls(Protocol):
    """The part of the Marketing Cloud client that the sink uses: one SOAP call each, repeats inside included.

    All raise ``CallFailed`` when the call as a whole failed, and what ``permit`` raises.
    """

    async def upsert(self, rows: Sequence[tuple[EntityType, Row]], *, permit: Permit) -> Sequence[RowResult]: ...

    async def delete(self, keys: Sequence[tuple[EntityType, Row]], *, permit: Permit) -> Sequence[RowResult]: ...

    async def retrieve(self, entity: EntityType, consumer_id: str, *, permit: Permit) -> Sequence[Row]: ...


class CmtSink:
    """The sink that writes to Marketing Cloud with strategy ``replace``.

    ``batch_size`` rows at most go into one call: consecutive ones of the same action and phase. The parent's row always
    has a call of its own, so that it is written before, and deleted after, all others.

    Raises:
        ConfigurationError: the settings ask for a strategy that this sink does not have.
    """

    def __init__(self, client: CmtCalls, catalog: Catalog, settings: SyncSettings, batch_size: int = 1) -> None:
        if settings.strategy != "replace":
            raise ConfigurationError([f"SYNC_STRATEGY={settings.strategy} is not available yet; use replace"])
        self._client: CmtCalls = _DryRun(client, catalog) if settings.dry_run else client
        self._catalog = catalog
        self._replace_parent = settings.replace_parent
        self._batch_size = batch_size

    async def apply(self, event: ProfileEvent, *, last_attempt: bool, permit: Permit) -> Attempt:
        """Run an event once; see ``Sink.apply``."""
        steps = plan_replace(event, self._catalog, replace_parent=self._replace_parent)
        tally = _Tally(last_attempt)
        # A plan has all its retrieves before its first write.
        found: dict[EntityType, Sequence[Row]] = {}
        for step in steps:
            if step.action is Action.RETRIEVE and not tally.stopped:
                await self._retrieve(step, event.consumer_id, permit, found, tally)
        for batch in self._batches(self._writes(steps, found)):
            if tally.stopped:
                break
            if _deletes_profile_row(batch[0]) and tally.failures:
                continue
            await self._write(batch, permit, tally)
        return tally.attempt()

    async def _retrieve(
        self, step: Step, consumer_id: str, permit: Permit, found: dict[EntityType, Sequence[Row]], tally: _Tally
    ) -> None:
        try:
            found[step.entity] = await self._client.retrieve(step.entity, consumer_id, permit=permit)
        except CallFailed as failed:
            tally.fail(step, failed.error.code, failed.error.message, failed.error.retry_after)

    async def _write(self, batch: Sequence[Step], permit: Permit, tally: _Tally) -> None:
        rows = [(step.entity, step.row or {}) for step in batch]
        call = self._client.upsert if batch[0].action is Action.UPSERT else self._client.delete
        try:
            results = await call(rows, permit=permit)
        except CallFailed as failed:
            for step in batch:
                tally.fail(step, failed.error.code, failed.error.message, failed.error.retry_after)
            return
        for step, result in zip(batch, results, strict=True):
            if result.ok:
                tally.succeed(step)
            else:
                tally.fail(step, result.code or CMT_ROW_ERROR.code, result.message or CMT_ROW_ERROR.meaning)

    def _writes(self, steps: Iterable[Step], found: dict[EntityType, Sequence[Row]]) -> Iterator[Step]:
        for step in steps:
            if step.action is Action.DELETE and step.row is None:
                yield from deletes_of(step.entity, step.phase, found.get(step.entity, ()), self._catalog)
            elif step.action is not Action.RETRIEVE:
                yield step

    def _batches(self, steps: Iterable[Step]) -> Iterator[tuple[Step, ...]]:
        for _, run in groupby(steps, key=lambda step: (step.action, step.phase, step.entity.is_parent)):
            while batch := tuple(islice(run, self._batch_size)):
                yield batch


def _deletes_profile_row(step: Step) -> bool:
    return step.phase is Phase.DELETE and step.entity.is_parent


class _Tally:
    """What an attempt has come to so far."""

    def __init__(self, last_attempt: bool) -> None:
        self.failures: list[Failure] = []
        self.stopped = False
        self._last_attempt = last_attempt
        self._synced: dict[EntityType, int] = {}
        self._failed: dict[EntityType, int] = {}

    def succeed(self, step: Step) -> None:
        if step.phase is not Phase.BEFORE_PARENT:
            self._synced[step.entity] = self._synced.get(step.entity, 0) + 1

    def fail(self, step: Step, code: str, message: str, retry_after: float | None = None) -> None:
        failure = Failure(code, message, step.entity, step.phase, retry_after)
        self.failures.append(failure)
        self._failed[step.entity] = self._failed.get(step.entity, 0) + 1
        self.stopped = self.stopped or stops_attempt(failure, last_attempt=self._last_attempt)

    def attempt(self) -> Attempt:
        records = tuple(
            RecordCount(entity, self._synced.get(entity, 0), self._failed.get(entity, 0))
            for entity in EntityType
            if entity in self._synced or entity in self._failed
        )
        return Attempt(tuple(self.failures), records)


class _DryRun:
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
