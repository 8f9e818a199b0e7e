"""The result of an attempt so far: records, failures and missing rights."""

from __future__ import annotations

from dataclasses import replace

from app.cmt.errors import CallError
from app.cmt.rights import Right
from app.delivery.errors import CMT_NOT_ALLOWED, CMT_PERMISSION
from app.delivery.outcome import Attempt, Failure, Phase, RecordCount
from app.profile.entities import EntityType
from app.profile.outcome_table import stops_attempt
from app.profile.plan import Action, Step

_ENTITY_TYPES = tuple(EntityType)  # iterating over the class takes five times as long


class AttemptTally:
    """The result of an attempt so far."""

    def __init__(self, last_attempt: bool) -> None:
        self.failures: list[Failure] = []
        self.stopped = False
        self.denied: dict[tuple[Action, EntityType], Step] = {}  # at data extensions of children; the last step of each
        self.shown: set[Right] = set()  # at any data extension, since the last denial
        self._just_denied = False
        self._last_attempt = last_attempt
        self._counts: dict[EntityType, list[int]] = {}  # records synced, and failed

    def succeed(self, step: Step) -> None:
        if step.action is not Action.DELETE or step.phase is Phase.DELETE:
            self._counts.setdefault(step.entity, [0, 0])[0] += 1

    def fail(self, step: Step, error: CallError) -> None:
        code, phase = error.code, step.phase
        if code == CMT_PERMISSION.code:
            if step.entity.is_parent:
                code = CMT_NOT_ALLOWED.code
            else:
                self.denied[step.action, step.entity] = step
                self._just_denied = True
                phase = Phase.CHILD if phase is Phase.BEFORE_PARENT else phase
        failure = Failure(code, error.message, step.entity, phase, error.retry_after, error.request_id)
        self.failures.append(failure)
        self._counts.setdefault(step.entity, [0, 0])[1] += 1
        self.stopped = self.stopped or stops_attempt(failure, last_attempt=self._last_attempt)

    def show(self, action: Action, *, allowed: bool) -> None:
        """Calls that were made together have ended. A right is shown if one was ``allowed`` and none was denied."""
        if self._just_denied:
            self.shown.discard(right_of(action))
        elif allowed:
            self.shown.add(right_of(action))
        self._just_denied = False

    @property
    def is_blocked(self) -> bool:
        """Whether a right is missing that the whole event needs."""
        return any(failure.code == CMT_NOT_ALLOWED.code for failure in self.failures)

    def forget_denials(self) -> None:
        """It is not known yet whether the denials concern the children's data extensions alone."""
        self.failures = [failure for failure in self.failures if failure.code != CMT_PERMISSION.code]
        self.stopped = True

    def block(self) -> None:
        """The rights that were missing at children's data extensions are missing for the whole account."""
        self.failures = [
            replace(failure, code=CMT_NOT_ALLOWED.code) if failure.code == CMT_PERMISSION.code else failure
            for failure in self.failures
        ]
        self.stopped = True

    def give_up(self, error: CallError) -> None:
        """It could not be found out whether a right is missing; another attempt may find out."""
        self.failures = [
            replace(
                failure,
                code=error.code,
                message=error.message,
                retry_after=error.retry_after,
                request_id=error.request_id,
            )
            if failure.code == CMT_PERMISSION.code
            else failure
            for failure in self.failures
        ]
        self.stopped = True

    def attempt(self) -> Attempt:
        counts = self._counts
        records = [RecordCount(entity, *counts[entity]) for entity in _ENTITY_TYPES if entity in counts]
        return Attempt(tuple(self.failures), tuple(records))


def right_of(action: Action) -> Right:
    return Right.READ if action is Action.RETRIEVE else Right.WRITE
