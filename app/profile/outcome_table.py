"""What follows from an attempt: the outcome table as pure functions.

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
    """Whether the remaining calls of an attempt are left out after this failure.

    Before and at the parent: always. Children: a failure of the row alone never keeps the others from being posted; one
    of the transport does while the event will be tried again as a whole anyway. DELETE: likewise, so that as much as
    possible is erased; the parent's own delete is planned last and left out by the caller when any row failed.
    """
    if failure.phase in (Phase.BEFORE_PARENT, Phase.PARENT):
        return True
    return failure.retried and failure.entry.transport and not last_attempt


def decide(attempt: Attempt, *, attempts_left: bool, child_failure_to_dlq: bool = False) -> Decision:
    """What follows from an attempt, by what failed.

    A failure that may pass by itself is tried again while attempts are left, unless a permanent one has already
    sealed the event (a permanent child failure seals nothing: its siblings may still get through). Of several waits the
    longest counts.
    """
    if not attempt.failures:
        return Settle(Outcome.SYNCED)
    sealing = [f for f in attempt.failures if f.phase is not Phase.CHILD]
    permanent = next((f for f in sealing if not f.retried), None)
    transient = next((f for f in attempt.failures if f.retried), None)
    if transient is not None and permanent is None and attempts_left:
        waits = [f.retry_after for f in attempt.failures if f.retry_after is not None]
        return TryAgain(replace(transient, retry_after=max(waits, default=None)))
    if sealing:
        return Settle(Outcome.FAILED, permanent or sealing[0], dead_letter=True, alert=True)
    return Settle(Outcome.PARTIAL, attempt.failures[0], dead_letter=child_failure_to_dlq)
