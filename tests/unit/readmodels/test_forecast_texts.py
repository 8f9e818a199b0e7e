"""A dry run in 80 columns: each consumer, or an estimate."""

from __future__ import annotations

from app.delivery.letter_id import LetterId
from app.profile.redrive_forecast import Fate, Forecast
from app.readmodels.forecast_texts import dry_run_lines, dry_run_view
from app.readmodels.letter_page import ShownStatus
from app.readmodels.letters import ListedLetter
from tests.unit.readmodels.test_letter_index import letter


def item(offset: int, consumer: str | None, found: Forecast) -> tuple[ListedLetter, Forecast]:
    return ListedLetter(LetterId(0, offset), ShownStatus.OPEN, letter(consumer=consumer)), found


ITEMS = [
    item(5, "C-1", Forecast(Fate.SEND, "UPDATE")),
    item(9, "C-1", Forecast(Fate.SUPERSEDED, "a later UPDATE (event " + "e" * 90 + ") has been written")),
    item(7, None, Forecast(Fate.VALUE_GONE, "it can only be discarded")),
]


def test_each_consumer_with_its_dead_letters_and_the_sums() -> None:
    lines = list(dry_run_lines(3, ITEMS, {}))
    assert all(len(line) <= 80 for line in lines)
    assert lines[:2] == ["consumer C-1", "  0-5  send: UPDATE"]
    assert lines[2].startswith("  0-9  superseded: a later UPDATE (event e")
    assert "no consumer: no readable key" in lines
    assert lines[-2:] == ["3 dead letters: 1 send, 1 superseded, 1 value gone", "Dry run: nothing was written."]


def test_many_are_an_estimate() -> None:
    lines = list(dry_run_lines(2_000, [], {("NEW", "send"): 1_900, ("NEW", "superseded"): 100}))
    assert all(len(line) <= 80 for line in lines)
    assert lines[1:3] == ["        1,900  NEW     send", "          100  NEW     superseded"]


def test_the_document_has_both() -> None:
    document = dry_run_view(3, 1, ITEMS, {("NEW", "send"): 2})
    assert document["items"][0] == {
        "id": "0-5",
        "consumerId": "C-1",
        "operation": "NEW",
        "would": "send",
        "detail": "UPDATE",
    }
    assert document["estimate"] == [{"operation": "NEW", "would": "send", "count": 2}]
    assert (document["matched"], document["superseded"]) == (3, 1)
