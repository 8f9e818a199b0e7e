"""What parked and given-up events may take in a partition record; nothing is left of it in the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.counts import Settlement
from app.delivery.outcome import Outcome
from app.delivery.parked_events import ParkedEvent
from app.delivery.readmitted import Handling, Readmitted, readmitted_bytes
from app.delivery.verdict import Verdict, verdict_bytes
from app.engine import record_room
from app.engine.record_room import RecordRoom

VERDICT = Verdict(Settlement("c", "e", "NEW", "DE", "2026-11-21", Outcome.FAILED), "no", 1, 2, alert=True)


def test_one_event_may_always_be_given_up_and_the_next_when_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_room, "GIVEN_UP_BYTES", 1)
    room = RecordRoom()
    assert room.fits(VERDICT)
    room.give_up(3, VERDICT)
    assert room.bytes == verdict_bytes(VERDICT)
    assert not room.fits(VERDICT)
    room.settle(3)
    assert room.fits(VERDICT)
    assert room.bytes == 0


def test_the_settlement_of_an_event_that_was_never_given_up_changes_nothing() -> None:
    room = RecordRoom()
    room.give_up(3, VERDICT)
    room.settle(4)
    assert room.bytes == verdict_bytes(VERDICT)


def test_one_dead_letter_may_always_be_handled_and_the_next_when_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_room, "READMITTED_BYTES", 1)
    room = RecordRoom()
    entry = Readmitted(Handling.DISCARD, 1, "t", "me", None, VERDICT.settlement, ParkedEvent("c", "e"))
    assert room.fits_too(3, entry)
    room.readmit(3, entry)
    room.readmit(3, entry)  # it is durable now
    assert room.bytes > readmitted_bytes(3, entry)
    assert not room.fits_too(4, entry)
    room.settle(3)
    assert room.fits_too(4, entry)
    assert room.bytes == 0


@given(st.dictionaries(st.integers(0, 50), st.tuples(st.sampled_from("ab"), st.sampled_from(["", "2026-11-21"]))))
def test_parked_events_take_room_until_they_have_their_outcome(parked: dict[int, tuple[str, str]]) -> None:
    room, of = RecordRoom(), {"a": 0, "b": 0}
    for offset, (consumer, day) in parked.items():
        before = room.bytes
        room.park(offset, ParkedEvent(consumer, day=day), first=not of[consumer])
        of[consumer] += 1
        assert room.bytes > before
    for offset, (consumer, _) in parked.items():
        of[consumer] -= 1
        room.unpark(offset, consumer, last=not of[consumer])
    assert room.bytes == 0
