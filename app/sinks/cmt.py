"""Marketing Cloud as a sink: runs the plan of an event, call by call.

``stops_attempt`` (``app/profile/outcome_table.py``) decides what follows a failure. These rules concern the plan as a
whole:

* ``replace``: an UPDATE posts nothing until every row that was found is deleted.
* ``reconcile``: nothing is written until all reads are done. Reads are made at the same time.
* A DELETE PROFILE leaves the parent's row if any entity row could not be found or deleted.
* If a right is missing only at a child's data extension, only the child is affected: the event is ``partial`` (a DELETE
  fails). If the account lacks the right as a whole, the event is not run, and if possible nothing of it is written. If
  a denied call is allowed when it is repeated, the event gets another attempt.
* If a key has a Date column, deletes are verified by another retrieve, as soon as types are known.
* A row is deleted by exactly the key that Marketing Cloud returned for it, not by the event's spelling of it.

How records are counted:

* A record is one row that an event wants written (NEW, UPDATE) or gone (DELETE). It counts once a call for it was made,
  on the last attempt too. A row whose call was left out is neither synced nor failed.
* A delete counts as synced if the row was already gone. A row that ``reconcile`` finds to be right counts as synced
  without a call, once its turn has come (so no entity row does if the parent fails).
* Retrieves, and the deletes that are part of an UPDATE, are not records. If one fails, it counts as one failed record
  of its entity, so that every failure shows up.
* Only the attempt that settles the event is counted. If a DELETE PROFILE needed several attempts, its records are the
  rows that the last one still found.

``reconcile`` reads as little as it can without trusting its memory. An UPDATE whose parent differs from the row that
was last seen (``SeenParents``) posts the parent unread, because a read would most likely be one call more. A NEW reads
the entity rows only if the parent exists.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import structlog

from app.cmt.errors import CallError, CallFailed
from app.cmt.rights import Right
from app.delivery.counts import RowKey
from app.delivery.errors import CMT_PERMISSION, CMT_ROW_ERROR, CMT_ROW_KEPT
from app.delivery.outcome import Attempt, Phase
from app.profile.diff import same_row
from app.profile.entities import Catalog, EntityType, Row
from app.profile.event import Operation, ProfileEvent
from app.profile.keys import batches, identity
from app.profile.plan import Action, Step, contradiction, deletes_of, narrow, plan_reconcile, plan_replace
from app.settings import ConfigurationError, SyncSettings
from app.sinks.cmt_calls import CmtCalls
from app.sinks.denials import Denials
from app.sinks.dry_run import DryRun, named
from app.sinks.parents import SeenParents
from app.sinks.sink import Permit
from app.sinks.tally import AttemptTally

log = structlog.get_logger(__name__)

# The rows that the retrieves found. An entity type whose rows could not be read is not in it.
_Found = dict[EntityType, Sequence[Row]]


class CmtSink:
    """The sink that writes to Marketing Cloud, with strategy ``replace`` or ``reconcile``.

    A call holds at most ``batch_size`` rows: consecutive ones of the same action and phase, no two with the same key.
    The parent's row always has a call of its own, so that it is written before all others, and deleted after them.

    Raises:
        ConfigurationError: the settings contradict each other.
    """

    def __init__(
        self,
        client: CmtCalls,
        catalog: Catalog,
        settings: SyncSettings,
        batch_size: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if problem := contradiction(settings.strategy, replace_parent=settings.replace_parent):
            raise ConfigurationError([problem])
        self._client: CmtCalls = DryRun(client, catalog) if settings.dry_run else client
        self._catalog = catalog
        self._dry_run = settings.dry_run
        self._reconciles = settings.strategy == "reconcile"
        self._replace_parent = settings.replace_parent
        self._batch_size = batch_size
        self._parents = SeenParents()
        # Without a breaker no event waits. With one, the wait ends before the missing right becomes an incident.
        spread_seconds = settings.breaker_alert_seconds / 2 if settings.breaker_failures else 0.0
        self._denials = Denials(self._client, catalog, spread_seconds, clock)

    def learned(self, catalog: Catalog) -> None:
        """Take the same catalog with the types of columns: from now on values are compared by type."""
        self._catalog = self._denials.catalog = catalog

    async def apply(self, event: ProfileEvent, *, last_attempt: bool, permit: Permit) -> Attempt:
        """Run an event once; see ``Sink.apply``."""
        tally = AttemptTally(last_attempt)
        if self._dry_run:
            with named(event):
                await self._run(event, permit, tally)
        else:
            await self._run(event, permit, tally)
        return tally.attempt()

    async def _run(self, event: ProfileEvent, permit: Permit, tally: AttemptTally) -> None:
        if self._reconciles:
            steps = plan_reconcile(event, self._catalog)
            found = await self._read_together(event, steps, permit, tally)
        else:
            steps = plan_replace(event, self._catalog, replace_parent=self._replace_parent)
            found = await self._read_in_turn(event, steps, permit, tally)
        await self._denials.judge(Right.READ, event.consumer_id, permit, tally)
        for batch in self._batches(self._writes(event, steps, found)):
            if tally.stopped:
                break
            if _deletes_profile_row(batch[0]) and tally.failures:
                continue
            await self._write(batch, event.consumer_id, permit, tally)
            if self._reconciles and batch[0].phase is Phase.PARENT and not tally.failures:
                self._parents.note(event.consumer_id, batch[0].row or {})
        await self._denials.judge(Right.WRITE, event.consumer_id, permit, tally)

    async def _read_in_turn(
        self, event: ProfileEvent, steps: Sequence[Step], permit: Permit, tally: AttemptTally
    ) -> _Found:
        # A plan has all its retrieves before its first write.
        found: _Found = {}
        for step in _retrieves(steps):
            if not tally.stopped:
                found |= await self._read([step], event.consumer_id, permit, tally)
        return found

    async def _read_together(
        self, event: ProfileEvent, steps: Sequence[Step], permit: Permit, tally: AttemptTally
    ) -> _Found:
        reads = _retrieves(steps)
        parent = [step for step in reads if step.entity.is_parent]
        others = [step for step in reads if not step.entity.is_parent]
        if event.operation is Operation.NEW:
            found = await self._read(parent, event.consumer_id, permit, tally)
            if found.get(EntityType.CONSUMER):
                found |= await self._read(others, event.consumer_id, permit, tally)
            return found
        # A DELETE always reads the parent, because it may be held under another spelling of the ID.
        unread = event.operation is Operation.UPDATE and self._parents.changed(event.consumer_id, event.consumer or {})
        return await self._read(others if unread else reads, event.consumer_id, permit, tally)

    async def _read(self, steps: Sequence[Step], consumer_id: str, permit: Permit, tally: AttemptTally) -> _Found:
        """Make retrieves at the same time."""
        calls = (self._client.retrieve(step.entity, consumer_id, permit=permit) for step in steps)
        # Wait for all of them, so that no call is still in flight when the permit has ended another one.
        answers = await asyncio.gather(*calls, return_exceptions=True)
        found: _Found = {}
        for step, answer in zip(steps, answers, strict=True):
            if isinstance(answer, CallFailed):
                tally.fail(step, answer.error)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found[step.entity] = answer
                self._denials.allowed(Action.RETRIEVE, step.entity)
        tally.show(Action.RETRIEVE, allowed=bool(found))
        return found

    async def _write(self, batch: Sequence[Step], consumer_id: str, permit: Permit, tally: AttemptTally) -> None:
        if batch[0].action is Action.KEEP:
            for step in batch:
                tally.succeed(step)
            return
        rows = [(step.entity, step.row or {}) for step in batch]
        call = self._client.upsert if batch[0].action is Action.UPSERT else self._client.delete
        try:
            results = await call(rows, permit=permit)
        except CallFailed as failed:
            for step in batch:
                tally.fail(step, failed.error)
            tally.show(batch[0].action, allowed=False)
            return
        kept = await self._kept(batch, consumer_id, permit) if batch[0].action is Action.DELETE else {}
        written = False
        for number, (step, result) in enumerate(zip(batch, results, strict=True)):
            if result.ok and (problem := kept.get(number)) is not None:
                tally.fail(step, problem)
            elif result.ok:
                tally.succeed(step)
                written = True
                self._denials.allowed(step.action, step.entity)
            else:
                code, message = result.code or CMT_ROW_ERROR.code, result.message or CMT_ROW_ERROR.meaning
                if code == CMT_PERMISSION.code:
                    message = f"{step.action} in {self._catalog[step.entity].customer_key}: {message}"
                tally.fail(step, CallError(code, message, request_id=result.request_id))
        tally.show(batch[0].action, allowed=written)

    async def _kept(self, batch: Sequence[Step], consumer_id: str, permit: Permit) -> dict[int, CallError]:
        """The rows of a batch that may still exist, by their positions.

        Marketing Cloud may not find a key with a Date, and it answers a delete of a key that it does not find as if the
        row had been gone already.
        """
        if self._dry_run:
            return {}
        doubtful = {step.entity for step in batch if self._catalog[step.entity].has_date_in_key}
        problems: dict[int, CallError] = {}
        for entity in doubtful:
            table = self._catalog[entity]
            places = [number for number, step in enumerate(batch) if step.entity is entity]
            try:
                held = await self._client.retrieve(entity, consumer_id, permit=permit)
            except CallFailed as failed:
                problems |= dict.fromkeys(places, failed.error)
                continue
            kept = CallError(CMT_ROW_KEPT.code, f"Delete of {table.customer_key}: {CMT_ROW_KEPT.meaning}")
            problems |= {
                number: kept for number in places if any(same_row(row, batch[number].row or {}, table) for row in held)
            }
        return problems

    def _writes(self, event: ProfileEvent, steps: Sequence[Step], found: _Found) -> Iterator[Step]:
        if self._reconciles and event.operation is not Operation.DELETE:
            yield from narrow(steps, found, self._catalog)
            return
        for step in steps:
            rows = found.get(step.entity, ())
            # A parent that was not found is deleted too: a call that was given up may still write it.
            if step.action is Action.DELETE and (step.row is None or rows):
                yield from deletes_of(step.entity, step.phase, rows, self._catalog)
            elif step.action is not Action.RETRIEVE:
                yield step

    def _batches(self, steps: Iterable[Step]) -> Iterator[tuple[Step, ...]]:
        if self._batch_size == 1:
            yield from ((step,) for step in steps)
            return
        for _, run in groupby(steps, key=lambda step: (step.action, step.phase, step.entity.is_parent)):
            yield from batches(run, self._batch_size, lambda step: _row_of(step, self._catalog))


def _row_of(step: Step, catalog: Catalog) -> RowKey:
    return identity(step.entity, step.row or {}, catalog[step.entity])


def _retrieves(steps: Iterable[Step]) -> list[Step]:
    return [step for step in steps if step.action is Action.RETRIEVE]


def _deletes_profile_row(step: Step) -> bool:
    return step.phase is Phase.DELETE and step.entity.is_parent
