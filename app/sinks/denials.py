"""Rights that are missing at a data extension of children: is only the child refused, or the whole account?

Rights are granted and revoked while an event is in progress, and a change takes minutes to reach all servers of
Marketing Cloud (Accenture/sfmc-devtools 791). Only the child counts as refused if two things are true: it is refused
once more after something else was allowed, and every server that was asked has refused it for half of
``SYNC_BREAKER_ALERT_SECONDS``. Until then the event waits and uses up no attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.cmt.canary import allows
from app.cmt.errors import CallFailed
from app.cmt.rights import Right
from app.delivery.errors import CMT_PERMISSION
from app.profile.entities import Catalog, EntityType
from app.profile.plan import Action, Step
from app.sinks.cmt_calls import CmtCalls
from app.sinks.sink import Permit
from app.sinks.tally import AttemptTally, right_of


class Denials:
    """Judges the denials of an attempt.

    Args:
        spread_seconds: how long a change of rights may take to reach all servers.
        clock: monotonic seconds.
    """

    def __init__(self, client: CmtCalls, catalog: Catalog, spread_seconds: float, clock: Callable[[], float]) -> None:
        self.catalog = catalog
        self._client = client
        self._spread_seconds = spread_seconds
        self._clock = clock
        self._since: dict[tuple[Action, EntityType], float] = {}  # first denial since a call was last allowed

    def allowed(self, action: Action, entity: EntityType) -> None:
        """A call was allowed."""
        if self._since:
            self._since.pop((action, entity), None)

    async def judge(self, right: Right, consumer_id: str, permit: Permit, tally: AttemptTally) -> None:
        """Note in the tally what a missing right means for the attempt, if one was missing."""
        denied = [step for (action, _), step in tally.denied.items() if right_of(action) is right]
        if not denied:
            return
        if tally.stopped or tally.is_blocked:
            tally.forget_denials()  # another attempt will show
            return
        try:
            there = right in tally.shown or await allows(self._client, self.catalog, right, permit)
            if not there or not await self._all_denied(denied, consumer_id, permit) or self._may_spread(denied):
                tally.block()
        except CallFailed as failed:
            tally.give_up(failed.error)

    def _may_spread(self, denied: Sequence[Step]) -> bool:
        now = self._clock()
        since = [self._since.setdefault((step.action, step.entity), now) for step in denied]
        return now - max(since) < self._spread_seconds

    async def _all_denied(self, steps: Sequence[Step], consumer_id: str, permit: Permit) -> bool:
        """Repeat the calls that were denied. False as soon as one is allowed: then another attempt is needed.

        Raises:
            CallFailed: a call failed for another reason.
        """
        for step in steps:
            try:
                if step.action is Action.RETRIEVE:
                    await self._client.retrieve(step.entity, consumer_id, permit=permit)
                    self.allowed(step.action, step.entity)
                    return False
                call = self._client.upsert if step.action is Action.UPSERT else self._client.delete
                (result,) = await call([(step.entity, step.row or {})], permit=permit)
            except CallFailed as failed:
                if failed.error.code != CMT_PERMISSION.code:
                    raise
            else:
                if result.code != CMT_PERMISSION.code:
                    self.allowed(step.action, step.entity)
                    return False
        return True
