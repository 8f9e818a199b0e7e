"""Logs failed calls after the engine has decided what follows. An outage causes few lines."""

from __future__ import annotations

import structlog

from app.delivery.outcome import Failure, TryAgain
from app.engine.flow import Follows, Result, Work
from app.observe.redaction import hash_consumer

log = structlog.get_logger(__name__)

_WAITS = {
    Follows.WAITS_FOR_TARGET: "waits until Marketing Cloud answers, no attempt is used up",
    Follows.WAITS_FOR_RIGHT: "waits until the right is given, no attempt is used up",
}


class FailedCalls:
    """Writes one line for a failure of a single event, and one line for a cause that affects many.

    A cause is logged again after the account has answered. It keeps a few registry codes for each account.
    """

    def __init__(self) -> None:
        self._told: dict[str, set[tuple[object, ...]]] = {}

    @property
    def any_told(self) -> bool:
        """Whether ``answered`` has anything to do; a cheap question for every event."""
        return bool(self._told)

    def answered(self, account: str, kind: str) -> None:
        """An event of this kind met neither an outage nor a missing right."""
        self._told.pop(account, None)
        self._told.pop(f"{account} {kind}", None)

    def tell(
        self, work: Work, result: Result, attempt: int, follows: Follows, *, account: str, kind: str, market: str
    ) -> None:
        """An attempt ended with failures, and the engine has decided what follows.

        Args:
            kind: of the event (``Flow.kind``). Events of one kind need the same rights.
        """
        again = isinstance(result.decision, TryAgain)
        for failure in result.failures:
            if self._is_told(failure, attempt, follows, account=account, kind=kind, again=again):
                continue
            fields: dict[str, int | str] = {} if follows in _WAITS else {"attempt": attempt}
            if failure.request_id:
                fields["request_id"] = failure.request_id
            log.warning(
                "a call failed",
                event_id=work.event_id,
                partition=work.record.partition,
                offset=work.record.offset,
                consumer=hash_consumer(work.consumer),
                account=account,
                market=market,
                entity=failure.entity,
                phase=failure.phase.value,
                reason=failure.code,
                detail=failure.message,
                **fields,
                next=_WAITS.get(follows) or what_follows(result),
            )

    def _is_told(
        self, failure: Failure, attempt: int, follows: Follows, *, account: str, kind: str, again: bool
    ) -> bool:
        cause: tuple[object, ...]
        if follows is Follows.WAITS_FOR_RIGHT:
            place, cause = f"{account} {kind}", (failure.code,)
        elif follows is Follows.WAITS_FOR_TARGET:
            # The first events with this cause may have used up an attempt. Their lines and this one agree.
            place, cause = account, (failure.code,)
        elif again and (failure.entry.transport or failure.entry.every_call):
            place, cause = account, (failure.code, attempt)
        else:
            return False
        told = self._told.setdefault(place, set())
        if cause in told:
            return True
        told.add(cause)
        return False


def what_follows(result: Result) -> str:
    """What an attempt with failures led to."""
    decision = result.decision
    return "another attempt" if isinstance(decision, TryAgain) else decision.outcome.value
