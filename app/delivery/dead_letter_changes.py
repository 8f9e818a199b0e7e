"""How a dead-letter record changes when its event is given up, or handled again. Pure."""

from __future__ import annotations

from dataclasses import replace

from app.delivery.counts import Settlement
from app.delivery.dead_letter_record import DeadLetter, HistoryLine, LetterStatus, ValuePlace, with_line, with_task
from app.delivery.errors import SYNC_VALUE_GONE
from app.delivery.headers import cut
from app.delivery.outcome import Outcome
from app.delivery.readmitted import Readmitted
from app.delivery.verdict import Verdict

GIVEN_UP = "failed"  # the first line of a history


def opened(
    verdict: Verdict,
    place: ValuePlace | None,
    *,
    size: int,
    has_key: bool,
    now_ms: int,
    again: Readmitted | None = None,
    before: DeadLetter | None = None,
    note: str = "",
) -> DeadLetter:
    """The record of an event that was given up.

    Args:
        place: where the dead letter's bytes stand.
        again: its entry among the readmitted events, if it was a dead letter before.
        before: its record then; None: not known.
        note: of the task that handled it.
    """
    settlement = _kept(verdict.settlement if again is None else _as_counted(verdict.settlement, again))
    return DeadLetter(
        status=LetterStatus.OPEN,
        settlement=settlement,
        fingerprint=verdict.kind,
        message=cut(verdict.message),
        first_failed_ms=verdict.first_failed_ms if before is None else before.first_failed_ms,
        last_failed_ms=verdict.last_failed_ms,
        opened_ms=now_ms if before is None else before.opened_ms,
        place=place,
        request_id=verdict.request_id,
        attempts=verdict.attempts,
        redrives=0 if again is None else again.number,
        tasks=() if again is None else with_task(again.tasks, again.task),
        history=_history(before, again, settlement.outcome.value, settlement.reason or "", now_ms, note),
        original=None if again is None else again.original,
        size=size,
        has_key=has_key,
        changed_ms=now_ms,
    )


def closed(
    settlement: Settlement, again: Readmitted, *, now_ms: int, before: DeadLetter | None = None, note: str = ""
) -> DeadLetter:
    """The record of a dead letter whose event has another outcome now; see ``opened`` for the arguments."""
    discarded = settlement.outcome is Outcome.DISCARDED
    counted = _kept(_as_counted(settlement, again))
    known = before or _from(again, now_ms)
    return replace(
        known,
        status=LetterStatus.DISCARDED if discarded else LetterStatus.SETTLED,
        settlement=counted,
        place=again.place,
        original=again.original,
        redrives=again.number,
        tasks=with_task(again.tasks, again.task),
        history=_history(before, again, counted.outcome.value, counted.reason or "", now_ms, note),
        changed_ms=now_ms,
    )


def value_gone(again: Readmitted, *, now_ms: int, before: DeadLetter | None = None, note: str = "") -> DeadLetter:
    """The record of a dead letter that cannot be redriven, because its bytes are gone. It counts as before."""
    known = before or _from(again, now_ms)
    return replace(
        known,
        status=LetterStatus.OPEN,
        place=None,
        redrives=again.number,
        tasks=with_task(again.tasks, again.task),
        history=_history(before, again, "", SYNC_VALUE_GONE.code, now_ms, note),
        changed_ms=now_ms,
    )


def _from(again: Readmitted, now_ms: int) -> DeadLetter:
    """A record of which only the entry among the readmitted events is left."""
    failed_ms = again.event.first_failed_ms or now_ms
    verdict = Verdict(again.reverse, "", failed_ms, again.event.last_failed_ms or now_ms, alert=False)
    return opened(verdict, again.place, size=0, has_key=True, now_ms=now_ms)


def _as_counted(settlement: Settlement, again: Readmitted) -> Settlement:
    return replace(settlement, day=again.reverse.day, market=again.reverse.market)


def _kept(settlement: Settlement) -> Settlement:
    """What the record keeps of a settlement."""
    return replace(settlement, rows="", deleted=())


def _history(
    before: DeadLetter | None, again: Readmitted | None, outcome: str, reason: str, now_ms: int, note: str
) -> tuple[HistoryLine, ...]:
    if again is None:
        return (HistoryLine(now_ms, GIVEN_UP, outcome, reason),)
    history = () if before is None else before.history
    if before is not None and before.redrives == again.number:
        history = history[:-1]  # a crash came between this record and the partition record: the same handling again
    return with_line(history, HistoryLine(now_ms, again.handling.value, outcome, reason, again.by, again.task, note))
