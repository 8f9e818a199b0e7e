"""One attempt at an event: find its target, be admitted, run the flow, judge what came of it."""

from __future__ import annotations

import structlog

from app.delivery.consumer_record import ConsumerState
from app.delivery.errors import SYNC_BUG
from app.delivery.outcome import NotPermitted, Settle
from app.delivery.value_class import value_class
from app.engine.admission import AttemptPermit, admitted
from app.engine.breaker import Breaker
from app.engine.consumer_records import ConsumerRecords
from app.engine.context import EngineContext, EngineStopped
from app.engine.flow import Follows, Result, Work
from app.engine.partition_tasks import Abandoned, PartitionTasks

log = structlog.get_logger(__name__)


@value_class(frozen=True, slots=True)
class _Place:
    """Where an event goes. ``state``: the consumer's record. ``gate``: None if the event's kind has all its rights."""

    state: ConsumerState | None
    target: str
    breaker: Breaker
    gate: Breaker | None


class Attempts:
    """Runs the events of one partition."""

    def __init__(self, context: EngineContext, tasks: PartitionTasks, consumers: ConsumerRecords) -> None:
        self._context = context
        self._tasks = tasks
        self._consumers = consumers

    async def run(
        self, work: Work, attempt: int, first_failed_ms: int = 0, *, may_step_aside: bool = False
    ) -> Result | None:
        """Run an event once, while this worker is the owner and a slot is free.

        The event runs again, without using up an attempt, when something other than the event kept it from getting
        through.

        Args:
            first_failed_ms: when the event failed for the first time.
            may_step_aside: return None instead of waiting when the event's target is down while others are up, or when
                a right is missing that the event needs.

        Raises:
            Abandoned: the partition was taken away; whether anything was done is unknown.
        """
        context, tasks = self._context, self._tasks
        is_last = attempt >= context.sync.max_attempts
        while True:
            if tasks.draining:
                raise Abandoned
            try:
                place = await self._find(work)
            except EngineStopped:
                raise
            except Exception as error:  # noqa: BLE001 - logged, and it has an outcome
                await tasks.until_lease()
                return self._met_a_bug(work, attempt, error)
            breaker = place.breaker
            if may_step_aside and (place.gate is not None or context.others_are_up(breaker)):
                await tasks.until_lease()
                return None
            async with admitted(context, tasks, breaker, place.gate) as permit:
                turns = breaker.turns
                result = await self._run_flow(work, attempt, place.state, permit, is_last=is_last)
            if result is None:
                await permit.until_nothing_lands_late()
                continue
            if not tasks.may_act:
                await tasks.until_lease()  # the answer counts only if no other worker can have taken over meanwhile
            follows = await self._judge(work, place, result, turns, first_failed_ms if is_last else None)
            if result.failures:
                context.flow.failed(work, result, attempt, follows, place.state)
            if follows is not Follows.DECISION or isinstance(result.decision, Settle):
                await permit.until_nothing_lands_late()
            if follows is Follows.DECISION:
                return result
            if follows is Follows.WAITS_FOR_RIGHT and may_step_aside:
                return None

    async def _find(self, work: Work) -> _Place:
        context = self._context
        found = await self._consumers.find(work.consumer)
        state = None if found is None else found[1]
        target = context.flow.target(work, state)
        gate = context.gates.of(target, context.flow.kind(work, state)) if context.gates else None
        return _Place(state, target, context.breakers[target], gate)

    async def _run_flow(
        self, work: Work, attempt: int, state: ConsumerState | None, permit: AttemptPermit, *, is_last: bool
    ) -> Result | None:
        """What the flow made of the event; None: the permit ended the attempt."""
        try:
            return await self._context.flow.run(work, attempt=attempt, last=is_last, state=state, permit=permit)
        except NotPermitted:
            return None
        except Abandoned:
            raise
        except Exception as error:  # noqa: BLE001 - logged, and it has an outcome
            return self._met_a_bug(work, attempt, error)

    async def _judge(
        self, work: Work, place: _Place, result: Result, turns: int, first_failed_ms: int | None
    ) -> Follows:
        """What follows: whether the result is the event's own, or something else kept it from getting through.

        Args:
            turns: of the breaker when the attempt began.
            first_failed_ms: the event's first failure, if it has no attempt left.
        """
        context = self._context
        if result.blocked:
            context.gates.shut(place.target, context.flow.kind(work, place.state))
            return Follows.WAITS_FOR_RIGHT
        if not result.may_be_an_outage:
            if place.gate is not None:
                context.gates.reopen(place.target, context.flow.kind(work, place.state))
            return Follows.DECISION
        is_outage = await self._is_an_outage(place.breaker, turns, work.consumer, result, first_failed_ms)
        return Follows.WAITS_FOR_TARGET if is_outage else Follows.DECISION

    async def _is_an_outage(
        self, breaker: Breaker, turns: int, consumer: str, result: Result, first_failed_ms: int | None
    ) -> bool:
        """An event failed because of its target, or was refused. Whether that was an outage, not the event.

        If the breaker has opened or closed since the attempt began (``turns``), the target may have refused every call
        at that time, although something else gets through now.
        """
        tasks = self._tasks
        if result.refused and not breaker.never_opens:
            with tasks.not_started():
                await breaker.refused()
                await tasks.until_lease()
            if breaker.turns != turns:
                return True
        if not result.target_failed:
            return breaker.is_open
        breaker.event_failed(consumer)
        unanswered = first_failed_ms is not None and breaker.unanswered_since(first_failed_ms)
        if (result.target_down or unanswered) and not breaker.is_open:
            with tasks.not_started():
                await breaker.confirm()
        return breaker.is_open

    def _met_a_bug(self, work: Work, attempt: int, error: Exception) -> Result:
        record = work.record
        log.error(
            "bug while working on an event",
            event_id=work.event_id,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            exc_info=error,
        )
        return self._context.flow.gave_up(work, SYNC_BUG, type(error).__name__, attempt)
