"""The flow of consumer profiles to Marketing Cloud: the life of an event.

1. ``read``: bytes to a checked event, or ``InvalidEvent`` (dead letter, no incident).
2. ``run``: the sink makes the event's calls once; ``app/profile/outcome_table.py`` decides what follows.
3. A transient failure with attempts left: the engine parks the consumer and runs the event again later.
4. The attempt that settles the event is the one that counts. A ``failed`` event concerns the parent, an erasure or the
   event as a whole; it goes to the dead-letter topic and becomes an incident. A ``partial`` event is logged and counted
   (with ``SYNC_CHILD_FAILURE=dlq`` it also becomes a dead letter).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import structlog

from app.delivery.alert import Alert, Severity
from app.delivery.consumer_record import ConsumerState
from app.delivery.counts import EVENT_ENTITY, FailureCount, Settlement
from app.delivery.errors import CMT_NOT_ALLOWED, CMT_PERMISSION, SYNC_COPY_LOST, SYNC_SUPERSEDED, ErrorEntry
from app.delivery.fingerprint import Fingerprint
from app.delivery.outcome import UNKNOWN_MARKET, Attempt, Failure, InvalidEvent, Outcome, Phase, RecordCount, Settle
from app.delivery.record import SourceRecord
from app.delivery.value_class import value_class
from app.delivery.verdict import Verdict, fingerprint_of
from app.engine.flow import Follows, Permit, Result, Work
from app.flows.destination import Destination, Destinations
from app.flows.failed_calls import FailedCalls
from app.flows.mending import Mending
from app.flows.outage_texts import right_entity
from app.observe.redaction import hash_consumer
from app.profile.consumer_history import after_settling
from app.profile.entities import Catalog, EntityType
from app.profile.event import Operation, ProfileEvent
from app.profile.event_reader import read_event
from app.profile.holdings.findings import Status
from app.profile.outcome_table import decide
from app.profile.supersedes import Superseded, deleted_rows, what_is_left
from app.settings import SyncSettings

log = structlog.get_logger(__name__)


class ConsumerSync:
    """The flow of consumer-profile events into a sink.

    Args:
        destinations: where the events of a market go; the breaker of the account is asked before an event runs.
        largest: bytes of the largest record that is parsed (``KAFKA_MAX_MESSAGE_BYTES``).
        mending: repairs consumers; None: this flow cannot.
    """

    def __init__(
        self,
        destinations: Destinations,
        catalog: Catalog,
        settings: SyncSettings,
        *,
        largest: int | None = None,
        mending: Mending | None = None,
    ) -> None:
        self._mending = mending
        self._largest = largest
        self._destinations = destinations
        self._catalog = catalog
        self._failures_to_dlq = settings.child_failure == "dlq"
        self._dry_run = settings.dry_run
        self._may_wait = settings.breaker_failures > 0
        self._failed_calls = FailedCalls()

    def read(self, record: SourceRecord) -> Work:
        """Decode and check. A null value deletes the profile; its market is filled in when it runs.

        Raises:
            InvalidEvent: the record is not a valid event.
        """
        event = read_event(record, self._catalog, largest=self._largest)
        return Work(record, event.consumer_id, event.event_id, _Located(event, self._destinations.of(event.market)))

    def invalid(self, record: SourceRecord, problem: InvalidEvent) -> Settlement:
        """The settlement of an invalid event: it is counted by its reason."""
        log.warning(
            "invalid event",
            event_id=problem.event_id,
            partition=record.partition,
            offset=record.offset,
            reason=problem.entry.code,
            detail=problem.message,
        )
        return Settlement(
            consumer_id=_consumer_of(record),
            event_id=problem.event_id,
            operation=problem.operation,
            market=problem.market,
            day=record.day,
            outcome=Outcome.INVALID,
            reason=problem.entry.code,
            failures=(FailureCount(EVENT_ENTITY, problem.entry.code),),
        )

    def target(self, work: Work, state: ConsumerState | None) -> str:
        """The account of the event's market."""
        return self._located(work, state).destination.account

    def kind(self, work: Work, state: ConsumerState | None) -> str:
        """Events of one kind need the same rights on the same data extensions."""
        return _kind(self._located(work, state))

    async def run(self, work: Work, *, attempt: int, last: bool, state: ConsumerState | None, permit: Permit) -> Result:
        """Run the event's calls once and decide what follows. Raises only what ``permit`` raises."""
        located = self._located(work, state)
        destination = located.destination
        left: ProfileEvent | Superseded = located.event
        if not work.forced:
            left = what_is_left(located.event, work.record.offset, state, destination.tables)
        if isinstance(left, Superseded):
            return self._superseded(work, located, left, attempt)
        outcome = await destination.sink.apply(left, last_attempt=last, permit=permit)
        if self._failed_calls.any_told and not any(_is_the_accounts(failure) for failure in outcome.failures):
            self._failed_calls.answered(destination.account, _kind(located))
        located = _Located(left, destination)
        decision = decide(outcome, attempts_left=not last, child_failure_to_dlq=self._failures_to_dlq)
        if isinstance(decision, Settle) and decision.alert:
            decision = self._alerting(decision)
        settlement = None
        if isinstance(decision, Settle):
            settlement = _settlement(located, work.record, decision, outcome, attempt)
        return Result(
            decision,
            settlement,
            target_failed=any(failure.entry.transport for failure in outcome.failures),
            target_down=any(failure.entry.every_call for failure in outcome.failures),
            refused=any(failure.entry.doubtful for failure in outcome.failures),
            blocked=self._may_wait and any(failure.code == CMT_NOT_ALLOWED.code for failure in outcome.failures),
            failures=outcome.failures,
        )

    def failed(self, work: Work, result: Result, attempt: int, follows: Follows, state: ConsumerState | None) -> None:
        """Log what failed, and what follows."""
        located = self._located(work, state)
        account, market = located.destination.account, located.event.market
        self._failed_calls.tell(work, result, attempt, follows, account=account, kind=_kind(located), market=market)

    def _superseded(self, work: Work, located: _Located, why: Superseded, attempt: int) -> Result:
        log.info(
            "superseded, not sent",
            event_id=work.event_id,
            partition=work.record.partition,
            offset=work.record.offset,
            consumer=hash_consumer(work.consumer),
            why=why.message,
        )
        failure = Failure(SYNC_SUPERSEDED.code, why.message, EntityType.CONSUMER, Phase.BEFORE_PARENT)
        decision = Settle(Outcome.SUPERSEDED, failure)
        return Result(decision, _settlement(located, work.record, decision, Attempt(), attempt))

    def gave_up(self, work: Work, entry: ErrorEntry, message: str, attempt: int) -> Result:
        """The engine gave up on the event: it is failed as a whole, with an incident."""
        located = self._located(work)
        failure = Failure(entry.code, message, EntityType.CONSUMER, Phase.BEFORE_PARENT)
        records = (RecordCount(EntityType.CONSUMER, 0, 1),)
        decision = self._alerting(Settle(Outcome.FAILED, failure, dead_letter=True, alert=True))
        return Result(decision, _settlement(located, work.record, decision, Attempt((failure,), records), attempt))

    def lost(
        self, record: SourceRecord, consumer: str, event_id: str, state: ConsumerState | None, attempt: int
    ) -> Result:
        """The event's record is lost: failed, with an incident. Only its consumer is known."""
        message = "its record is gone from the retry topic and from the main topic"
        failure = Failure(SYNC_COPY_LOST.code, message, EntityType.CONSUMER, Phase.BEFORE_PARENT)
        decision = self._alerting(Settle(Outcome.FAILED, failure, dead_letter=True, alert=True))
        settlement = Settlement(
            consumer_id=consumer,
            event_id=event_id or record.id,
            operation="-",
            market=UNKNOWN_MARKET if state is None else state.market,
            day=record.day,
            outcome=Outcome.FAILED,
            reason=SYNC_COPY_LOST.code,
            attempts=attempt,
            failures=(FailureCount(EntityType.CONSUMER.value, SYNC_COPY_LOST.code),),
        )
        return Result(decision, settlement)

    def _alerting(self, decision: Settle) -> Settle:
        """With an alert, but not in a dry run: another group may do the real work on the same topic."""
        return replace(decision, alert=not self._dry_run)

    def home(self, state: ConsumerState | None) -> str:
        """The account that a consumer was last written to."""
        return self._destinations.of(UNKNOWN_MARKET if state is None else state.market).account

    async def mend(
        self, consumer: str, partition: int, state: ConsumerState | None, record: SourceRecord | None, permit: Permit
    ) -> str:
        """Compare what Marketing Cloud holds of a consumer, and write what differs. Raises only what ``permit``
        raises."""
        if self._mending is None:
            return Status.NO_HOME.value
        return await self._mending.mend(consumer, partition, state, record, permit)

    def after_settling(
        self, before: ConsumerState | None, offset: int, settlement: Settlement, settled_ms: int
    ) -> ConsumerState:
        """The consumer's record after the event: its last events, its rows, and the deletes that must stay."""
        return after_settling(before, offset, settlement, settled_ms)

    def fingerprint(self, settlement: Settlement) -> Fingerprint:
        """What failed; dead letters and incidents of one kind have the same."""
        kind = fingerprint_of(settlement)
        if settlement.reason == CMT_PERMISSION.code:
            # One incident for a missing right, whichever operation needed it.
            account = self._destinations.of(settlement.market).account
            kind = Fingerprint(kind.reason, right_entity(account, kind.entity), "-")
        return kind

    def alert(self, record: SourceRecord, verdict: Verdict) -> tuple[bytes, bytes]:
        """The alert of a failed event; its key keeps all alerts of one incident in one partition."""
        settlement, kind = verdict.settlement, verdict.kind
        alert = Alert(
            reason=kind.reason,
            entity=kind.entity,
            operation=kind.operation,
            market=settlement.market,
            event_id=record.id,
            consumer=hash_consumer(settlement.consumer_id or ""),
            message=verdict.message,
            at_ms=verdict.last_failed_ms,
            severity=Severity.FAILED,
            since_ms=verdict.first_failed_ms,
        )
        return alert.fingerprint.encode(), alert.to_bytes()

    def _located(self, work: Work, state: ConsumerState | None = None) -> _Located:
        """The event and its destination. A null value goes to the market that its consumer was last written to."""
        located = work.payload
        if not isinstance(located, _Located):
            raise TypeError(f"not a profile event: {type(located).__name__}")
        if work.record.value is None and located.event.market == UNKNOWN_MARKET and state is not None:
            moved = located.event.model_copy(update={"market": state.market})
            return _Located(moved, self._destinations.of(moved.market))
        return located


@value_class(frozen=True, slots=True)
class _Located:
    """An event and its destination."""

    event: ProfileEvent
    destination: Destination


def _kind(located: _Located) -> str:
    event, parent = located.event, located.destination.tables[EntityType.CONSUMER]
    return f"{event.operation}:{event.delete_scope or '-'}:{parent.customer_key}"


def _settlement(
    located: _Located, record: SourceRecord, decision: Settle, attempt: Attempt, attempts: int
) -> Settlement:
    event, destination = located.event, located.destination
    reached = decision.outcome in (Outcome.SYNCED, Outcome.PARTIAL)
    return Settlement(
        consumer_id=event.consumer_id,
        event_id=event.event_id,
        operation=event.operation.value,
        market=event.market,
        day=record.day,
        outcome=decision.outcome,
        reason=decision.failure.code if decision.failure else None,
        attempts=attempts,
        full_state=event.is_full_state,
        records=attempt.records,
        failures=tuple(_grouped(attempt.failures, first=decision.failure)) if attempt.failures else (),
        # Only for events that reached the target; otherwise the list only makes the partition record larger, and a key
        # that no target accepts could make it unwritable.
        deleted=deleted_rows(event, destination.tables) if reached else (),
        rows=destination.digests.of_event(event) if reached else "",
        erases=decision.outcome is Outcome.SYNCED and event.operation is Operation.DELETE and event.is_full_state,
    )


def _is_the_accounts(failure: Failure) -> bool:
    """Whether it concerns the account, not the event."""
    entry = failure.entry
    return entry.transport or entry.doubtful or failure.code == CMT_NOT_ALLOWED.code


def _consumer_of(record: SourceRecord) -> str | None:
    """The consumer of an invalid event, if its key can be read."""
    try:
        return record.key.decode()[:512] if record.key else None
    except UnicodeDecodeError:
        return None


def _grouped(failures: Iterable[Failure], first: Failure | None) -> Iterable[FailureCount]:
    """One count per entity and reason; the failure that decided the outcome comes first."""
    counted = Counter((failure.entity, failure.code) for failure in failures)
    leading = (first.entity, first.code) if first else None
    for (entity, code), count in sorted(counted.items(), key=lambda item: item[0] != leading):
        yield FailureCount(entity, code, count)
