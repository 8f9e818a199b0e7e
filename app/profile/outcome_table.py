"""Decides what follows from an attempt: the outcome table as pure functions.

| operation, phase                              | transient, attempts used up | permanent                     |
|-----------------------------------------------|-----------------------------|-------------------------------|
| before the parent is written (get, row delete)| failed: dead letter, alert  | failed: dead letter, alert    |
| parent post                                   | failed: dead letter, alert  | failed, no child is posted    |
| child post, parent written                    | partial                     | partial, the rest is posted   |
| DELETE, any row                               | failed: dead letter, alert  | failed, the parent stays      |
| not decodable, schema, key                    |                             | invalid: dead letter          |

``SYNC_CHILD_FAILURE=dlq`` makes a dead letter (without an alert) of ``partial``.
"""

from __future__ import annotations

from dataclasses import replace

from app.delivery.outcome import Attempt, Decision, Failure, Outcome, Phase, Settle, TryAgain


def stops_attempt(failure: Failure, *, last_attempt: bool) -> bool:
    """Whether this failure ends the attempt, so that its remaining calls are not made.

    A failure before or at the parent always ends it. The failure of a child row does not: the other rows are still
    posted. But a transport failure ends it if there will be another attempt of the whole event. The same holds for a
    DELETE, so that as much as possible is erased; the parent's delete is planned last, and the caller leaves it out if
    any row failed.
    """
    if failure.phase in (Phase.BEFORE_PARENT, Phase.PARENT):
        return True
    return failure.retried and failure.entry.transport and not last_attempt


def decide(attempt: Attempt, *, attempts_left: bool, child_failure_to_dlq: bool = False) -> Decision:
    """The decision that follows from an attempt's failures.

    A failure that may pass leads to another attempt while attempts are left, unless a permanent failure has already
    decided the outcome. (A permanent failure of a child row decides nothing: the other rows may still get through.) If
    several failures ask to wait, the longest wait counts.
    """
    if not attempt.failures:
        return Settle(Outcome.SYNCED)
    decisive = [f for f in attempt.failures if f.phase is not Phase.CHILD]
    permanent = next((f for f in decisive if not f.retried), None)
    transient = next((f for f in attempt.failures if f.retried), None)
    if transient is not None and permanent is None and attempts_left:
        waits = [f.retry_after for f in attempt.failures if f.retry_after is not None]
        return TryAgain(replace(transient, retry_after=max(waits, default=None)))
    if decisive:
        return Settle(Outcome.FAILED, permanent or decisive[0], dead_letter=True, alert=True)
    return Settle(Outcome.PARTIAL, attempt.failures[0], dead_letter=child_failure_to_dlq)
