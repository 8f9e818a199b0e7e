"""Compares the rows that Marketing Cloud holds of one consumer with its last settled full state, and repairs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from app.cmt.call import always
from app.cmt.client import CmtClient
from app.cmt.errors import CallFailed
from app.delivery.errors import CMT_CONSUMER_SPELLING
from app.delivery.outcome import InvalidEvent
from app.delivery.permit import Permit
from app.delivery.record import SourceRecord
from app.flows.repair import repair
from app.flows.unsettled_events import FAILED
from app.flows.verified_consumer import VerifiedConsumer
from app.profile.entities import Catalog, EntityType, Row
from app.profile.event import ProfileEvent
from app.profile.event_reader import read_event
from app.profile.holdings.drift import Held, RowComparison, compare
from app.profile.holdings.expected_state import (
    NOT_IN_KAFKA,
    Expectation,
    ParentRow,
    expected_after,
    expected_without_event,
    only_failed,
)
from app.profile.holdings.findings import DriftFinding, Status

ONLY_FAILED = "its events failed, and nothing of it is held: see its dead letters"
BEYOND_REPAIR = "what to write is not known: publish the consumer's UPDATE again"

# Why a consumer cannot be judged now, asked when its rows differ; None: it can.
MovedOn = Callable[[VerifiedConsumer], Awaitable[DriftFinding | None]]


class Home(Protocol):
    """Where the rows of a market are."""

    @property
    def client(self) -> CmtClient: ...

    @property
    def tables(self) -> Catalog: ...


@dataclass(frozen=True, slots=True)
class Repair:
    """How drift is to be repaired."""

    batch_size: int
    dry_run: bool


async def nothing_moves(subject: VerifiedConsumer) -> DriftFinding | None:
    """None of the consumer's events runs meanwhile."""
    return None


@dataclass(frozen=True, slots=True)
class ConsumerVerification:
    """Verifies one consumer after the other.

    Args:
        repair: None: only compare.
        moved_on: asked before a difference is believed.
        permit: called right before every call; what it raises goes to the caller.
    """

    catalog: Catalog
    repair: Repair | None
    moved_on: MovedOn = nothing_moves
    permit: Permit = always

    async def verify(self, subject: VerifiedConsumer, record: SourceRecord | None, home: Home) -> DriftFinding:
        """Compare, and repair on request.

        Args:
            record: of the main topic, at the offset of the last full state; None: it is gone.

        Raises:
            CallFailed: Marketing Cloud could not be asked.
        """
        if only_failed(subject.state):
            return await self._after_failures(subject, home)
        event, problem = self.event(subject, record)
        if event is None:
            expected = expected_without_event(subject.state, home.tables, problem or NOT_IN_KAFKA)
        else:
            expected = expected_after(event, subject.state, home.tables)
        said = (problem if problem and problem not in (expected.in_part or "") else None, expected.in_part)
        note = "; ".join(part for part in said if part) or None
        in_part = expected.in_part is not None
        if expected.parent is ParentRow.UNKNOWN and not expected.gone:
            return subject.found(Status.PARTIAL, note, in_part=True)
        try:
            comparison = await self._compare(subject, expected, home)
        except CallFailed as failed:
            if failed.error.code == CMT_CONSUMER_SPELLING.code and expected.parent is ParentRow.GONE:
                return subject.found(Status.OK, "what is held belongs to another spelling of its ID")
            raise
        if not comparison.drift:
            return subject.found(Status.PARTIAL if in_part else Status.OK, note, in_part=in_part)
        if moved_on := await self.moved_on(subject):
            return moved_on
        finding = replace(subject.found(Status.DRIFTED, note, in_part=in_part), drift=comparison.drift)
        return await self._mended(finding, subject, comparison, expected, home)

    def event(self, subject: VerifiedConsumer, record: SourceRecord | None) -> tuple[ProfileEvent | None, str | None]:
        """The event of the last full state; None with a reason if the record there cannot be used."""
        full = subject.state.full
        if full is None or record is None or record.key != subject.consumer_id.encode():
            return None, None
        try:
            event = read_event(record, self.catalog, subject.market)
        except InvalidEvent as invalid:
            return None, f"its event is not valid any more ({invalid})"
        # Another event: the topic was recreated.
        return (event, None) if event.event_id == full.event_id else (None, None)

    async def _after_failures(self, subject: VerifiedConsumer, home: Home) -> DriftFinding:
        """A consumer that has only failed events: missing, unless a part of it was written."""
        comparison = await self._compare(subject, Expectation(ParentRow.THERE), home)
        if not comparison.drift:
            return subject.found(Status.PENDING, FAILED)
        if moved_on := await self.moved_on(subject):
            return moved_on
        return replace(subject.found(Status.DRIFTED, ONLY_FAILED), drift=comparison.drift)

    async def _mended(
        self,
        finding: DriftFinding,
        subject: VerifiedConsumer,
        comparison: RowComparison,
        expected: Expectation,
        home: Home,
    ) -> DriftFinding:
        if self.repair is None:
            return finding
        size, dry_run = self.repair.batch_size, self.repair.dry_run
        writes = await repair(
            comparison, home.client, home.tables, batch_size=size, dry_run=dry_run, permit=self.permit
        )
        finding = replace(finding, writes=writes)
        if comparison.beyond_repair:
            return replace(finding, note="; ".join(part for part in (finding.note, BEYOND_REPAIR) if part))
        if any(write.problem for write in writes):
            return finding
        try:
            left = await self._compare(subject, expected, home)
        except CallFailed as failed:
            return replace(finding, note=f"written, but not read again: {failed}")
        if left.drift:
            return replace(finding, note="still differs after the repair")
        return replace(finding, status=Status.REPAIRED)

    # Rows

    async def _compare(self, subject: VerifiedConsumer, expected: Expectation, home: Home) -> RowComparison:
        held = await self._held(home, subject.consumer_id)
        return compare(held, expected, subject.consumer_id, home.tables)

    async def _held(self, home: Home, consumer_id: str) -> Held:
        calls = (home.client.retrieve(entity, consumer_id, permit=self.permit) for entity in EntityType)
        # Wait for all of them, so that no call is left on the wire.
        answers = await asyncio.gather(*calls, return_exceptions=True)
        held: dict[EntityType, list[Row]] = {}
        for entity, answer in zip(EntityType, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            held[entity] = answer
        return held
